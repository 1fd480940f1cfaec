//! `tablestore export`: the rows of a table into a CSV or NDJSON file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use tablestore_client::{Client, Row, ScanOptions, json as exact};

use super::csv::CsvSink;
use crate::loading::source::Format;
use crate::terminal::{Exit, Failure, Screen};

/// Rows fetched at a time.
const PAGE_ROWS: usize = 1000;

/// Options of `tablestore export`.
#[derive(Debug, Args)]
#[command(after_help = "\
NDJSON takes every row as it is and is exact: import gives back each value.

CSV takes its columns from the first page of rows, unless --columns names them; a row with another
attribute ends the export with an error. An absent attribute and null are an empty cell (or what
--null says) and both come back as null; the empty string is \"\". Numbers have every digit; lists,
objects and binary are written as JSON. Text that could be taken for a number, true, false or
--null is put in quotes. Where import would find another type for a column than its rows have, the
--types that it needs are named at the end, on standard error.")]
pub(crate) struct ExportArguments {
    /// Name of the table
    table: String,
    /// The file, or - for standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// How to write rows [default: by the name of the file, else NDJSON]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Columns of a CSV file, in this order; other attributes are left out
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    columns: Vec<String>,
    /// Text of a CSV cell without a value [default: nothing]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    null: String,
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    arguments: ExportArguments,
) -> Result<Exit, Failure> {
    let to_stdout = arguments.file == Path::new("-");
    let format = arguments.format.or_else(|| Format::of(&arguments.file));
    if arguments.null.contains([',', '"', '\r', '\n']) {
        return Err(Failure::usage(
            "--null: expected a text without commas, quotes and line breaks",
        ));
    }
    let options = ScanOptions {
        page_rows: Some(PAGE_ROWS),
        ..ScanOptions::default()
    };
    let mut pages = client.scan(&arguments.table, options);
    // The first page is asked for before the file is touched: a wrong table leaves no empty file.
    let mut page = pages.next().await?;
    let out: Box<dyn Write> =
        if to_stdout {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(&arguments.file).map_err(|error| {
                Failure::usage(format!("{}: {error}", arguments.file.display()))
            })?)
        };
    let mut sink = Sink::new(
        BufWriter::new(out),
        format,
        arguments.columns,
        arguments.null,
    );
    let bar = if screen.terminal() && !to_stdout {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let mut rows = 0;
    while let Some(current) = page {
        sink.write(&current)?;
        rows += current.len();
        bar.set_message(format!("{rows} rows"));
        bar.tick();
        page = pages.next().await?;
    }
    let advice = sink.finish()?;
    bar.finish_and_clear();
    if !to_stdout {
        let shown = arguments.file.display().to_string();
        screen.result(&json!({"rows": rows, "file": shown}), || {
            format!("{rows} rows written to {shown}")
        });
    }
    for line in advice {
        screen.note(line);
    }
    Ok(Exit::Done)
}

/// Rows on their way into a file.
enum Sink<W: Write> {
    Ndjson(W),
    Csv(Box<CsvSink<W>>),
}

impl<W: Write> Sink<W> {
    fn new(out: W, format: Option<Format>, columns: Vec<String>, null: String) -> Self {
        match format {
            Some(Format::Csv) => Self::Csv(Box::new(CsvSink::new(out, columns, null))),
            Some(Format::Ndjson) | None => Self::Ndjson(out),
        }
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), Failure> {
        match self {
            Self::Ndjson(out) => {
                let mut text = Vec::new();
                for row in rows {
                    text.clear();
                    exact::write_object(row, &mut text);
                    text.push(b'\n');
                    out.write_all(&text)?;
                }
                Ok(())
            }
            Self::Csv(csv) => csv.write(rows),
        }
    }

    /// What an importer of the file has to know.
    fn finish(self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Ndjson(mut out) => {
                out.flush()?;
                Ok(Vec::new())
            }
            Self::Csv(csv) => csv.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    fn exported(format: Format, columns: &[&str], rows: &[&str]) -> Result<String, Failure> {
        let rows: Vec<Row> = rows
            .iter()
            .map(|row| exact::parse_object(row.as_bytes()).unwrap())
            .collect();
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        let mut sink = Sink::new(&mut out, Some(format), columns, String::new());
        // Two pages, the first of one row.
        sink.write(&rows[..1])?;
        sink.write(&rows[1..])?;
        sink.finish()?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn rows_become_lines() {
        let rows = [r#"{"id":"a,b","n":1}"#, r#"{"id":"c","n":null}"#];
        let csv = exported(Format::Csv, &[], &rows).unwrap();
        assert_eq!(csv, "id,n\n\"a,b\",1\nc,\n");
        let ndjson = exported(Format::Ndjson, &[], &rows).unwrap();
        assert_eq!(
            ndjson,
            "{\"id\":\"a,b\",\"n\":1}\n{\"id\":\"c\",\"n\":null}\n"
        );
    }

    #[test]
    fn an_attribute_without_column_is_an_error_unless_columns_were_named() {
        let rows = [r#"{"id":"a"}"#, r#"{"id":"b","late":1}"#];
        let error = exported(Format::Csv, &[], &rows).unwrap_err();
        assert!(error.message.contains("`late`"), "{}", error.message);
        assert_eq!(exported(Format::Csv, &["id"], &rows).unwrap(), "id\na\nb\n");
    }
}
