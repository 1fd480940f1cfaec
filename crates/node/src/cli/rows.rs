//! `tablestore put | get | delete | scan`: single rows and ranges.

use std::io::Read;

use clap::Args;
use serde::de::IgnoredAny;
use serde_json::json;
use tablestore_client::{
    Client, Condition, Consistency, FieldError, Found, ReadOptions, Row, RowKey, ScanOptions,
    Value, WriteOptions, json as exact,
};

use crate::terminal::{Exit, Failure, Screen, cell, columns};

/// Rows a page unless `--limit` is smaller.
const PAGE_ROWS: usize = 500;

/// A row of a table.
#[derive(Debug, Clone, Args)]
pub(crate) struct RowArguments {
    /// Name of the table
    table: String,
    /// Partition key
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// Sort key, where the table has one
    #[arg(long, short, value_name = "KEY", allow_negative_numbers = true)]
    sort: Option<String>,
}

impl RowArguments {
    fn key(&self) -> RowKey {
        let key = RowKey::new(&self.key);
        match &self.sort {
            Some(sort) => key.sorted_by(sort),
            None => key,
        }
    }
}

/// What must hold for a write.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConditionArguments {
    /// Only if the row has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Only if there is no such row
    #[arg(long, conflicts_with = "if_version")]
    if_absent: bool,
}

impl ConditionArguments {
    fn options(&self) -> WriteOptions {
        let absent = self.if_absent.then_some(Condition::Absent);
        let condition = self.if_version.map(Condition::Version).or(absent);
        WriteOptions {
            condition,
            request: None,
        }
    }
}

/// Options of `tablestore put`.
#[derive(Debug, Args)]
#[command(after_help = "\
An attribute is NAME=VALUE, or a JSON object with several, or - to read such an object from
standard input. A VALUE that is JSON is taken as such, anything else as text. Numbers keep up to
38 digits; one with more, or a name that is given twice, is refused.

Examples:
  tablestore put airports LGA name='La Guardia' alt=22
  tablestore put airports LGA '{\"name\": \"La Guardia\", \"alt\": 22}'
  tablestore put airports LGA --merge alt=21 --remove tz")]
pub(crate) struct PutArguments {
    #[command(flatten)]
    row: RowArguments,
    /// What the row holds
    #[arg(value_name = "ATTRIBUTE")]
    attributes: Vec<String>,
    /// Leave other attributes of the row as they are
    #[arg(long)]
    merge: bool,
    /// An attribute to remove
    #[arg(long, value_name = "NAME", requires = "merge", value_delimiter = ',')]
    remove: Vec<String>,
    #[command(flatten)]
    condition: ConditionArguments,
}

/// Options of `tablestore get`.
#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    #[command(flatten)]
    row: RowArguments,
    /// Any copy will do; faster, perhaps not the newest
    #[arg(long)]
    eventual: bool,
}

/// Options of `tablestore delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    row: RowArguments,
    /// Only if the row has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

/// Options of `tablestore scan`.
#[derive(Debug, Args)]
#[command(after_help = "With --json each row is one line (NDJSON).")]
pub(crate) struct ScanArguments {
    /// Name of the table
    table: String,
    /// Only rows of this partition key
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    key: Option<String>,
    /// First sort key, inclusive
    #[arg(
        long,
        value_name = "KEY",
        requires = "key",
        allow_negative_numbers = true
    )]
    from: Option<String>,
    /// Last sort key, inclusive
    #[arg(
        long,
        value_name = "KEY",
        requires = "key",
        allow_negative_numbers = true
    )]
    to: Option<String>,
    /// From the last sort key to the first
    #[arg(long, requires = "key")]
    reverse: bool,
    /// Rows to show at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Any copy will do; faster, perhaps not the newest
    #[arg(long)]
    eventual: bool,
}

fn consistency(eventual: bool) -> Consistency {
    if eventual {
        Consistency::Eventual
    } else {
        Consistency::Strong
    }
}

