//! A successful answer and the ways to read it.
//!
//! Knows nothing of how it came to be.

use bytes::Bytes;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use tablestore_item::json;

use crate::{CallError, Row};

/// A successful answer.
#[derive(Debug)]
pub(crate) struct ServerAnswer {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) node: String,
}

impl ServerAnswer {
    pub(crate) fn json<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| self.malformed(what, error))
    }

    /// The body as a row, every digit of it.
    pub(crate) fn row(&self, what: &'static str) -> Result<Row, CallError> {
        json::parse_object(&self.body).map_err(|error| self.malformed(what, error))
    }

    /// The version that the `ETag` names.
    pub(crate) fn version(&self) -> Option<u64> {
        self.etag.as_deref()?.trim_matches('"').parse().ok()
    }

    pub(crate) fn malformed(&self, what: &'static str, why: impl ToString) -> CallError {
        CallError::Malformed {
            node: self.node.clone(),
            what,
            why: why.to_string(),
        }
    }
}
