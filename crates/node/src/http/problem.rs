//! Errors as RFC 9457 problem documents.
//!
//! Knows nothing of routes.

mod convert;

use std::ops::{Deref, DerefMut};

use axum::response::{IntoResponse, Response};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tablestore_contract::{self as contract, Document};
use tablestore_placement::PartitionId;

pub use tablestore_contract::headers::PROBLEM_JSON;
pub use tablestore_contract::problem::{
    Changed, Entry, Kind, RETRY_AFTER_SECONDS, TABLE, markdown,
};

/// One problem, ready to be answered. Boxed, since it is the rare case of every result here.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Contents>);

/// What a problem says.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// Which kind.
    pub kind: Kind,
    /// What went wrong here.
    pub detail: String,
    /// The path of the field that is wrong.
    pub field: Option<String>,
    /// What would have been right.
    pub expected: Option<String>,
    /// The partition concerned.
    pub partition: Option<PartitionId>,
    /// Further members of the document.
    pub more: Vec<(&'static str, Value)>,
    /// Headers that go with it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Deref for Problem {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Contents {
        &mut self.0
    }
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Contents {
            kind,
            detail: detail.into(),
            field: None,
            expected: None,
            partition: None,
            more: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// A field that is not what it must be.
    pub fn invalid(
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl std::fmt::Display,
    ) -> Self {
        let (field, expected) = (field.into(), expected.into());
        let detail = format!("{field}: expected {expected}, got {got}");
        let mut problem = Self::new(Kind::InvalidRequest, detail);
        problem.field = Some(field);
        problem.expected = Some(expected);
        problem
    }

    /// A name that is none of the known ones.
    pub fn unknown(kind: Kind, field: impl Into<String>, known: &[&str]) -> Self {
        let field = field.into();
        let expected = match known {
            [] => "none".to_owned(),
            known => format!("one of {}", known.join(", ")),
        };
        let detail = format!("{field} is not known; expected {expected}");
        let mut problem = Self::new(kind, detail);
        problem.field = Some(field);
        problem.expected = Some(expected);
        problem
    }

    /// Something larger than allowed; `unit` is `bytes` or `items`.
    pub fn too_large(field: impl Into<String>, limit: usize, got: usize, unit: &str) -> Self {
        let field = field.into();
        let detail = format!("{field}: {got} {unit}, at most {limit} are allowed");
        let mut problem = Self::new(Kind::TooLarge, detail)
            .with("limit", json!(limit))
            .with("got", json!(got));
        problem.field = Some(field);
        problem.expected = Some(format!("at most {limit} {unit}"));
        problem
    }

    /// The same about a field.
    #[must_use]
    pub fn about(mut self, field: impl Into<String>, expected: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self.expected = Some(expected.into());
        self
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.more.push((name, value));
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.entry().status).expect("the table holds HTTP statuses")
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> Document {
        let more = self.more.iter();
        let document = Document::from_iter(more.map(|(name, v)| ((*name).to_owned(), v.clone())));
        let problem = contract::Problem {
            detail: self.detail.clone(),
            field: self.field.clone(),
            expected: self.expected.clone(),
            partition: self.partition.map(|partition| partition.to_string()),
            more: document,
            ..contract::Problem::of(self.kind)
        };
        match serde_json::to_value(problem) {
            Ok(Value::Object(document)) => document,
            other => unreachable!("a problem is an object, not {other:?}"),
        }
    }

    /// The document as bytes.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&self.document()).expect("a document has only string keys")
    }

    /// The headers of the answer.
    pub fn fill_headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.kind.entry().retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body().into());
        *response.status_mut() = self.status();
        self.fill_headers(response.headers_mut());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{NotAppliedReason, RequestError};

    #[test]
    fn a_document_has_the_members_of_rfc_9457_and_ours() {
        let error = RequestError::NotApplied {
            reason: NotAppliedReason::NotEnoughReplicas,
            partition: Some(PartitionId::from_u64(3 << 32 | 17)),
        };
        assert_eq!(
            Value::Object(Problem::from(error).document()),
            json!({
                "type": "urn:tablestore:problem:not_applied",
                "title": "the cluster cannot serve this now",
                "status": 503,
                "code": "not_applied",
                "detail": "fewer replicas are in sync than the table's min_in_sync",
                "partition": "3/17",
                "retry_after": 1,
                "reason": "not_enough_replicas",
            })
        );
    }
}
