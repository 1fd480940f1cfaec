//! Table definitions as JSON: parsed strictly, with the defaults, and shown again.
//!
//! Knows nothing of how a table is created.

use serde_json::{Map, Value};
use tablestore_contract::limits::{MIN_IN_SYNC, PARTITIONS, REPLICAS};
use tablestore_contract::{self as contract, TableView};
use tablestore_placement::{
    ACTIVE, KeyDefinition, KeyType, Layout, PARTITION, PARTITIONS_MAX, PRIMARY_BACKUP,
    REPLICAS_MAX, Table, TableDefinition,
};

use super::problem::{Kind, Problem};

/// Parses the body of a request that creates a table.
///
/// # Errors
/// Names the field and what is expected of it; `not_supported` for what is not built.
pub(crate) fn parse(body: &[u8]) -> Result<TableDefinition, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid("body", "a table definition as a JSON object", error))?;
    let Value::Object(fields) = value else {
        return Err(Problem::invalid("body", "a JSON object", kind(&value)));
    };
    supported(&fields)?;
    if let Some(name) = fields
        .keys()
        .find(|name| !contract::TableDefinition::FIELDS.contains(&name.as_str()))
    {
        return Err(Problem::unknown(
            Kind::UnknownField,
            name,
            &contract::TableDefinition::FIELDS,
        ));
    }
    let Some(partition_key) = fields.get("partition_key").filter(|value| !value.is_null()) else {
        let expected = "an object with name and type";
        return Err(Problem::invalid("partition_key", expected, "none"));
    };
    let partition_key = key("partition_key", partition_key)?;
    let sort_key = match fields.get("sort_key") {
        None | Some(Value::Null) => None,
        Some(value) => Some(key("sort_key", value)?),
    };
    if sort_key
        .as_ref()
        .is_some_and(|sort| sort.name == partition_key.name)
    {
        let expected = "a name other than the partition key's";
        return Err(Problem::invalid("sort_key.name", expected, "the same name"));
    }
    let strategy = text(&fields, "strategy")?
        .unwrap_or(PRIMARY_BACKUP)
        .to_owned();
    let replicas = replicas(&fields, &strategy)?;
    let default = match strategy.as_str() {
        ACTIVE => replicas / 2 + 1,
        _ => MIN_IN_SYNC.min(replicas),
    };
    let min_in_sync = number(&fields, "min_in_sync", default, REPLICAS_MAX)?;
    if strategy == ACTIVE && min_in_sync != default {
        let expected = format!("{default}, a majority: requests say otherwise by w");
        return Err(Problem::invalid("min_in_sync", expected, min_in_sync));
    }
    if min_in_sync > replicas {
        let expected = format!("at most replicas ({replicas})");
        return Err(Problem::invalid("min_in_sync", expected, min_in_sync));
    }
    let partitions = number(&fields, "partitions", PARTITIONS, PARTITIONS_MAX)?;
    if !partitions.is_power_of_two() {
        let expected = format!("a power of two from 1 to {PARTITIONS_MAX}");
        return Err(Problem::invalid("partitions", expected, partitions));
    }
    let layout = Layout::Row;
    Ok(TableDefinition {
        partition_key,
        sort_key,
        strategy,
        replicas,
        min_in_sync,
        partitions,
        layout,
    })
}

fn replicas(fields: &Map<String, Value>, strategy: &str) -> Result<u32, Problem> {
    let is_shared = strategy == PARTITION;
    let default = if is_shared { 1 } else { REPLICAS };
    let replicas = number(fields, "replicas", default, REPLICAS_MAX)?;
    if is_shared && replicas != 1 {
        let expected = "1: the shared storage keeps the rows, and every node can serve them";
        return Err(Problem::invalid("replicas", expected, replicas));
    }
    Ok(replicas)
}

