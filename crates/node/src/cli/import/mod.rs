//! `tablestore import`: a CSV or NDJSON file into a table.

mod rejects;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tablestore_client::{Client, KeyDefinition, KeyType, Row, RowKey, Value};

use self::rejects::Rejects;
use super::table::PlacingArguments;
use crate::loading::load::Loader;
use crate::loading::source::{Format, Numbered, Reading, Rejected, Source, open};
use crate::loading::types::ColumnType;
use crate::terminal::{Exit, Failure, Screen};

/// Between the parts of a key made of several columns.
const KEY_JOINT: &str = "-";

/// Options of `tablestore import`.
#[derive(Debug, Args)]
#[command(after_help = "\
NDJSON is exact: what export wrote comes back value by value. Numbers have up to 38 digits; one
with more, or a name that an object has twice, is rejected and never rounded or dropped.

A CSV column is, found from the first 1000 rows: bool, if each cell is true or false; number, if
each is a number without needless zeros (41.10 and 007 are none, 1e3 is 1000); json, if each is a
list, an object or {\"$binary\":\"BASE64\"} as export writes it; else string. A cell in quotes is
never bool or number. A later cell that does not fit is rejected, not changed. --types sets a
type, which then takes any number, TRUE, or JSON with spaces. Nothing between two commas is null,
\"\" is the empty string; a cell equal to --null, without quotes, is null.

A rejected line is reported with its number (of its first line, for a record of several) and the
reason; the others are imported, and the exit status is 5. Rows with equal keys overwrite each
other in no certain order.

Examples:
  tablestore import airports.csv --table airports --create --key faa --null NA
  tablestore import airports rows.ndjson
  tablestore import flights.csv.gz --table flights --create --key id=carrier+flight \\
      --sort-key time_hour --null NA --types tailnum:string")]
pub(crate) struct ImportArguments {
    /// The file, or - for standard input; gzip is recognised. The table may stand before it
    #[arg(value_name = "[TABLE] FILE", required = true, num_args = 1..=2)]
    places: Vec<PathBuf>,
    /// The table, unless it stands before the file
    #[arg(long, short)]
    table: Option<String>,
    /// How rows are written [default: by the name of the file]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Create the table if it is not there; needs --key
    #[arg(long, requires = "key")]
    create: bool,
    /// Column that is the partition key, or NAME=COLUMN+COLUMN to make one of several
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// Column that is the sort key, in the same form
    #[arg(long, value_name = "COLUMN")]
    sort_key: Option<String>,
    /// Types of columns: string, number, bool or json
    #[arg(long, value_name = "COLUMN:TYPE", value_delimiter = ',', value_parser = column_type)]
    types: Vec<(String, ColumnType)>,
    /// Text that stands for no value, beside the empty cell
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Batches of 100 rows under way at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,
    /// Write rejected lines with number and reason to this file (NDJSON)
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Exit with status 0 although lines were rejected
    #[arg(long)]
    allow_rejects: bool,
    #[command(flatten)]
    placing: PlacingArguments,
}

impl ImportArguments {
    /// The table, named once, and the file.
    fn table_and_file(&self) -> Result<(&str, &Path), Failure> {
        match (self.table.as_deref(), self.places.as_slice()) {
            (Some(table), [file]) => Ok((table, file)),
            (None, [table, file]) => match table.to_str() {
                Some(table) => Ok((table, file)),
                None => Err(Failure::usage("TABLE: expected UTF-8")),
            },
            (None, _) => Err(Failure::usage("expected TABLE FILE, or FILE --table TABLE")),
            (Some(_), _) => Err(Failure::usage(
                "expected the table once: before the file or after --table",
            )),
        }
    }
}

fn column_type(text: &str) -> Result<(String, ColumnType), String> {
    let (name, word) = text.rsplit_once(':').ok_or("expected COLUMN:TYPE")?;
    Ok((name.to_owned(), word.parse()?))
}

/// A key attribute and the columns it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KeySource {
    name: String,
    columns: Vec<String>,
}

