//! Rows: what writes are answered with, batches and pages.
//!
//! Knows nothing of rows themselves, whose numbers are exact and pass through no serde type: both
//! sides read and write them by the crate `item`, with the names of members that stand here.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::Problem;

/// The answer to a write of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Written {
    /// The version of the row now; 0 where there is none.
    pub version: u64,
    /// Of a delete: whether there was a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
}

/// Writes that travel together; each succeeds or fails by itself.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Batch))]
pub struct Batch<R> {
    /// Whole rows, keys included.
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Vec<Object>, required = false, max_items = 100)
    )]
    pub put: Vec<R>,
    /// Keys.
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Vec<Object>, required = false, max_items = 100)
    )]
    pub delete: Vec<R>,
}

/// The members of a batch, in the order of their results.
pub const BATCH_LISTS: [&str; 2] = ["put", "delete"];

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self {
            put: Vec::new(),
            delete: Vec::new(),
        }
    }
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchResults {
    /// One a row, puts first.
    pub results: Vec<BatchResult>,
}

/// What became of one row of a batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum BatchResult {
    /// It was written.
    Written(BatchWritten),
    /// It was not, or nobody knows.
    Refused(Box<Problem>),
}

/// A row of a batch that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchWritten {
    /// 200, by which it differs from a problem.
    #[cfg_attr(feature = "openapi", schema(minimum = 200, maximum = 299))]
    pub status: u16,
    /// The version of the row now; 0 where there is none.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub version: u64,
    /// `false`: it was to be deleted, and there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
}

impl<'de> Deserialize<'de> for BatchResult {
    /// Both forms have a status, and it alone tells them apart.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match value.get("status").and_then(Value::as_u64) {
            None => return Err(D::Error::missing_field("status")),
            Some(200..300) => BatchWritten::deserialize(value).map(Self::Written),
            Some(_) => Problem::deserialize(value).map(|p| Self::Refused(Box::new(p))),
        }
        .map_err(D::Error::custom)
    }
}

/// One page of a scan.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Page))]
pub struct Page<R> {
    /// Keys and attributes in one object each.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub rows: Vec<R>,
    /// Where to go on; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next_cursor: Option<String>,
}

/// The member of a page that holds its rows.
pub const PAGE_ROWS: &str = "rows";
/// The member of a page that says where to go on.
pub const PAGE_NEXT_CURSOR: &str = "next_cursor";

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Sees every write acknowledged before the read began.
    #[default]
    Strong,
    /// Whatever the nearest replica has.
    Eventual,
}

impl Consistency {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Eventual => "eventual",
        }
    }

    /// That of a word; `None` for one that is not known.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Strong, Self::Eventual]
            .into_iter()
            .find(|consistency| consistency.word() == word)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_result_of_a_batch_is_what_its_status_says() {
        let text = r#"{"results":[{"status":200,"version":4},
            {"status":200,"version":0,"deleted":false},
            {"status":503,"code":"not_applied","version":9}]}"#;
        let read: BatchResults = serde_json::from_str(text).unwrap();
        let [
            BatchResult::Written(put),
            BatchResult::Written(delete),
            BatchResult::Refused(refused),
        ] = &read.results[..]
        else {
            panic!("{read:?}");
        };
        assert_eq!((put.version, put.deleted), (4, None));
        assert_eq!((delete.version, delete.deleted), (0, Some(false)));
        assert_eq!((refused.status, &*refused.code), (503, "not_applied"));
        for wrong in [r#"{"version":4}"#, "7", r#"{"status":"200"}"#] {
            assert!(
                serde_json::from_str::<BatchResult>(wrong).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_consistency_is_written_as_its_word() {
        for consistency in [Consistency::Strong, Consistency::Eventual] {
            let word = serde_json::to_value(consistency).unwrap();
            assert_eq!(word, consistency.word());
            assert_eq!(Consistency::of_word(consistency.word()), Some(consistency));
        }
    }
}