/// What the contract knows and this version has not.
fn supported(fields: &Map<String, Value>) -> Result<(), Problem> {
    let strategy = text(fields, "strategy")?.unwrap_or(PRIMARY_BACKUP);
    if strategy.is_empty() {
        let expected = "the name of a strategy";
        return Err(Problem::invalid("strategy", expected, "an empty one"));
    }
    match text(fields, "layout")? {
        None | Some("row") => Ok(()),
        Some("column") if strategy == ACTIVE || strategy == PARTITION => {
            let detail = format!("the strategy {strategy} has no layout column");
            Err(Problem::new(Kind::UnsupportedByStrategy, detail).about("layout", "row"))
        }
        Some("column") => {
            let detail = "the layout column is not built yet";
            Err(Problem::new(Kind::NotSupported, detail).about("layout", "row"))
        }
        Some(other) => Err(Problem::invalid(
            "layout",
            "row or column",
            format!("{other:?}"),
        )),
    }
}

fn key(field: &'static str, value: &Value) -> Result<KeyDefinition, Problem> {
    let Value::Object(fields) = value else {
        return Err(Problem::invalid(
            field,
            "an object with name and type",
            kind(value),
        ));
    };
    if let Some(name) = fields
        .keys()
        .find(|name| !contract::KeyDefinition::FIELDS.contains(&name.as_str()))
    {
        return Err(Problem::unknown(
            Kind::UnknownField,
            format!("{field}.{name}"),
            &contract::KeyDefinition::FIELDS,
        ));
    }
    let name = match fields.get("name") {
        Some(Value::String(name)) if (1..=255).contains(&name.len()) => name.clone(),
        other => {
            let got = other.map_or("none", kind);
            return Err(Problem::invalid(
                format!("{field}.name"),
                "1 to 255 bytes of text",
                got,
            ));
        }
    };
    let word = fields.get("type").and_then(Value::as_str);
    let Some(key_type) = word.and_then(|word| stored(&word.into())) else {
        let got = fields
            .get("type")
            .map_or_else(|| "none".to_owned(), Value::to_string);
        return Err(Problem::invalid(format!("{field}.type"), TYPES, got));
    };
    Ok(KeyDefinition { name, key_type })
}

const TYPES: &str = "string, number or binary";

/// The type as the map keeps it; `None` for one that is not known.
fn stored(key_type: &contract::KeyType) -> Option<KeyType> {
    Some(match key_type {
        contract::KeyType::String => KeyType::String,
        contract::KeyType::Number => KeyType::Number,
        contract::KeyType::Binary => KeyType::Binary,
        contract::KeyType::Other(_) => return None,
    })
}

fn text<'a>(
    fields: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, Problem> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Problem::invalid(name, "text", kind(other))),
    }
}