impl KeySource {
    fn parse(text: &str) -> Result<Self, Failure> {
        let Some((name, columns)) = text.split_once('=') else {
            return Ok(Self {
                name: text.to_owned(),
                columns: vec![text.to_owned()],
            });
        };
        let columns: Vec<String> = columns.split('+').map(str::to_owned).collect();
        if name.is_empty() || columns.iter().any(String::is_empty) {
            return Err(Failure::usage(format!(
                "`{text}`: expected COLUMN or NAME=COLUMN+COLUMN"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            columns,
        })
    }

    fn is_plain(&self) -> bool {
        self.columns == [self.name.as_str()]
    }

    /// The type of the key: of its column if it is one, text otherwise.
    fn definition(&self, source: &Source, sample: Option<&Row>) -> KeyDefinition {
        let number = self.is_plain()
            && match source.types().get(&self.name) {
                Some(column_type) => *column_type == ColumnType::Number,
                None => sample
                    .and_then(|row| row.get(&self.name))
                    .is_some_and(|value| value.as_number().is_some()),
            };
        let key_type = if number {
            KeyType::Number
        } else {
            KeyType::String
        };
        KeyDefinition::new(&self.name, key_type)
    }

    /// Makes the key attribute where it is made of others, and refuses a row without it.
    fn apply(&self, row: &mut Row) -> Result<(), String> {
        let mut parts = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let value = row.get(column).unwrap_or(&Value::Null);
            let part = RowKey::part_of(value).map_err(|error| format!("{column}: {error}"))?;
            if part.is_empty() {
                return Err(format!("{column}: a key must not be empty"));
            }
            parts.push(part);
        }
        if !self.is_plain() {
            let made = Value::String(parts.join(KEY_JOINT));
            match row.insert(self.name.clone(), made) {
                Some(was) if Some(&was) != row.get(&self.name) => {
                    return Err(format!(
                        "{}: expected the key made of {}, found {was}",
                        self.name,
                        self.columns.join("+")
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What came of an import.
#[derive(Debug, Default)]
struct Tally {
    rejected: u64,
    read: u64,
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    arguments: ImportArguments,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let (table, file) = arguments.table_and_file()?;
    let shown = file.display().to_string();
    let format = arguments
        .format
        .or_else(|| Format::of(file))
        .ok_or_else(|| Failure::usage(format!("{shown}: pass --format csv or --format ndjson")))?;
    let keys: Vec<KeySource> = [&arguments.key, &arguments.sort_key]
        .into_iter()
        .flatten()
        .map(|text| KeySource::parse(text))
        .collect::<Result<_, _>>()?;
    let bytes_read = Arc::new(AtomicU64::new(0));
    let input = open(file, Arc::clone(&bytes_read))
        .map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let types: BTreeMap<_, _> = arguments.types.iter().cloned().collect();
    let reading = Reading {
        types,
        null: arguments.null.clone(),
    };
    let mut source = Source::new(input, format, &reading)
        .map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let first = source.next();
    if arguments.create {
        let sample = first
            .as_ref()
            .and_then(|row| row.as_ref().ok())
            .map(|row| &row.row);
        create(client, table, &arguments.placing, &keys, &source, sample).await?;
    }
    let bar = progress(screen, file);
    let mut rejects = Rejects::open(*screen, &arguments.rejects)?;
    let mut loader = Loader::new(client.clone(), table, usize::from(arguments.concurrency));
    let mut tally = Tally::default();
    for item in first.into_iter().chain(&mut source) {
        tally.read += 1;
        match item.and_then(|row| keyed(row, &keys)) {
            Ok(row) => loader.push(row).await?,
            Err(rejected) => tally.rejected += rejects.note(&bar, &[rejected])?,
        }
        tally.rejected += rejects.note(&bar, &loader.take_rejected())?;
        bar.set_position(bytes_read.load(Ordering::Relaxed));
        if tally.read.is_multiple_of(500) {
            bar.set_message(format!("{} rows", loader.sent()));
        }
    }
    loader.finish().await?;
    tally.rejected += rejects.note(&bar, &loader.take_rejected())?;
    rejects.finish()?;
    bar.finish_and_clear();
    report(
        screen,
        &arguments,
        table,
        &source,
        &tally,
        started.elapsed(),
    );
    let fine = tally.rejected == 0 || arguments.allow_rejects;
    Ok(if fine { Exit::Done } else { Exit::Look })
}

async fn create(
    client: &Client,
    table: &str,
    placing: &PlacingArguments,
    keys: &[KeySource],
    source: &Source,
    sample: Option<&Row>,
) -> Result<(), Failure> {
    let columns = source.types();
    let mut definitions = Vec::new();
    for key in keys {
        let missing = key
            .columns
            .iter()
            .find(|column| !columns.contains_key(*column));
        if let (Some(column), false) = (missing, columns.is_empty()) {
            let all: Vec<&str> = columns.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!(
                "--key: there is no column `{column}`; the columns are {}",
                all.join(", ")
            )));
        }
        definitions.push(key.definition(source, sample));
    }
    let mut definitions = definitions.into_iter();
    let key = definitions
        .next()
        .ok_or_else(|| Failure::usage("--create needs --key"))?;
    let definition = placing.clone().definition(key, definitions.next());
    client.create_table(table, &definition).await?;
    Ok(())
}

fn keyed(mut numbered: Numbered, keys: &[KeySource]) -> Result<Numbered, Rejected> {
    for key in keys {
        if let Err(reason) = key.apply(&mut numbered.row) {
            let text = Value::from(numbered.row).to_string();
            return Err(Rejected {
                line: numbered.line,
                reason,
                text,
            });
        }
    }
    Ok(numbered)
}

fn progress(screen: &Screen, file: &Path) -> ProgressBar {
    if !screen.terminal() {
        return ProgressBar::hidden();
    }
    let length = std::fs::metadata(file)
        .ok()
        .filter(std::fs::Metadata::is_file);
    let (bar, template) = match length {
        Some(metadata) => (
            ProgressBar::new(metadata.len()),
            "{bar:30} {percent:>3} %  {msg}  {elapsed} (left {eta})",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn report(
    screen: &Screen,
    arguments: &ImportArguments,
    table: &str,
    source: &Source,
    tally: &Tally,
    elapsed: Duration,
) {
    let imported = tally.read - tally.rejected;
    let types: BTreeMap<&str, &str> = source
        .types()
        .iter()
        .map(|(name, kind)| (name.as_str(), kind.word()))
        .collect();
    let value = json!({
        "table": table,
        "imported": imported,
        "rejected": tally.rejected,
        "seconds": elapsed.as_secs_f64(),
        "types": types,
    });
    screen.result(&value, || {
        let seconds = elapsed.as_secs_f64();
        let mut text = format!("{imported} rows imported into {table} in {seconds:.1} s");
        if tally.rejected > 0 {
            text.push_str(&format!(", {} lines rejected", tally.rejected));
            if arguments.rejects.is_none() {
                text.push_str(" (--rejects FILE keeps them)");
            }
        }
        text
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    fn row(text: &str) -> Row {
        tablestore_client::json::parse_object(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_a_column_or_made_of_several() {
        let plain = KeySource::parse("faa").unwrap();
        assert!(plain.is_plain());
        let made = KeySource::parse("id=carrier+flight").unwrap();
        let mut flight = row(r#"{"carrier": "UA", "flight": 12345678901234567890123}"#);
        made.apply(&mut flight).unwrap();
        let expected = Value::from("UA-12345678901234567890123");
        assert_eq!(flight["id"], expected);
        made.apply(&mut flight).unwrap();
        assert_eq!(flight["id"], expected, "the same again is no contradiction");
        let mut other = row(r#"{"carrier": "UA", "flight": 1, "id": 7}"#);
        assert_eq!(
            made.apply(&mut other).unwrap_err(),
            "id: expected the key made of carrier+flight, found 7"
        );
        for bad in ["=a", "id=", "id=a+"] {
            KeySource::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn a_row_without_its_key_is_rejected() {
        let key = KeySource::parse("id").unwrap();
        for bad in ["{}", r#"{"id": null}"#, r#"{"id": ""}"#, r#"{"id": [1]}"#] {
            let reason = key.apply(&mut row(bad)).unwrap_err();
            assert!(reason.starts_with("id: "), "{bad}: {reason}");
        }
    }

    #[test]
    fn the_table_is_named_once_before_the_file_or_by_its_option() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            import: ImportArguments,
        }
        let read = |words: &str| -> Result<(String, PathBuf), Failure> {
            let words = ["import"].into_iter().chain(words.split(' '));
            let line = <Line as clap::Parser>::try_parse_from(words).unwrap();
            let (table, file) = line.import.table_and_file()?;
            Ok((table.to_owned(), file.to_owned()))
        };
        for words in ["t f.csv", "f.csv -t t", "--table t f.csv"] {
            let expected = ("t".to_owned(), PathBuf::from("f.csv"));
            assert_eq!(read(words), Ok(expected), "{words}");
        }
        for words in ["f.csv", "t f.csv -t t"] {
            assert_eq!(read(words).unwrap_err().exit, Exit::Usage, "{words}");
        }
    }

    #[test]
    fn types_are_given_by_column() {
        assert_eq!(
            column_type("a:b:number").unwrap(),
            ("a:b".to_owned(), ColumnType::Number)
        );
        column_type("a").unwrap_err();
        column_type("a:decimal").unwrap_err();
    }
}
