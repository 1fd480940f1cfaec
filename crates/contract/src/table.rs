//! Tables: what one is created with, how it is altered, and how it is shown.
//!
//! Knows nothing of which values a node takes: it says so itself, and names the field.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Document;

/// The type of a key attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum KeyType {
    /// Text.
    #[default]
    String,
    /// An exact decimal number.
    Number,
    /// Bytes.
    Binary,
    /// One that this version does not know. A node refuses it.
    Other(String),
}

impl KeyType {
    /// The words of the known types.
    pub const WORDS: [&'static str; 3] = ["string", "number", "binary"];

    /// Its word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Binary => "binary",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for KeyType {
    fn from(word: &str) -> Self {
        match word {
            "string" => Self::String,
            "number" => Self::Number,
            "binary" => Self::Binary,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl From<String> for KeyType {
    fn from(word: String) -> Self {
        Self::from(word.as_str())
    }
}

impl From<KeyType> for String {
    fn from(key_type: KeyType) -> Self {
        key_type.word().to_owned()
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for KeyType {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .enum_values(Some(Self::WORDS))
            .description(Some("The type of a key attribute."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for KeyType {}

/// One part of a primary key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyDefinition {
    /// The attribute, 1 to 255 bytes.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255))]
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

impl KeyDefinition {
    /// The members of its object.
    pub const FIELDS: [&'static str; 2] = ["name", "type"];

    /// A key part.
    pub fn new(name: impl Into<String>, key_type: impl Into<KeyType>) -> Self {
        Self {
            name: name.into(),
            key_type: key_type.into(),
        }
    }
}

/// What a table is to be. What is absent is left to the server's default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TableDefinition {
    /// Decides the partition of a row.
    pub partition_key: KeyDefinition,
    /// Orders the rows of one partition key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_key: Option<KeyDefinition>,
    /// `primary-backup`, `active`, `partition` or the name of a custom strategy;
    /// `primary-backup` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1))]
    pub strategy: Option<String>,
    /// Copies of every row, 1 to 7; 3 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 7))]
    pub replicas: Option<u32>,
    /// Copies on disk before a write is acknowledged, at least; 2 if absent (1 with one replica).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 7))]
    pub min_in_sync: Option<u32>,
    /// A power of two from 1 to 1024; 32 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1024))]
    pub partitions: Option<u32>,
    /// `row` or `column`; `row` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^(row|column)$"))]
    pub layout: Option<String>,
    /// Settings beyond these, passed on as they are.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

impl TableDefinition {
    /// The members of its object, in the order of the documents.
    pub const FIELDS: [&'static str; 7] = [
        "partition_key",
        "sort_key",
        "strategy",
        "replicas",
        "min_in_sync",
        "partitions",
        "layout",
    ];

    /// A table with this partition key and every default.
    pub fn new(partition_key: impl Into<String>, key_type: impl Into<KeyType>) -> Self {
        Self {
            partition_key: KeyDefinition::new(partition_key, key_type),
            sort_key: None,
            strategy: None,
            replicas: None,
            min_in_sync: None,
            partitions: None,
            layout: None,
            more: Document::new(),
        }
    }

    /// The same with a sort key.
    #[must_use]
    pub fn sort_key(mut self, name: impl Into<String>, key_type: impl Into<KeyType>) -> Self {
        self.sort_key = Some(KeyDefinition::new(name, key_type));
        self
    }

    /// The same with this failover strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Into<String>) -> Self {
        self.strategy = Some(strategy.into());
        self
    }

    /// The same with this many copies.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// The same with this many copies on disk before a write is acknowledged.
    #[must_use]
    pub fn min_in_sync(mut self, min_in_sync: u32) -> Self {
        self.min_in_sync = Some(min_in_sync);
        self
    }

    /// The same with this many partitions.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

/// What of a table is to become different: `PATCH /v1/tables/{table}`. What is absent stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(min_properties = 1)
)]
pub struct TableAlteration {
    /// Copies of every row, 1 to 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = u32, required = false, minimum = 1, maximum = 7)
    )]
    pub replicas: Option<u32>,
    /// Copies on disk before a write is acknowledged, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = u32, required = false, minimum = 1, maximum = 7)
    )]
    pub min_in_sync: Option<u32>,
}

impl TableAlteration {
    /// The members of its object.
    pub const FIELDS: [&'static str; 2] = ["replicas", "min_in_sync"];

    /// Nothing becomes different.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this many copies.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// The same with this many copies on disk before a write is acknowledged.
    #[must_use]
    pub fn min_in_sync(mut self, min_in_sync: u32) -> Self {
        self.min_in_sync = Some(min_in_sync);
        self
    }
}

/// The answer to an alteration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Altered {
    /// False if the table was like this already.
    pub changed: bool,
    /// Partitions that refuse writes until more of their replicas are in sync.
    pub below_min_in_sync: u32,
    /// The table as it is from now on; its replicas come and go in the background.
    pub table: TableView,
}

/// A table as a node shows it, every default filled in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct TableView {
    /// Its name.
    pub name: String,
    /// Its id, which no later table of the same name has.
    pub id: u32,
    /// Decides the partition of a row.
    pub partition_key: KeyDefinition,
    /// Orders the rows of one partition key.
    pub sort_key: Option<KeyDefinition>,
    /// The failover strategy.
    pub strategy: String,
    /// Copies of every row.
    pub replicas: u32,
    /// Copies on disk before a write is acknowledged, at least.
    pub min_in_sync: u32,
    /// A power of two.
    pub partitions: u32,
    /// `row` or `column`.
    pub layout: String,
    /// Only of a table on shared storage: requests that all its partitions make in a day in which
    /// nobody uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_idle_day: Option<u64>,
    /// The same of one partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_idle_day_of_partition: Option<u64>,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// All tables: `GET /v1/tables`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Tables {
    /// By name.
    pub tables: Vec<TableView>,
}

/// The answer to the drop of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Dropped {
    /// Its name.
    pub dropped: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn names(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(|k| &**k).collect()
    }

    #[test]
    fn the_fields_that_a_definition_lists_are_those_it_has() {
        let mut whole = TableDefinition::new("id", KeyType::String)
            .sort_key("at", "number")
            .replicas(3)
            .min_in_sync(2)
            .partitions(8);
        whole.strategy = Some("primary-backup".to_owned());
        whole.layout = Some("row".to_owned());
        let shown = serde_json::to_value(&whole).unwrap();
        assert_eq!(names(&shown), TableDefinition::FIELDS.into());
        assert_eq!(names(&shown["partition_key"]), KeyDefinition::FIELDS.into());
        assert_eq!(
            serde_json::from_value::<TableDefinition>(shown).unwrap(),
            whole
        );
    }

    #[test]
    fn the_fields_that_an_alteration_lists_are_those_it_has() {
        let whole = TableAlteration::new().replicas(5).min_in_sync(3);
        let shown = serde_json::to_value(whole).unwrap();
        assert_eq!(names(&shown), TableAlteration::FIELDS.into());
        let none = serde_json::to_value(TableAlteration::new()).unwrap();
        assert_eq!(none, json!({}));
    }

    #[test]
    fn a_table_of_a_newer_node_loses_nothing_on_its_way_through() {
        let newer = json!({
            "name": "t", "id": 4, "partition_key": { "name": "id", "type": "uuid" },
            "sort_key": null, "strategy": "primary-backup", "replicas": 3, "min_in_sync": 2,
            "partitions": 8, "layout": "row", "colour": "red",
        });
        let view: TableView = serde_json::from_value(newer.clone()).unwrap();
        assert_eq!(
            view.partition_key.key_type,
            KeyType::Other("uuid".to_owned())
        );
        assert_eq!(serde_json::to_value(&view).unwrap(), newer);
    }

    #[test]
    fn every_known_word_is_a_type_of_its_own() {
        for word in KeyType::WORDS {
            let key_type = KeyType::from(word);
            assert!(!matches!(key_type, KeyType::Other(_)));
            assert_eq!(key_type.word(), word);
        }
    }
}