fn number(
    fields: &Map<String, Value>,
    name: &'static str,
    default: u32,
    max: u32,
) -> Result<u32, Problem> {
    let value = match fields.get(name) {
        None | Some(Value::Null) => return Ok(default),
        Some(value) => value,
    };
    match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(Problem::invalid(
            name,
            format!("a whole number from 1 to {max}"),
            value,
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A table as clients see it. A partition on shared storage asks so much of it in an idle day.
pub(crate) fn show(table: &Table, requests_per_idle_day: u64) -> TableView {
    let definition = &table.definition;
    let idle = (!definition.data_path().has_copies()).then_some(requests_per_idle_day);
    TableView {
        name: table.name.clone(),
        id: table.id.0,
        partition_key: show_key(&definition.partition_key),
        sort_key: definition.sort_key.as_ref().map(show_key),
        strategy: definition.strategy.clone(),
        replicas: definition.replicas,
        min_in_sync: definition.min_in_sync,
        partitions: definition.partitions,
        layout: match definition.layout {
            Layout::Row => "row",
            Layout::Column => "column",
        }
        .to_owned(),
        requests_per_idle_day: idle.map(|one| one * u64::from(definition.partitions)),
        requests_per_idle_day_of_partition: idle,
        more: contract::Document::new(),
    }
}

fn show_key(key: &KeyDefinition) -> contract::KeyDefinition {
    let key_type = match key.key_type {
        KeyType::String => contract::KeyType::String,
        KeyType::Number => contract::KeyType::Number,
        KeyType::Binary => contract::KeyType::Binary,
    };
    contract::KeyDefinition {
        name: key.name.clone(),
        key_type,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_is_left_out_gets_its_default() {
        let parsed = parse(br#"{"partition_key":{"name":"id","type":"string"}}"#).unwrap();
        assert_eq!(
            (parsed.replicas, parsed.min_in_sync, parsed.partitions),
            (3, 2, 32)
        );
        assert_eq!(parsed.strategy, PRIMARY_BACKUP);
        let one =
            br#"{"partition_key":{"name":"id","type":"number"},"replicas":1,"sort_key":null}"#;
        assert_eq!(parse(one).unwrap().min_in_sync, 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("[1]", "invalid_request", "body"),
            ("{", "invalid_request", "body"),
            ("{}", "invalid_request", "partition_key"),
            (
                r#"{"partition_key":"id"}"#,
                "invalid_request",
                "partition_key",
            ),
            (
                r#"{"partition_key":{"type":"string"}}"#,
                "invalid_request",
                "partition_key.name",
            ),
            (
                r#"{"partition_key":{"name":""}}"#,
                "invalid_request",
                "partition_key.name",
            ),
            (
                r#"{"partition_key":{"name":"id"}}"#,
                "invalid_request",
                "partition_key.type",
            ),
            (
                r#"{"partition_key":{"name":"id","type":"uuid"}}"#,
                "invalid_request",
                "partition_key.type",
            ),
            (
                r#"{"partition_key":{"name":"id","type":"string","x":1}}"#,
                "unknown_field",
                "partition_key.x",
            ),
            (
                r#"{"sort_key":{"name":"id","type":"string"},"#,
                "invalid_request",
                "sort_key.name",
            ),
            (r#"{"replicas":0,"#, "invalid_request", "replicas"),
            (r#"{"replicas":8,"#, "invalid_request", "replicas"),
            (r#"{"replicas":"3","#, "invalid_request", "replicas"),
            (r#"{"replicas":1.5,"#, "invalid_request", "replicas"),
            (r#"{"min_in_sync":4,"#, "invalid_request", "min_in_sync"),
            (r#"{"min_in_sync":0,"#, "invalid_request", "min_in_sync"),
            (r#"{"partitions":3,"#, "invalid_request", "partitions"),
            (r#"{"partitions":2048,"#, "invalid_request", "partitions"),
            (r#"{"layout":"heap","#, "invalid_request", "layout"),
            (r#"{"layout":"column","#, "not_supported", "layout"),
            (
                r#"{"strategy":"partition","replicas":3,"#,
                "invalid_request",
                "replicas",
            ),
            (
                r#"{"strategy":"partition","layout":"column","#,
                "unsupported_by_strategy",
                "layout",
            ),
            (
                r#"{"strategy":"active","layout":"column","#,
                "unsupported_by_strategy",
                "layout",
            ),
            (
                r#"{"strategy":"active","min_in_sync":3,"#,
                "invalid_request",
                "min_in_sync",
            ),
            (r#"{"strategy":7,"#, "invalid_request", "strategy"),
            (r#"{"read_quorum":2,"#, "unknown_field", "read_quorum"),
            (r#"{"colour":"red","#, "unknown_field", "colour"),
        ];
        for (text, code, field) in cases {
            let whole = match text.strip_suffix(',') {
                Some(start) => {
                    format!(r#"{start},"partition_key":{{"name":"id","type":"string"}}}}"#)
                }
                None => text.to_owned(),
            };
            let problem = parse(whole.as_bytes()).unwrap_err();
            let found = (problem.kind.entry().code, problem.field.as_deref());
            assert_eq!(found, (code, Some(field)), "{whole}");
            assert!(problem.expected.is_some(), "{whole}");
        }
    }
}
