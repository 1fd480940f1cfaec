//! Rows as CSV, so that an import of the file gives back the same values.
//!
//! Knows nothing of files and tables. The rules by which cells are read are in `import::types`;
//! what they would take for something else is put in quotes, or named at the end.

use std::collections::BTreeSet;
use std::io::Write;

use tablestore_client::{Row, Value};

use crate::loading::source::SAMPLE_ROWS;
use crate::loading::types::{ColumnType, Guess, is_number, is_truth};
use crate::terminal::Failure;

/// Rows on their way into a CSV file.
pub(crate) struct CsvSink<W: Write> {
    out: W,
    columns: Vec<String>,
    seen: Vec<Seen>,
    rows: usize,
    null: String,
    /// The caller named the columns, so other attributes are left out on purpose.
    given: bool,
    header_written: bool,
}

/// What a column held so far.
#[derive(Debug, Clone)]
struct Seen {
    /// What an import would find.
    guess: Guess,
    /// What there is.
    kinds: BTreeSet<&'static str>,
}

impl<W: Write> CsvSink<W> {
    /// Without `columns` they are those of the first rows.
    pub(crate) fn new(out: W, columns: Vec<String>, null: String) -> Self {
        Self {
            out,
            given: !columns.is_empty(),
            columns,
            seen: Vec::new(),
            rows: 0,
            null,
            header_written: false,
        }
    }

    pub(crate) fn write(&mut self, rows: &[Row]) -> Result<(), Failure> {
        if !self.header_written && !rows.is_empty() {
            if !self.given {
                self.columns = names(rows);
            }
            self.seen = vec![
                Seen {
                    guess: Guess::new(),
                    kinds: BTreeSet::new(),
                };
                self.columns.len()
            ];
            let names = self.columns.iter().map(|name| {
                let quoted = name.is_empty() || breaks_cell(name);
                written(name, quoted)
            });
            let line = names.collect::<Vec<_>>().join(",");
            writeln!(self.out, "{line}")?;
            self.header_written = true;
        }
        for row in rows {
            self.check(row)?;
            let line = self.line(row)?;
            writeln!(self.out, "{line}")?;
            self.rows += 1;
        }
        Ok(())
    }

    /// Writes what is left; what an import has to be told, if anything.
    pub(crate) fn finish(mut self) -> Result<Vec<String>, Failure> {
        self.out.flush()?;
        let (mut types, mut mixed) = (Vec::new(), Vec::new());
        for (name, seen) in self.columns.iter().zip(&self.seen) {
            let found = seen.guess.column_type().word();
            match seen.kinds.first() {
                Some(_) if seen.kinds.len() > 1 => mixed.push(name.as_str()),
                Some(kind) if *kind != found => types.push(format!("{name}:{kind}")),
                _ => {}
            }
        }
        let mut advice = Vec::new();
        if !types.is_empty() {
            let types = types.join(",");
            advice.push(format!(
                "an import needs --types {types} for the same values"
            ));
        }
        if !mixed.is_empty() {
            advice.push(format!(
                "values of several types, which CSV cannot tell apart, are in {}: \
                 NDJSON keeps them",
                mixed.join(", ")
            ));
        }
        Ok(advice)
    }

    fn line(&mut self, row: &Row) -> Result<String, Failure> {
        let mut line = String::new();
        for (position, (name, seen)) in self.columns.iter().zip(&mut self.seen).enumerate() {
            if position > 0 {
                line.push(',');
            }
            let Some(value) = row.get(name).filter(|value| **value != Value::Null) else {
                line.push_str(&self.null);
                continue;
            };
            let (text, quoted) = cell(value, &self.null);
            if !quoted && text == self.null {
                let message = format!("{name}: the value {text} is what --null stands for");
                return Err(Failure::failed(message).advise("pass another text with --null"));
            }
            if self.rows < SAMPLE_ROWS {
                seen.guess.see(&text, quoted);
            }
            seen.kinds.insert(kind(value).word());
            line.push_str(&written(&text, quoted));
        }
        if line.is_empty() {
            let message = "a row whose only column has no value would be a blank line";
            return Err(Failure::failed(message).advise("pass a text for it with --null"));
        }
        Ok(line)
    }

    /// Nothing is left out silently.
    fn check(&self, row: &Row) -> Result<(), Failure> {
        if self.given {
            return Ok(());
        }
        match row.keys().find(|name| !self.columns.contains(name)) {
            None => Ok(()),
            Some(name) => Err(Failure::failed(format!(
                "a row has the attribute `{name}`, which has no column"
            ))
            .advise("name the columns with --columns, or export as NDJSON")),
        }
    }
}

