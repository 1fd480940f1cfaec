//! `tablestore export`: the rows of a table into a CSV or NDJSON file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tablestore_client::{Client, Row, ScanOptions};

use super::import::source::Format;
use super::screen::cell;
use super::{Exit, Failure, Screen};

/// Rows fetched at a time.
const PAGE_ROWS: usize = 1000;

/// Options of `tablestore export`.
#[derive(Debug, Args)]
#[command(after_help = "\
CSV takes its columns from the first page of rows, unless --columns names them; a row with another
attribute ends the export with an error. NDJSON takes every row as it is.")]
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
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    arguments: ExportArguments,
) -> Result<Exit, Failure> {
    let to_stdout = arguments.file == Path::new("-");
    let format = arguments.format.or_else(|| Format::of(&arguments.file));
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
    let mut sink = Sink::new(BufWriter::new(out), format, arguments.columns);
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
    sink.finish()?;
    bar.finish_and_clear();
    if !to_stdout {
        let shown = arguments.file.display().to_string();
        screen.result(&json!({"rows": rows, "file": shown}), || {
            format!("{rows} rows written to {shown}")
        });
    }
    Ok(Exit::Done)
}

/// Rows on their way into a file.
enum Sink<W: Write> {
    Ndjson(W),
    Csv(Box<CsvSink<W>>),
}

struct CsvSink<W: Write> {
    writer: csv::Writer<W>,
    columns: Vec<String>,
    /// The caller named the columns, so other attributes are left out on purpose.
    given: bool,
    header_written: bool,
}

impl<W: Write> Sink<W> {
    fn new(out: W, format: Option<Format>, columns: Vec<String>) -> Self {
        match format {
            Some(Format::Csv) => {
                let given = !columns.is_empty();
                let writer = csv::Writer::from_writer(out);
                Self::Csv(Box::new(CsvSink {
                    writer,
                    columns,
                    given,
                    header_written: false,
                }))
            }
            Some(Format::Ndjson) | None => Self::Ndjson(out),
        }
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), Failure> {
        match self {
            Self::Ndjson(out) => {
                for row in rows {
                    writeln!(out, "{}", json!(row))?;
                }
                Ok(())
            }
            Self::Csv(csv) => csv.write(rows),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Ndjson(mut out) => out.flush()?,
            Self::Csv(mut csv) => csv.writer.flush()?,
        }
        Ok(())
    }
}

impl<W: Write> CsvSink<W> {
    fn write(&mut self, rows: &[Row]) -> Result<(), Failure> {
        if !self.header_written && !rows.is_empty() {
            if !self.given {
                self.columns = names(rows);
            }
            self.writer
                .write_record(&self.columns)
                .map_err(csv_failure)?;
            self.header_written = true;
        }
        for row in rows {
            self.check(row)?;
            let cells = self.columns.iter().map(|name| match row.get(name) {
                None | Some(Value::Null) => String::new(),
                value => cell(value),
            });
            self.writer.write_record(cells).map_err(csv_failure)?;
        }
        Ok(())
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

fn names(rows: &[Row]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().flat_map(Row::keys) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn csv_failure(error: csv::Error) -> Failure {
    Failure::failed(format!("the file cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    fn exported(format: Format, columns: &[&str], rows: Vec<Value>) -> Result<String, Failure> {
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|row| serde_json::from_value(row).unwrap())
            .collect();
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        let mut sink = Sink::new(&mut out, Some(format), columns);
        // Two pages, the first of one row.
        sink.write(&rows[..1])?;
        sink.write(&rows[1..])?;
        sink.finish()?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn rows_become_lines() {
        let rows = || vec![json!({"id": "a,b", "n": 1}), json!({"id": "c", "n": null})];
        let csv = exported(Format::Csv, &[], rows()).unwrap();
        assert_eq!(csv, "id,n\n\"a,b\",1\nc,\n");
        let ndjson = exported(Format::Ndjson, &[], rows()).unwrap();
        assert_eq!(
            ndjson,
            "{\"id\":\"a,b\",\"n\":1}\n{\"id\":\"c\",\"n\":null}\n"
        );
    }

    #[test]
    fn an_attribute_without_column_is_an_error_unless_columns_were_named() {
        let rows = || vec![json!({"id": "a"}), json!({"id": "b", "late": 1})];
        let error = exported(Format::Csv, &[], rows()).unwrap_err();
        assert!(error.message.contains("`late`"), "{}", error.message);
        assert_eq!(
            exported(Format::Csv, &["id"], rows()).unwrap(),
            "id\na\nb\n"
        );
    }
}
