//! Rows out of a file: CSV or NDJSON, plain or gzip, each with the line it stands on.
//!
//! Knows nothing of tables: what cannot be read becomes a rejected line with a reason.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use tablestore_client::Row;

use super::types::{ColumnType, Guess, value};

/// Rows looked at to find the types of columns.
pub(crate) const SAMPLE_ROWS: usize = 1000;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How rows are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values with a header line
    Csv,
    /// One JSON object a line
    Ndjson,
}

impl Format {
    /// By the name of the file, a `.gz` at its end left out.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// A line that did not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) line: u64,
    pub(crate) reason: String,
    /// The line again, as well as it could be read.
    pub(crate) text: String,
}

/// A row and its line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbered {
    pub(crate) line: u64,
    pub(crate) row: Row,
}

/// How to read cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// Types given by the caller, by column.
    pub(crate) types: BTreeMap<String, ColumnType>,
    /// Cells with this text have no value, as empty ones.
    pub(crate) null: Option<String>,
}

/// A file that is being read.
pub(crate) struct Source {
    inner: Inner,
    types: BTreeMap<String, ColumnType>,
}

enum Inner {
    Csv(Box<CsvSource>),
    Ndjson {
        lines: io::Lines<Box<dyn BufRead>>,
        line: u64,
    },
}

struct CsvSource {
    reader: csv::Reader<Box<dyn BufRead>>,
    headers: Vec<String>,
    types: Vec<ColumnType>,
    null: Option<String>,
    /// Records read for the sample and not handed out yet.
    sample: std::collections::VecDeque<csv::Result<csv::StringRecord>>,
}

/// Opens a file or, for `-`, standard input; `read` counts the bytes taken from it.
pub(crate) fn open(path: &Path, read: Arc<AtomicU64>) -> io::Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    unpack(Counting { inner: raw, read })
}

/// Unpacks what begins like gzip.
pub(crate) fn unpack(raw: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut buffered = BufReader::with_capacity(1 << 16, raw);
    if buffered.fill_buf()?.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(buffered))));
    }
    Ok(Box::new(buffered))
}

struct Counting {
    inner: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Source {
    /// Reads the header and a sample.
    pub(crate) fn new(
        input: Box<dyn BufRead>,
        format: Format,
        reading: &Reading,
    ) -> Result<Self, String> {
        match format {
            Format::Ndjson if !reading.types.is_empty() || reading.null.is_some() => {
                Err("--types and --null are for CSV; NDJSON has types of its own".to_owned())
            }
            Format::Ndjson => Ok(Self {
                inner: Inner::Ndjson {
                    lines: input.lines(),
                    line: 0,
                },
                types: BTreeMap::new(),
            }),
            Format::Csv => {
                let csv = CsvSource::new(input, reading)?;
                let types = csv
                    .headers
                    .iter()
                    .cloned()
                    .zip(csv.types.iter().copied())
                    .collect();
                Ok(Self {
                    inner: Inner::Csv(Box::new(csv)),
                    types,
                })
            }
        }
    }

    /// The columns of a CSV file and their types; empty for NDJSON.
    pub(crate) fn types(&self) -> &BTreeMap<String, ColumnType> {
        &self.types
    }
}

impl Iterator for Source {
    type Item = Result<Numbered, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.inner {
            Inner::Csv(csv) => csv.next_row(),
            Inner::Ndjson { lines, line } => loop {
                let text = lines.next()?;
                *line += 1;
                match text {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => return Some(object(text, *line)),
                    Err(error) => {
                        let reason = format!("cannot be read: {error}");
                        return Some(Err(Rejected {
                            line: *line,
                            reason,
                            text: String::new(),
                        }));
                    }
                }
            },
        }
    }
}

fn object(text: String, line: u64) -> Result<Numbered, Rejected> {
    match serde_json::from_str(&text) {
        Ok(Value::Object(row)) => Ok(Numbered { line, row }),
        Ok(_) => Err(Rejected {
            line,
            reason: "expected a JSON object".to_owned(),
            text,
        }),
        Err(error) => {
            let reason = format!("expected a JSON object: {error}");
            Err(Rejected { line, reason, text })
        }
    }
}

impl CsvSource {
    fn new(input: Box<dyn BufRead>, reading: &Reading) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
        let headers: Vec<String> = reader
            .headers()
            .map_err(|error| format!("the header cannot be read: {error}"))?
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect();
        check_headers(&headers, reading)?;
        let sample: std::collections::VecDeque<_> = reader.records().take(SAMPLE_ROWS).collect();
        let mut guesses = vec![Guess::new(); headers.len()];
        for record in sample
            .iter()
            .flatten()
            .filter(|record| record.len() == headers.len())
        {
            for (guess, cell) in guesses.iter_mut().zip(record) {
                if !is_null(cell, reading.null.as_deref()) {
                    guess.see(cell);
                }
            }
        }
        let types = headers
            .iter()
            .zip(&guesses)
            .map(|(name, guess)| {
                reading
                    .types
                    .get(name)
                    .copied()
                    .unwrap_or_else(|| guess.column_type())
            })
            .collect();
        Ok(Self {
            reader,
            headers,
            types,
            null: reading.null.clone(),
            sample,
        })
    }

    fn next_row(&mut self) -> Option<Result<Numbered, Rejected>> {
        let record = match self.sample.pop_front() {
            Some(record) => record,
            None => self.reader.records().next()?,
        };
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                return Some(Err(Rejected {
                    line,
                    reason: error.to_string(),
                    text: String::new(),
                }));
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        Some(
            self.row(&record)
                .map(|row| Numbered { line, row })
                .map_err(|reason| {
                    let text = record.iter().collect::<Vec<_>>().join(",");
                    Rejected { line, reason, text }
                }),
        )
    }

    fn row(&self, record: &csv::StringRecord) -> Result<Row, String> {
        if record.len() != self.headers.len() {
            let (expected, got) = (self.headers.len(), record.len());
            return Err(format!("expected {expected} fields, got {got}"));
        }
        let mut row = Row::new();
        for ((name, column_type), cell) in self.headers.iter().zip(&self.types).zip(record) {
            let value = if is_null(cell, self.null.as_deref()) {
                Value::Null
            } else {
                value(cell, *column_type)
                    .map_err(|expected| format!("{name}: expected {expected}, got `{cell}`"))?
            };
            row.insert(name.clone(), value);
        }
        Ok(row)
    }
}

