//! What can go wrong, and whether state may have changed.

use std::time::Duration;

use tablestore_contract::Problem;

use crate::{AddressError, KeyError, RequestId};

/// Reads the body of a refusal; what is no problem document becomes one with the text as detail.
pub(crate) fn read_problem(status: u16, body: &[u8]) -> Problem {
    let mut problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        detail: String::from_utf8_lossy(body)
            .trim()
            .chars()
            .take(500)
            .collect(),
        ..Problem::default()
    });
    problem.status = status;
    problem
}

/// A call that failed. Each variant says whether state may have changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server understood and refused (4xx, 501, 507). Nothing changed; repeating the same call
    /// will not help.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// Certainly not carried out: no node could be reached, or the cluster could not serve it in
    /// time. Nothing changed; try later.
    #[error("not applied after {attempts} attempts in {elapsed:.1?}: {last}")]
    NotApplied {
        /// Requests sent or connections tried.
        attempts: u32,
        /// Time spent.
        elapsed: Duration,
        /// The last thing that went wrong, and where.
        last: String,
    },
    /// It may or may not have been carried out. Repeat it with the same request id: it takes
    /// effect at most once.
    #[error("the outcome is unknown after {attempts} attempts in {elapsed:.1?}: {last}")]
    OutcomeUnknown {
        /// Repeat with this id.
        request: Option<RequestId>,
        /// Requests sent or connections tried.
        attempts: u32,
        /// Time spent.
        elapsed: Duration,
        /// The last thing that went wrong, and where.
        last: String,
    },
    /// The answer of a node could not be read. A write was carried out.
    #[error("the answer of {node} to {what} could not be read: {why}")]
    Malformed {
        /// Who answered.
        node: String,
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The key cannot be addressed. Nothing was sent.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A batch is larger than the server takes. Nothing was sent; split it.
    #[error("a batch holds at most {max} rows, got {got}")]
    BatchTooLarge {
        /// Rows at most.
        max: usize,
        /// Rows given.
        got: usize,
    },
}

impl CallError {
    /// The problem document, if the server refused with one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether state may have changed.
    #[must_use]
    pub fn may_have_applied(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. } | Self::Malformed { .. })
    }
}

/// Why a client could not be made. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An address is missing or malformed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A setting is out of range.
    #[error("{field}: expected {expected}")]
    Setting {
        /// Which one.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// The HTTP library could not be set up.
    #[error("the HTTP library could not be set up")]
    Http(#[source] reqwest::Error),
}
