//! A writer's or reader's way to the cluster: one node until it does not serve, then the next.
//!
//! Knows nothing of what is asked; whoever asks for a write has put its request id into the bytes.

use std::time::Duration;

use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::http::{Answer, Connection, Outcome};

/// Attempts with the first time-out; then it doubles, so that a slow machine is not asked ever
/// more often.
const HASTY_ATTEMPTS: u32 = 8;
/// The time-out doubles no more often than this; the bound below is reached much earlier.
const DOUBLINGS_MAX: u32 = 10;
/// The time-out of an attempt grows up to this.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_millis(100);
/// The pause after each node was tried once in vain.
const ROUND_PAUSE: Duration = Duration::from_millis(1);

/// What became of a request that was repeated until it was answered.
#[derive(Debug)]
pub(crate) enum Asked {
    Answered {
        answer: Answer,
        /// An attempt before this one was left without an answer: it may be carried out yet.
        abandoned: bool,
    },
    /// Nobody wanted the answer any more.
    GivenUp {
        /// Each attempt was answered `not_applied` or not sent.
        not_applied: bool,
    },
}

/// A connection to one node, then the next.
#[derive(Debug)]
pub(crate) struct Lane {
    connections: Vec<Connection>,
    home: usize,
    at: usize,
    attempt_timeout: Duration,
}

impl Lane {
    /// The lane with this number; lanes begin at different nodes.
    pub(crate) fn new(endpoint: &Endpoint, number: usize, attempt_timeout: Duration) -> Self {
        let connections = endpoint.addresses().iter().map(Connection::new);
        let connections: Vec<_> = connections.collect();
        let home = number % connections.len();
        Self {
            connections,
            home,
            at: home,
            attempt_timeout,
        }
    }

    /// Back to the node it began with.
    pub(crate) fn go_home(&mut self) {
        self.move_to(self.home);
    }

    /// Asks node after node until one answers with anything but "not now". It gives up when
    /// `stopped`, after some more attempts.
    pub(crate) async fn ask(&mut self, request: &[u8], stopped: impl Fn() -> bool) -> Asked {
        let nodes = u32::try_from(self.connections.len()).unwrap_or(1);
        let mut attempts = 0_u32;
        let (mut not_applied, mut abandoned) = (true, false);
        loop {
            let timeout = self.timeout(attempts);
            let ask = self.connections[self.at].ask(request);
            match tokio::time::timeout(timeout, ask).await {
                Ok(Outcome::Answered(answer)) if answer.status != 503 => {
                    return Asked::Answered { answer, abandoned };
                }
                Ok(Outcome::Answered(answer)) => not_applied &= says_not_applied(&answer),
                Ok(Outcome::NotSent(_)) => {}
                Ok(Outcome::Failed(_)) | Err(_) => (not_applied, abandoned) = (false, true),
            }
            // Not now, broken off, or no answer in time: the next node, with the same id.
            self.move_to((self.at + 1) % self.connections.len());
            attempts += 1;
            if stopped() && attempts > nodes * HASTY_ATTEMPTS {
                return Asked::GivenUp { not_applied };
            }
            if attempts.is_multiple_of(nodes) {
                tokio::time::sleep(ROUND_PAUSE).await;
            }
        }
    }

    fn timeout(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(HASTY_ATTEMPTS).min(DOUBLINGS_MAX);
        let timeout = self.attempt_timeout.saturating_mul(1 << doublings);
        timeout.min(ATTEMPT_TIMEOUT_MAX).max(self.attempt_timeout)
    }

    /// A node that is left has no connection any more: it may come back another.
    fn move_to(&mut self, node: usize) {
        self.connections[self.at].close();
        self.at = node;
    }
}

/// Whether an answer promises that the write did not happen.
fn says_not_applied(answer: &Answer) -> bool {
    let problem: Option<Value> = serde_json::from_slice(&answer.body).ok();
    problem.is_some_and(|problem| problem["code"] == "not_applied")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn a_time_out_doubles_after_some_attempts_and_not_for_ever() {
        let endpoint = Endpoint::new(&["n1:7"], "t").unwrap();
        let of = |first, attempts| {
            let lane = Lane::new(&endpoint, 0, Duration::from_millis(first));
            lane.timeout(attempts).as_millis()
        };
        assert_eq!((of(20, 0), of(20, 8), of(20, 9)), (20, 20, 40));
        assert_eq!((of(20, 11), of(20, u32::MAX)), (100, 100));
        assert_eq!(of(5000, 50), 5000);
    }

    #[test]
    fn only_the_word_itself_promises_that_nothing_happened() {
        let answer = |body: &str| Answer {
            status: 503,
            body: body.into(),
            ..Answer::default()
        };
        assert!(says_not_applied(&answer("{\"code\":\"not_applied\"}")));
        for other in ["", "{}", "not_applied", "{\"code\":\"outcome_unknown\"}"] {
            assert!(!says_not_applied(&answer(other)), "{other}");
        }
    }
}
