//! Problems (RFC 9457): the document that an error is, and the table of its kinds.
//!
//! Knows nothing of when an error is answered.

mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Document;

pub use table::{Changed, Entry, Kind, RETRY_AFTER_SECONDS, TABLE, markdown};

/// What stands before the code in the `type` of a problem.
pub const TYPE_PREFIX: &str = "urn:tablestore:problem:";

/// An error as a node writes it (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The kind, as a URI.
    #[serde(default, rename = "type")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub type_uri: String,
    /// What went wrong, in a few words.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, minimum = 400, maximum = 599))]
    pub status: u16,
    /// A stable word for programs, such as `unknown_table`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub code: String,
    /// What went wrong here.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub detail: String,
    /// The path of what is wrong: a field, a parameter, a header, `body` or `item`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What would have been right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The partition concerned, `table/partition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Seconds after which to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// What only some kinds say (see [`Details`]), and what this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// What only some kinds of problem say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Details {
    /// Of `too_large`: what is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Of `too_large`: what came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<u64>,
    /// Of `precondition_failed`: the version of the row; 0 where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Of `not_applied` and `not_ready`: what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of `table_exists`: the fields of the definition that differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

impl Problem {
    /// A problem of this kind, without details.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        let entry = kind.entry();
        Self {
            type_uri: format!("{TYPE_PREFIX}{}", entry.code),
            title: entry.title.to_owned(),
            status: entry.status,
            code: entry.code.to_owned(),
            retry_after: entry.retry_after,
            ..Self::default()
        }
    }

    /// What only some kinds say; nothing where it is not what this version expects.
    #[must_use]
    pub fn details(&self) -> Details {
        let details = serde_json::from_value(self.more.clone().into());
        details.unwrap_or_default()
    }

    /// Its kind; `None` for one that this version does not know.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_code(&self.code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = [&self.detail, &self.title]
            .into_iter()
            .find(|text| !text.is_empty());
        match what {
            Some(what) => write!(f, "{what}")?,
            None => write!(f, "refused without a reason")?,
        }
        write!(f, " ({}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        match &self.field {
            Some(field) if !field.is_empty() => write!(f, ", field {field})"),
            _ => write!(f, ")"),
        }
    }
}