/// The text of a value, and whether it must stand in quotes to come back as it is.
fn cell(value: &Value, null: &str) -> (String, bool) {
    match value {
        Value::String(text) => {
            let taken_for_other = text.is_empty()
                || text == null
                || text.trim().len() < text.len()
                || is_number(text)
                || is_truth(text);
            (text.clone(), taken_for_other || breaks_cell(text))
        }
        other => {
            let text = other.to_string();
            let quoted = breaks_cell(&text);
            (text, quoted)
        }
    }
}

fn breaks_cell(text: &str) -> bool {
    text.contains([',', '"', '\r', '\n']) || text.starts_with('\u{feff}')
}

fn written(text: &str, quoted: bool) -> String {
    if quoted {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn kind(value: &Value) -> ColumnType {
    match value {
        Value::String(_) | Value::Null => ColumnType::Text,
        Value::Number(_) => ColumnType::Number,
        Value::Bool(_) => ColumnType::Truth,
        Value::Binary(_) | Value::List(_) | Value::Map(_) => ColumnType::Json,
    }
}

fn names(rows: &[Row]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().flat_map(Row::keys) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::io::Cursor;

    use super::*;
    use crate::loading::source::{Format, Reading, Source, unpack};

    fn rows(texts: &[&str]) -> Vec<Row> {
        let parse = |text: &&str| tablestore_client::json::parse_object(text.as_bytes()).unwrap();
        texts.iter().map(parse).collect()
    }

    fn export(rows: &[Row], null: &str) -> Result<(String, Vec<String>), Failure> {
        let mut out = Vec::new();
        let mut sink = CsvSink::new(&mut out, Vec::new(), null.to_owned());
        sink.write(rows)?;
        let advice = sink.finish()?;
        Ok((String::from_utf8(out).unwrap(), advice))
    }

    fn import(text: &str, null: &str, types: &[(&str, ColumnType)]) -> Vec<Row> {
        let input = unpack(Cursor::new(text.as_bytes().to_vec())).unwrap();
        let types = types.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
        let reading = Reading {
            types: types.collect(),
            null: Some(null.to_owned()),
        };
        let source = Source::new(input, Format::Csv, &reading).unwrap();
        source.map(|row| row.unwrap().row).collect()
    }

    const EXACT: [&str; 3] = [
        concat!(
            r#"{"b":{"$binary":"AP8="},"id":"1","l":[1,{"a":"x,\"y"}],"#,
            r#""n":0.1234567890123456789012345678901234567,"o":true,"s":"","t":"a\r\nb"}"#
        ),
        concat!(
            r#"{"b":{"$binary":""},"id":"007","l":[],"n":-1E-100,"o":false,"s":null,"#,
            r#""t":" é,\"\n"}"#
        ),
        concat!(
            r#"{"b":null,"id":"true","l":{},"n":12345678901234567890123456789012345678,"#,
            r#""o":null,"s":"NA","t":"1e3"}"#
        ),
    ];

    #[test]
    fn an_import_gives_back_every_value_and_a_second_export_every_byte() {
        for null in ["", "NA", "\\N"] {
            let rows = rows(&EXACT);
            let (text, advice) = export(&rows, null).unwrap();
            assert!(advice.is_empty(), "{advice:?}");
            let again = import(&text, null, &[]);
            assert_eq!(again, rows, "{text}");
            assert_eq!(export(&again, null).unwrap().0, text);
        }
    }

    #[test]
    fn an_absent_attribute_is_a_cell_without_a_value() {
        let rows = rows(&[r#"{"id":"a","n":1}"#, r#"{"id":"b"}"#]);
        assert_eq!(export(&rows, "").unwrap().0, "id,n\na,1\nb,\n");
        assert_eq!(export(&rows, "NA").unwrap().0, "id,n\na,1\nb,NA\n");
    }

    #[test]
    fn types_that_an_import_would_not_find_are_named() {
        let text = rows(&[r#"{"id":"a","t":"[1]"}"#]);
        let (csv, advice) = export(&text, "").unwrap();
        assert_eq!(
            advice,
            ["an import needs --types t:string for the same values"]
        );
        assert_eq!(import(&csv, "", &[("t", ColumnType::Text)]), text);
        let mixed = rows(&[r#"{"id":"a","m":1,"n":2}"#, r#"{"id":"b","m":"x","n":3}"#]);
        let (_, advice) = export(&mixed, "").unwrap();
        assert_eq!(
            advice,
            ["values of several types, which CSV cannot tell apart, are in m: NDJSON keeps them"]
        );
    }

    #[test]
    fn what_an_import_would_take_for_no_value_is_refused() {
        let number = rows(&[r#"{"id":"a","n":-1}"#]);
        let failure = export(&number, "-1").unwrap_err();
        assert_eq!(failure.message, "n: the value -1 is what --null stands for");
        let failure = export(&rows(&[r#"{"n":null}"#]), "").unwrap_err();
        assert!(
            failure.message.contains("blank line"),
            "{}",
            failure.message
        );
        assert_eq!(export(&rows(&[r#"{"n":null}"#]), "-").unwrap().0, "n\n-\n");
    }
}
