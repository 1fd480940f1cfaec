//! Rows out of a file: CSV or NDJSON, plain or gzip, each with the line it stands on.
//!
//! Knows nothing of tables: what cannot be read becomes a rejected line with a reason.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use tablestore_client::{Row, json};

use super::lines::{Line, Lines};
use super::records::{Cell, Record, Records};
use super::types::{Column, ColumnType, Guess, value};

/// Rows looked at to find the types of columns.
pub(crate) const SAMPLE_ROWS: usize = 1000;
/// Bytes of them at most, since they are kept in memory; one row has at most 4 MiB.
const SAMPLE_BYTES_MAX: usize = 16 << 20;
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
    Ndjson(Lines),
}

struct CsvSource {
    records: Records,
    headers: Vec<String>,
    columns: Vec<Column>,
    null: Option<String>,
    /// Records read for the sample and not handed out yet.
    sample: VecDeque<Result<Record, Rejected>>,
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
                inner: Inner::Ndjson(Lines::new(input)),
                types: BTreeMap::new(),
            }),
            Format::Csv => {
                let csv = CsvSource::new(input, reading)?;
                let types = csv
                    .headers
                    .iter()
                    .cloned()
                    .zip(csv.columns.iter().map(|column| column.kind))
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
            Inner::Ndjson(lines) => loop {
                let Line { number, text, .. } = lines.next()?;
                match text {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => return Some(object(text, number)),
                    Err(reason) => {
                        return Some(Err(Rejected {
                            line: number,
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
    match json::parse_object(text.as_bytes()) {
        Ok(row) => Ok(Numbered { line, row }),
        Err(error) => Err(Rejected {
            line,
            reason: error.to_string(),
            text,
        }),
    }
}

impl CsvSource {
    fn new(input: Box<dyn BufRead>, reading: &Reading) -> Result<Self, String> {
        let mut records = Records::new(Lines::new(input));
        let header = match records.next() {
            Some(Ok(record)) => record,
            Some(Err(Rejected { line, reason, .. })) => {
                return Err(format!("line {line}: the header cannot be read: {reason}"));
            }
            None => return Err("expected a header line, found an empty file".to_owned()),
        };
        let headers: Vec<String> = header.cells.into_iter().map(|cell| cell.text).collect();
        check_headers(&headers, reading)?;
        let sample = sample(&mut records);
        let columns = columns(&headers, &sample, reading);
        Ok(Self {
            records,
            headers,
            columns,
            null: reading.null.clone(),
            sample,
        })
    }

    fn next_row(&mut self) -> Option<Result<Numbered, Rejected>> {
        let record = match self.sample.pop_front() {
            Some(record) => record,
            None => self.records.next()?,
        };
        Some(record.and_then(|Record { line, cells, text }| {
            self.row(&cells)
                .map(|row| Numbered { line, row })
                .map_err(|reason| Rejected { line, reason, text })
        }))
    }

    fn row(&self, cells: &[Cell]) -> Result<Row, String> {
        if cells.len() != self.headers.len() {
            let (expected, got) = (self.headers.len(), cells.len());
            return Err(format!("expected {expected} fields, got {got}"));
        }
        let mut row = Row::new();
        for ((name, column), cell) in self.headers.iter().zip(&self.columns).zip(cells) {
            let value = value(cell, *column, self.null.as_deref())
                .map_err(|reason| format!("{name}: {reason}"))?;
            row.insert(name.clone(), value);
        }
        Ok(row)
    }
}

/// The first records, as many as the types are found from.
fn sample(records: &mut Records) -> VecDeque<Result<Record, Rejected>> {
    let mut sample = VecDeque::new();
    let mut bytes = 0;
    while sample.len() < SAMPLE_ROWS && bytes < SAMPLE_BYTES_MAX {
        let Some(record) = records.next() else { break };
        bytes += match &record {
            Ok(record) => record.text.len(),
            Err(rejected) => rejected.text.len(),
        };
        sample.push_back(record);
    }
    sample
}

/// The types that were given, and those that the sample allows.
fn columns(
    headers: &[String],
    sample: &VecDeque<Result<Record, Rejected>>,
    reading: &Reading,
) -> Vec<Column> {
    let mut guesses = vec![Guess::new(); headers.len()];
    let records = sample.iter().flatten();
    for record in records.filter(|record| record.cells.len() == headers.len()) {
        for (guess, cell) in guesses.iter_mut().zip(&record.cells) {
            if !cell.is_null(reading.null.as_deref()) {
                guess.see(&cell.text, cell.quoted);
            }
        }
    }
    let column = |(name, guess): (&String, Guess)| match reading.types.get(name) {
        Some(kind) => Column {
            kind: *kind,
            given: true,
        },
        None => Column {
            kind: guess.column_type(),
            given: false,
        },
    };
    headers.iter().zip(guesses).map(column).collect()
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

    use tablestore_client::Value;

    use super::*;

    fn source(text: &str, format: Format, reading: &Reading) -> Result<Source, String> {
        let input = unpack(Cursor::new(text.as_bytes().to_vec())).unwrap();
        Source::new(input, format, reading)
    }

    fn shown(row: &Row) -> String {
        Value::from(row.clone()).to_string()
    }

    #[test]
    fn a_csv_row_has_types_and_nulls() {
        let reading = Reading {
            null: Some("NA".to_owned()),
            ..Reading::default()
        };
        let text = "\u{feff}faa,alt,tz,open\n04G,1044,-5,true\nEEN,NA,,false\n";
        let rows: Vec<_> = source(text, Format::Csv, &reading).unwrap().collect();
        let got: Vec<_> = rows.into_iter().map(|row| row.unwrap()).collect();
        let shown: Vec<_> = got.iter().map(|row| (row.line, shown(&row.row))).collect();
        assert_eq!(
            shown[0],
            (
                2,
                r#"{"alt":1044,"faa":"04G","open":true,"tz":-5}"#.to_owned()
            )
        );
        assert_eq!(
            shown[1],
            (
                3,
                r#"{"alt":null,"faa":"EEN","open":false,"tz":null}"#.to_owned()
            )
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
                (1002, "n: expected a number, got `x`: not a decimal number"),
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
        assert_eq!(source.next().unwrap().unwrap().row["n"], "7".into());
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
        let text = concat!(
            "\u{feff}{\"a\":12345678901234567890123456789012345678}\r\n\n[2]\n{\"a\":\n",
            "{\"a\":1,\"b\":{\"c\":1,\"c\":1}}\n{\"a\":1E400}\n{\"a\":3}"
        );
        let rows: Vec<_> = source(text, Format::Ndjson, &Reading::default())
            .unwrap()
            .map(|row| match row {
                Ok(Numbered { line, row }) => (line, shown(&row)),
                Err(Rejected { line, reason, .. }) => (line, reason),
            })
            .collect();
        let expected = [
            (1, "{\"a\":12345678901234567890123456789012345678}"),
            (3, "expected an object, found a list"),
            (4, "a: expected a JSON value, found the end of the input"),
            (5, "b.c: expected a name only once, found it again"),
            (
                6,
                "a: expected a number of at most 38 digits, found \
                 magnitude above 9.9999999999999999999999999999999999999E+125",
            ),
            (7, "{\"a\":3}"),
        ];
        assert_eq!(rows, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_rejected_record_has_the_line_it_begins_on() {
        for end in ["\n", "\r\n"] {
            let text =
                "n,text\n\n1,\"two\n\nlines\"\nx,\"a\nb\"\n\n3,y\n4,z,4\n".replace('\n', end);
            let reading = Reading {
                types: BTreeMap::from([("n".to_owned(), ColumnType::Number)]),
                null: None,
            };
            let lines: Vec<_> = source(&text, Format::Csv, &reading)
                .unwrap()
                .map(|row| row.map(|row| row.line).map_err(|rejected| rejected.line))
                .collect();
            assert_eq!(lines, [Ok(3), Err(6), Ok(9), Err(10)], "{end:?}");
        }
    }

    #[test]
    fn gzip_is_unpacked_wherever_it_comes_from() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"id\nx\n").unwrap();
        let input = unpack(Cursor::new(packed.finish().unwrap())).unwrap();
        let mut source = Source::new(input, Format::Csv, &Reading::default()).unwrap();
        assert_eq!(source.next().unwrap().unwrap().row["id"], "x".into());
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