pub(crate) async fn put(
    client: &Client,
    screen: &Screen,
    arguments: PutArguments,
) -> Result<Exit, Failure> {
    let mut row = Row::new();
    for attribute in &arguments.attributes {
        let given = if attribute == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            object(&text)?
        } else {
            attributes(attribute)?
        };
        add(&mut row, given)?;
    }
    let (table, key) = (&arguments.row.table, arguments.row.key());
    let options = arguments.condition.options();
    let written = if arguments.merge {
        let remove: Vec<&str> = arguments.remove.iter().map(String::as_str).collect();
        client
            .patch_with(table, &key, &row, &remove, &options)
            .await?
    } else {
        client.put_with(table, &key, &row, &options).await?
    };
    let version = written.version;
    screen.result(
        &json!({"written": true, "version": version}),
        || match version {
            Some(version) => format!("written, version {version}"),
            None => "written".to_owned(),
        },
    );
    Ok(Exit::Done)
}

/// `NAME=VALUE`, or a JSON object.
fn attributes(text: &str) -> Result<Row, Failure> {
    if text.trim_start().starts_with('{') {
        return object(text);
    }
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = value_of(value).map_err(|error| {
                Failure::usage(error.within(name).to_string())
                    .advise("a number beyond that can be kept as text, in quotes")
            })?;
            Ok(Row::from_iter([(name.to_owned(), value)]))
        }
        _ => Err(Failure::usage(format!(
            "`{text}`: expected NAME=VALUE or a JSON object in braces"
        ))),
    }
}

/// JSON as such and anything else as text; JSON that cannot be kept is neither.
fn value_of(text: &str) -> Result<Value, FieldError> {
    match exact::parse_value(text.as_bytes()) {
        Ok(value) => Ok(value),
        Err(error) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Err(error),
        Err(_) => Ok(text.into()),
    }
}

fn object(text: &str) -> Result<Row, Failure> {
    exact::parse_object(text.as_bytes())
        .map_err(|error| Failure::usage(format!("the row is no JSON object: {error}")))
}

/// Adds attributes; none may be given twice.
fn add(row: &mut Row, given: Row) -> Result<(), Failure> {
    for (name, value) in given {
        if row.contains_key(&name) {
            let message = format!("{name}: expected an attribute only once, found it again");
            return Err(Failure::usage(message));
        }
        row.insert(name, value);
    }
    Ok(())
}

pub(crate) async fn get(
    client: &Client,
    screen: &Screen,
    arguments: GetArguments,
) -> Result<Exit, Failure> {
    let options = ReadOptions {
        consistency: consistency(arguments.eventual),
    };
    let key = arguments.row.key();
    let Some(found) = client.get_with(&arguments.row.table, &key, options).await? else {
        return Err(Failure::new(Exit::Look, "there is no such row"));
    };
    let row = &found.row;
    screen.result(&found_as_json(&found), || {
        let width = row
            .keys()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0);
        let lines: Vec<String> = row
            .iter()
            .map(|(name, value)| format!("{name:<width$}  {}", cell(Some(value))))
            .collect();
        lines.join("\n")
    });
    Ok(Exit::Done)
}

fn found_as_json(found: &Found) -> Value {
    let version = found.version.map_or(Value::Null, Value::from);
    Value::from(Row::from([
        ("row".to_owned(), found.row.clone().into()),
        ("version".to_owned(), version),
    ]))
}

pub(crate) async fn delete(
    client: &Client,
    screen: &Screen,
    arguments: DeleteArguments,
) -> Result<Exit, Failure> {
    let condition = arguments.if_version.map(Condition::Version);
    let options = WriteOptions {
        condition,
        request: None,
    };
    let key = arguments.row.key();
    let done = client.delete_with(&arguments.row.table, &key, &options);
    let existed = done.await?.existed;
    screen.result(&json!({ "deleted": existed }), || match existed {
        true => "deleted".to_owned(),
        false => "there was no such row".to_owned(),
    });
    Ok(Exit::Done)
}

