//! `tablestore put | get | delete | scan`: single rows and ranges.

use std::io::Read;

use clap::Args;
use serde_json::{Value, json};
use tablestore_client::{
    Client, Condition, Consistency, ReadOptions, Row, RowKey, ScanOptions, WriteOptions,
};

use super::screen::{cell, columns};
use super::{Exit, Failure, Screen};

/// Rows a page unless `--limit` is smaller.
const PAGE_ROWS: usize = 500;

/// A row of a table.
#[derive(Debug, Clone, Args)]
pub(crate) struct RowArguments {
    /// Name of the table
    table: String,
    /// Partition key
    key: String,
    /// Sort key, where the table has one
    #[arg(long, short, value_name = "KEY")]
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
standard input. A VALUE that is JSON is taken as such, anything else as text.

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
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// First sort key, inclusive
    #[arg(long, value_name = "KEY", requires = "key")]
    from: Option<String>,
    /// Last sort key, inclusive
    #[arg(long, value_name = "KEY", requires = "key")]
    to: Option<String>,
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
        if attribute == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            row.extend(object(&text)?);
        } else {
            row.extend(attributes(attribute)?);
        }
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
            let value =
                serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok(Row::from_iter([(name.to_owned(), value)]))
        }
        _ => Err(Failure::usage(format!(
            "`{text}`: expected NAME=VALUE or a JSON object in braces"
        ))),
    }
}

fn object(text: &str) -> Result<Row, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::usage(format!("the row is no JSON object: {error}")))
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
    screen.result(&json!({"row": found.row, "version": found.version}), || {
        let width = found
            .row
            .keys()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0);
        let lines: Vec<String> = found
            .row
            .iter()
            .map(|(name, value)| format!("{name:<width$}  {}", cell(Some(value))))
            .collect();
        lines.join("\n")
    });
    Ok(Exit::Done)
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
            page.iter()
                .for_each(|row| screen.line(json!(row).to_string()));
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
            ("alt=22", json!({"alt": 22})),
            ("name=La Guardia", json!({"name": "La Guardia"})),
            ("code=\"22\"", json!({"code": "22"})),
            ("open=true", json!({"open": true})),
            ("a=b=c", json!({"a": "b=c"})),
            ("empty=", json!({"empty": ""})),
            ("tags=[1,2]", json!({"tags": [1, 2]})),
            (" {\"a\":1,\"b\":null}", json!({"a": 1, "b": null})),
        ] {
            assert_eq!(Value::Object(attributes(text).unwrap()), expected, "{text}");
        }
        for bad in ["", "alt", "=22", "{\"a\":", "[1]"] {
            assert_eq!(attributes(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn rows_with_different_attributes_share_one_table() {
        let rows: Vec<Row> = [json!({"id": "a", "x": 1}), json!({"id": "b", "y": [2]})]
            .into_iter()
            .map(|row| serde_json::from_value(row).unwrap())
            .collect();
        assert_eq!(
            as_table(&Screen::plain(), &rows),
            "id  x  y\na   1\nb      [2]"
        );
    }
}
