//! How a command ended: the exit status and, on failure, what a person can do about it.

use std::process::ExitCode;

use tablestore_client::{CallError, KeyError};
use tablestore_contract::problem::Kind;

/// The exit statuses, as the help lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Done = 0,
    /// Refused by the server, or failed here.
    Failed = 1,
    /// Wrong command line or settings.
    Usage = 2,
    /// Nothing was changed; try again later.
    Unavailable = 3,
    /// A write may or may not have been carried out.
    Unknown = 4,
    /// Carried out, but a person should look at the result.
    Look = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What went wrong.
    pub(crate) message: String,
    /// What was tried and what to do.
    pub(crate) advice: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: Vec::new(),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The error with all that lies behind it.
    pub(crate) fn caused_by(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(deeper) = source {
            message.push_str(&format!(": {deeper}"));
            source = deeper.source();
        }
        Self::failed(message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// Names the nodes that were tried, where that helps.
    pub(crate) fn tried(self, addresses: &[String]) -> Self {
        if self.exit != Exit::Unavailable {
            return self;
        }
        let nodes = addresses.join(", ");
        let refused = self.message.contains("refused");
        let failure = self.advise(format!("nodes that were tried: {nodes}"));
        if refused {
            failure.advise(
                "is a node running there? `tablestore start` starts one; --server or \
                 TABLESTORE_SERVER names others",
            )
        } else {
            failure.advise("nothing was changed; `tablestore status` shows what is missing")
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::NotApplied { .. } => Self::new(Exit::Unavailable, message),
            CallError::OutcomeUnknown { .. } => Self::new(Exit::Unknown, message)
                .advise("the write may have been carried out: read the row, or write it again"),
            CallError::Malformed { .. } => Self::failed(message)
                .advise("does --server point at a node of Table Store, of this version?"),
            CallError::Key(_) | CallError::BatchTooLarge { .. } => Self::usage(message),
            CallError::Refused(problem) => {
                let failure = Self::failed(message);
                match problem.kind() {
                    Some(Kind::UnknownTable) => {
                        failure.advise("`tablestore table list` shows all tables")
                    }
                    _ => failure,
                }
            }
            _ => Self::failed(message),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cluster_that_is_not_there_is_told_apart_from_one_that_cannot_serve() {
        let refused = CallError::NotApplied {
            attempts: 3,
            elapsed: Duration::from_millis(20),
            last: "http://127.0.0.1:7001: Connection refused (os error 111)".to_owned(),
        };
        let failure = Failure::from(refused).tried(&["http://127.0.0.1:7001".to_owned()]);
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.advice[0].contains("127.0.0.1:7001"));
        assert!(failure.advice[1].contains("tablestore start"));

        let short = CallError::NotApplied {
            attempts: 3,
            elapsed: Duration::from_secs(10),
            last: "http://127.0.0.1:7001: not enough replicas".to_owned(),
        };
        let failure = Failure::from(short).tried(&["http://127.0.0.1:7001".to_owned()]);
        assert!(failure.advice[1].contains("tablestore status"));
    }
}