pub(crate) async fn scan(
    client: &Client,
    screen: &Screen,
    arguments: ScanArguments,
) -> Result<Exit, Failure> {
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let options = ScanOptions {
        partition: arguments.key,
        from: arguments.from,
        to: arguments.to,
        reverse: arguments.reverse,
        page_rows: Some(PAGE_ROWS.min(limit).max(1)),
        consistency: consistency(arguments.eventual),
    };
    let mut pages = client.scan(&arguments.table, options);
    let mut shown = 0;
    while shown < limit {
        let Some(mut page) = pages.next().await? else {
            break;
        };
        page.truncate(limit - shown);
        shown += page.len();
        if screen.json() {
            for row in page {
                screen.line(Value::from(row).to_string());
            }
        } else if !page.is_empty() {
            screen.line(as_table(screen, &page));
        }
    }
    if !screen.json() {
        screen.note(format!("{shown} rows"));
    }
    Ok(Exit::Done)
}

/// Rows in columns: every attribute that occurs, in order of first occurrence.
fn as_table(screen: &Screen, rows: &[Row]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(Row::keys) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| names.iter().map(|name| cell(row.get(*name))).collect())
        .collect();
    columns(screen, &names, &cells)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn attributes_are_json_where_they_can_be() {
        for (text, expected) in [
            ("alt=22", r#"{"alt":22}"#),
            ("name=La Guardia", r#"{"name":"La Guardia"}"#),
            ("code=\"22\"", r#"{"code":"22"}"#),
            ("open=true", r#"{"open":true}"#),
            ("a=b=c", r#"{"a":"b=c"}"#),
            ("empty=", r#"{"empty":""}"#),
            ("tags=[1,2]", r#"{"tags":[1,2]}"#),
            ("zip=007", r#"{"zip":"007"}"#),
            ("n=1e3", r#"{"n":1000}"#),
            ("n=-0", r#"{"n":0}"#),
            (
                "n=-0.12345678901234567890123456789012345678",
                r#"{"n":-0.12345678901234567890123456789012345678}"#,
            ),
            (
                " {\"a\":18446744073709551617,\"b\":null}",
                r#"{"a":18446744073709551617,"b":null}"#,
            ),
        ] {
            let row = Value::from(attributes(text).unwrap());
            assert_eq!(row.to_string(), expected, "{text}");
        }
        for bad in ["", "alt", "=22", "{\"a\":", "[1]"] {
            assert_eq!(attributes(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name_and_neither_rounded_nor_taken_for_text() {
        for (text, expected) in [
            (
                "n=1E400",
                "n: expected a number of at most 38 digits, found magnitude above",
            ),
            (
                "n=123456789012345678901234567890123456789",
                "n: expected a number of at most 38 digits, found more than 38 significant",
            ),
            (
                "n={\"m\":[1E-131]}",
                "n.m[0]: expected a number of at most 38 digits",
            ),
            (
                "n={\"m\":1,\"m\":1}",
                "n.m: expected a name only once, found it again",
            ),
            (
                "{\"m\":1,\"m\":1}",
                "the row is no JSON object: m: expected a name only once, found it again",
            ),
        ] {
            let failure = attributes(text).unwrap_err();
            assert!(failure.message.starts_with(expected), "{}", failure.message);
            assert_eq!(failure.exit, Exit::Usage);
        }
        let mut row = attributes("a=1").unwrap();
        let failure = add(&mut row, attributes("{\"b\":1,\"a\":1}").unwrap()).unwrap_err();
        assert_eq!(
            failure.message,
            "a: expected an attribute only once, found it again"
        );
    }

    #[test]
    fn a_row_for_programs_has_every_digit_and_its_whole_version() {
        let found = Found {
            row: object(r#"{"n":12345678901234567890123456789012345678}"#).unwrap(),
            version: Some(u64::MAX),
        };
        assert_eq!(
            found_as_json(&found).to_string(),
            "{\"row\":{\"n\":12345678901234567890123456789012345678},\
             \"version\":18446744073709551615}"
        );
    }

    #[test]
    fn rows_with_different_attributes_share_one_table() {
        let rows: Vec<Row> = [
            r#"{"id":"a","x":12345678901234567890123456789012345678}"#,
            r#"{"id":"b","y":[2]}"#,
        ]
        .into_iter()
        .map(|row| object(row).unwrap())
        .collect();
        let wide = "x".to_owned() + &" ".repeat(37);
        let none = " ".repeat(38);
        assert_eq!(
            as_table(&Screen::plain(), &rows),
            format!("id  {wide}  y\na   12345678901234567890123456789012345678\nb   {none}  [2]")
        );
    }
}
