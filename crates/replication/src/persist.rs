//! What was handed to the journal and is not durable yet. Knows nothing of what waits for it.

use std::collections::VecDeque;

/// Consecutive `Persist` outputs whose entries follow each other.
#[derive(Debug)]
struct Run {
    first_token: u64,
    last_token: u64,
    /// The index of the entry under `first_token`; `None` if the records are no entries.
    first_index: Option<u64>,
}

/// Tokens and log indexes on their way to the disk.
#[derive(Debug)]
pub(crate) struct Pending {
    runs: VecDeque<Run>,
    last_token: u64,
    durable_token: u64,
    /// The log is durable up to here.
    durable: u64,
}

impl Pending {
    pub(crate) fn new(durable: u64) -> Self {
        Self {
            runs: VecDeque::new(),
            last_token: 0,
            durable_token: 0,
            durable,
        }
    }

    /// The log is durable up to here.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// The token of the last record handed out.
    pub(crate) fn last_token(&self) -> u64 {
        self.last_token
    }

    /// Whether everything up to this token is durable.
    pub(crate) fn is_durable(&self, token: u64) -> bool {
        token <= self.durable_token
    }

    /// A token for an entry.
    pub(crate) fn entry(&mut self, index: u64) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        if let Some(run) = self.runs.back_mut()
            && let Some(first_index) = run.first_index
            && run.last_token + 1 == token
            && first_index + (token - run.first_token) == index
        {
            run.last_token = token;
        } else {
            self.runs.push_back(Run {
                first_token: token,
                last_token: token,
                first_index: Some(index),
            });
        }
        token
    }

    /// A token for a record that is no entry.
    pub(crate) fn record(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// The log was cut behind `end`: what is on its way above it will not make it durable.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.durable = self.durable.min(end);
        while let Some(run) = self.runs.back_mut() {
            let Some(first) = run.first_index else { break };
            let kept = (end + 1).saturating_sub(first);
            let length = run.last_token - run.first_token + 1;
            if kept >= length {
                break;
            }
            if kept == 0 {
                self.runs.pop_back();
            } else {
                run.last_token = run.first_token + kept - 1;
                break;
            }
        }
    }

    /// The log was replaced by a snapshot up to `end`, which is durable.
    pub(crate) fn restart(&mut self, end: u64) {
        self.runs.clear();
        self.durable = end;
    }

    /// Only a deliberate bug does not wait for the journal.
    pub(crate) fn count_as_durable(&mut self, index: u64) {
        self.durable = self.durable.max(index);
    }

    /// The journal reports.
    pub(crate) fn persisted(&mut self, token: u64) {
        self.durable_token = self.durable_token.max(token);
        while let Some(run) = self.runs.front_mut() {
            if token < run.first_token {
                return;
            }
            let reached = token.min(run.last_token);
            if let Some(first) = run.first_index {
                self.durable = self.durable.max(first + (reached - run.first_token));
            }
            if reached == run.last_token {
                self.runs.pop_front();
            } else {
                let done = reached + 1 - run.first_token;
                run.first_token += done;
                run.first_index = run.first_index.map(|index| index + done);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_make_the_log_durable_in_order() {
        let mut pending = Pending::new(0);
        assert_eq!(pending.record(), 1);
        (1..=5).for_each(|index| assert_eq!(pending.entry(index), index + 1));
        pending.persisted(1);
        assert_eq!(pending.durable(), 0);
        pending.persisted(4);
        assert_eq!(pending.durable(), 3);
        pending.persisted(6);
        assert_eq!((pending.durable(), pending.runs.len()), (5, 0));
        assert!(pending.is_durable(6) && !pending.is_durable(7));
    }

    #[test]
    fn a_replaced_entry_is_not_durable_by_the_token_of_its_predecessor() {
        let mut pending = Pending::new(0);
        (1..=5).for_each(|index| {
            pending.entry(index);
        });
        pending.truncate(3);
        pending.record();
        (4..=5).for_each(|index| {
            pending.entry(index);
        });
        pending.persisted(5);
        assert_eq!(pending.durable(), 3);
        pending.persisted(6);
        assert_eq!(pending.durable(), 3);
        pending.persisted(7);
        assert_eq!(pending.durable(), 4);
        pending.truncate(2);
        assert_eq!(pending.durable(), 2);
        pending.persisted(8);
        assert_eq!(pending.durable(), 2);
    }
}
