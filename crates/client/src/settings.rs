//! What a caller can set, with every default as a named constant.

use std::time::Duration;

use crate::BuildError;

/// How long a call may take in all, repeats included. Longer than any failover.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How long one node may take to answer before the next is asked. A node that stopped without
/// closing its connections (paused, cut off) is noticed only by this.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The first wait between two attempts, when every known node has been tried once.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(5);
/// Waits double up to this.
pub const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Repeats that may be spent at once before they are paced.
pub const RETRIES_BURST: u32 = 100;
/// Repeats that come back every second.
pub const RETRIES_PER_SECOND: u32 = 20;

/// Settings of a [`Client`](crate::Client).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSettings {
    /// See [`DEADLINE`]: 10 s.
    pub deadline: Duration,
    /// See [`ATTEMPT_TIMEOUT`]: 2 s.
    pub attempt_timeout: Duration,
    /// See [`CONNECT_TIMEOUT`]: 500 ms.
    pub connect_timeout: Duration,
    /// See [`BACKOFF_FIRST`]: 5 ms.
    pub backoff_first: Duration,
    /// See [`BACKOFF_MAX`]: 500 ms.
    pub backoff_max: Duration,
    /// See [`RETRIES_BURST`]: 100.
    pub retries_burst: u32,
    /// See [`RETRIES_PER_SECOND`]: 20.
    pub retries_per_second: u32,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            deadline: DEADLINE,
            attempt_timeout: ATTEMPT_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            backoff_first: BACKOFF_FIRST,
            backoff_max: BACKOFF_MAX,
            retries_burst: RETRIES_BURST,
            retries_per_second: RETRIES_PER_SECOND,
        }
    }
}

impl ClientSettings {
    /// The same with another deadline of a call.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same with another time for one node to answer.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        for (field, value) in [
            ("deadline", self.deadline),
            ("attempt_timeout", self.attempt_timeout),
            ("connect_timeout", self.connect_timeout),
        ] {
            if value.is_zero() {
                return Err(BuildError::Setting {
                    field,
                    expected: "more than zero",
                });
            }
        }
        Ok(())
    }
}