fn is_null(cell: &str, null: Option<&str>) -> bool {
    cell.is_empty() || Some(cell) == null
}

fn check_headers(headers: &[String], reading: &Reading) -> Result<(), String> {
    for (index, name) in headers.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("column {} has no name in the header", index + 1));
        }
        if headers[..index].contains(name) {
            return Err(format!("the column `{name}` is in the header twice"));
        }
    }
    match reading.types.keys().find(|name| !headers.contains(name)) {
        Some(name) => {
            let all = headers.join(", ");
            Err(format!(
                "--types: there is no column `{name}`; the columns are {all}"
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::io::{Cursor, Write};

    use serde_json::json;

    use super::*;

    fn source(text: &str, format: Format, reading: &Reading) -> Result<Source, String> {
        let input = unpack(Cursor::new(text.as_bytes().to_vec())).unwrap();
        Source::new(input, format, reading)
    }

    #[test]
    fn a_csv_row_has_types_and_nulls() {
        let reading = Reading {
            null: Some("NA".to_owned()),
            ..Reading::default()
        };
        let text = "\u{feff}faa,alt,tz,open\n04G,1044,-5,true\nEEN,NA,,false\n";
        let rows: Vec<_> = source(text, Format::Csv, &reading).unwrap().collect();
        let first = json!({"faa": "04G", "alt": 1044, "tz": -5, "open": true});
        let second = json!({"faa": "EEN", "alt": null, "tz": null, "open": false});
        let got: Vec<_> = rows.into_iter().map(|row| row.unwrap()).collect();
        assert_eq!((got[0].line, Value::Object(got[0].row.clone())), (2, first));
        assert_eq!(
            (got[1].line, Value::Object(got[1].row.clone())),
            (3, second)
        );
    }

    #[test]
    fn a_line_that_does_not_fit_is_rejected_with_its_number() {
        let mut text = "id,n\n".to_owned();
        for number in 0..SAMPLE_ROWS {
            text.push_str(&format!("a{number},{number}\n"));
        }
        text.push_str("b,x\nc\n\"d\ne\",1\nf,2\n");
        let rejected: Vec<Rejected> = source(&text, Format::Csv, &Reading::default())
            .unwrap()
            .filter_map(Result::err)
            .collect();
        let shown: Vec<_> = rejected
            .iter()
            .map(|r| (r.line, r.reason.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (1002, "n: expected a number, got `x`"),
                (1003, "expected 2 fields, got 1")
            ]
        );
        assert_eq!(rejected[0].text, "b,x");
    }

    #[test]
    fn given_types_go_before_guessed_ones() {
        let types = BTreeMap::from([("n".to_owned(), ColumnType::Text)]);
        let reading = Reading { types, null: None };
        let mut source = source("n\n7\n", Format::Csv, &reading).unwrap();
        assert_eq!(source.next().unwrap().unwrap().row["n"], json!("7"));
    }

    #[test]
    fn a_bad_header_is_refused() {
        for (text, expected) in [
            ("a,a\n", "the column `a` is in the header twice"),
            ("a,\n", "column 2 has no name"),
        ] {
            let error = source(text, Format::Csv, &Reading::default())
                .err()
                .unwrap();
            assert!(error.starts_with(expected), "{error}");
        }
        let types = BTreeMap::from([("x".to_owned(), ColumnType::Text)]);
        let error = source("a\n", Format::Csv, &Reading { types, null: None })
            .err()
            .unwrap();
        assert_eq!(error, "--types: there is no column `x`; the columns are a");
    }

    #[test]
    fn ndjson_lines_are_objects_and_blank_ones_are_skipped() {
        let text = "{\"a\":1}\n\n[2]\n{\"a\":\n{\"a\":3}\n";
        let rows: Vec<_> = source(text, Format::Ndjson, &Reading::default())
            .unwrap()
            .collect();
        assert_eq!(rows[0].as_ref().unwrap().line, 1);
        assert_eq!(rows[1].as_ref().unwrap_err().line, 3);
        assert!(
            rows[2]
                .as_ref()
                .unwrap_err()
                .reason
                .starts_with("expected a JSON object: EOF")
        );
        assert_eq!(rows[3].as_ref().unwrap().line, 5);
    }

    #[test]
    fn gzip_is_unpacked_wherever_it_comes_from() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"id\nx\n").unwrap();
        let input = unpack(Cursor::new(packed.finish().unwrap())).unwrap();
        let mut source = Source::new(input, Format::Csv, &Reading::default()).unwrap();
        assert_eq!(source.next().unwrap().unwrap().row["id"], json!("x"));
    }

    #[test]
    fn formats_are_known_by_name() {
        for (name, expected) in [
            ("a.csv", Some(Format::Csv)),
            ("a.b/flights.CSV.gz", Some(Format::Csv)),
            ("x.jsonl", Some(Format::Ndjson)),
            ("x.ndjson.gz", Some(Format::Ndjson)),
            ("x.gz", None),
            ("-", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), expected, "{name}");
        }
    }
}
