//! Errors of others as problems: of the node, and of values in a body.
//!
//! Knows nothing of how they came about.

use serde_json::json;
use tablestore_store::FieldError;

use super::{Kind, Problem};
use crate::api::{NotAppliedReason, RequestError};

/// A value in a body; an error about the body as a whole names `body`.
impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let field = if error.path.is_empty() {
            "body".to_owned()
        } else {
            error.path
        };
        Self::invalid(field, error.expected, error.found)
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::UnknownTable { .. } => Self::new(Kind::UnknownTable, detail),
            RequestError::UnknownNode { .. } => Self::new(Kind::UnknownNode, detail),
            RequestError::Invalid {
                field,
                expected,
                got,
            } => Self::invalid(field, expected, got),
            RequestError::TableExists { difference, .. } => {
                Self::new(Kind::TableExists, detail).with("difference", json!(difference))
            }
            RequestError::Conflict { .. } => Self::new(Kind::Conflict, detail),
            RequestError::RequestMismatch => Self::new(Kind::RequestIdReused, detail),
            RequestError::NotApplied { reason, partition } => {
                let (word, text) = reason_words(reason);
                let mut problem = Self::new(Kind::NotApplied, text).with("reason", json!(word));
                problem.partition = partition;
                problem
            }
            RequestError::NoMajority { partition, .. } => {
                let kind = match partition {
                    Some(_) => Kind::NotApplied,
                    None => Kind::NoController,
                };
                let mut problem = Self::new(kind, detail).with("reason", json!("no_majority"));
                problem.partition = partition;
                problem
            }
            RequestError::OutcomeUnknown { partition, .. } => {
                let mut problem = Self::new(Kind::OutcomeUnknown, detail);
                problem.partition = partition;
                problem
            }
            RequestError::StorageFull => Self::new(Kind::StorageFull, detail),
            RequestError::Unsupported { .. } => Self::new(Kind::NotSupported, detail),
            RequestError::UnsupportedByStrategy { what, remedy, .. } => {
                Self::new(Kind::UnsupportedByStrategy, detail).about(what, remedy)
            }
            RequestError::NoController => Self::new(Kind::NoController, detail),
            RequestError::Internal(_) => Self::new(Kind::Internal, detail),
        }
    }
}

/// The member `reason` of a `not_applied`, and the same for people.
fn reason_words(reason: NotAppliedReason) -> (&'static str, &'static str) {
    match reason {
        NotAppliedReason::NotEnoughReplicas => (
            "not_enough_replicas",
            "fewer replicas are in sync than the table's min_in_sync",
        ),
        NotAppliedReason::NoPrimary => (
            "no_primary",
            "no primary of the partition was found before the deadline",
        ),
        NotAppliedReason::Deadline => ("deadline", "the deadline passed before it was begun"),
        NotAppliedReason::Busy => ("busy", "too many requests wait already"),
        NotAppliedReason::ReplicaStopped => (
            "replica_stopped",
            "the replica on this node has stopped after a fault",
        ),
        NotAppliedReason::NoStorage => (
            "no_storage",
            "the owner of the partition cannot use its shared storage: give every node the same \
             shared-dir or shared-url, there and writable, and credentials that its service \
             takes; it is tried again every few seconds, and the log of the owner says what is \
             wrong",
        ),
        NotAppliedReason::ClockOff => (
            "clock_off",
            "the wall clock of this node differs by more than 500 ms from those of most nodes, so \
             it stamps no writes of active tables: ask another node, and have this one's clock set",
        ),
    }
}

#[cfg(test)]
mod tests {
    use tablestore_placement::PartitionId;

    use super::*;
    use crate::http::problem::Changed;

    #[test]
    fn every_request_error_says_honestly_whether_state_may_have_changed() {
        let partition = Some(PartitionId::from_u64(3 << 32 | 17));
        let name = || "t".to_owned();
        let cases = [
            (
                RequestError::UnknownTable { name: name() },
                404,
                "unknown_table",
            ),
            (
                RequestError::UnknownNode { name: name() },
                404,
                "unknown_node",
            ),
            (
                RequestError::TableExists {
                    name: name(),
                    difference: name(),
                },
                409,
                "table_exists",
            ),
            (RequestError::Conflict { reason: name() }, 409, "conflict"),
            (RequestError::RequestMismatch, 422, "request_id_reused"),
            (RequestError::unknown(partition), 503, "outcome_unknown"),
            (RequestError::StorageFull, 507, "storage_full"),
            (
                RequestError::Unsupported { what: name() },
                501,
                "not_supported",
            ),
            (
                RequestError::UnsupportedByStrategy {
                    strategy: "active",
                    what: "a scan",
                    remedy: "single rows",
                },
                501,
                "unsupported_by_strategy",
            ),
            (RequestError::NoController, 503, "no_controller"),
            (
                RequestError::NoMajority {
                    partition,
                    cause: name(),
                },
                503,
                "not_applied",
            ),
            (
                RequestError::NoMajority {
                    partition: None,
                    cause: name(),
                },
                503,
                "no_controller",
            ),
            (RequestError::Internal(name()), 500, "internal"),
            (
                RequestError::NotApplied {
                    reason: NotAppliedReason::Busy,
                    partition,
                },
                503,
                "not_applied",
            ),
        ];
        for (error, status, code) in cases {
            let problem = Problem::from(error);
            assert_eq!(problem.status().as_u16(), status);
            assert_eq!(problem.document()["code"], code);
            let read = serde_json::to_value(problem.document()).and_then(serde_json::from_value);
            let read: tablestore_contract::Problem = read.expect("it is a problem");
            let known = serde_json::to_value(read.details()).expect("it has only string keys");
            assert_eq!(known, serde_json::Value::Object(read.more), "{code}");
            let maybe = problem.kind.entry().changed == Changed::Maybe;
            assert_eq!(maybe, matches!(code, "outcome_unknown" | "internal"));
        }
    }
}
