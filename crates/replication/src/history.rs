//! The epochs of a log, each with its first index, and the common point of two logs. Knows
//! nothing of entries, messages or who truncates what.

use tablestore_placement::Epoch;

/// One epoch of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStartsAt {
    /// The epoch.
    pub epoch: Epoch,
    /// The index of its first entry in the log.
    pub index: u64,
}

/// Where two logs part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommonPoint {
    /// They are equal up to and with this index, and not at the next one.
    At(u64),
    /// The histories do not reach back to a shared epoch, although the logs may share entries.
    Unknown,
}

/// The epochs of a log in order: epochs and indexes rise strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    starts: Vec<EpochStartsAt>,
}

impl EpochHistory {
    /// A history as it was stored or sent; what is out of order is dropped.
    #[must_use]
    pub fn new(starts: Vec<EpochStartsAt>) -> Self {
        let mut history = Self {
            starts: Vec::with_capacity(starts.len()),
        };
        for start in starts {
            history.note(start.epoch, start.index);
        }
        history
    }

    /// The epochs with their first indexes.
    #[must_use]
    pub fn starts(&self) -> &[EpochStartsAt] {
        &self.starts
    }

    /// The epochs with their first indexes.
    #[must_use]
    pub fn into_starts(self) -> Vec<EpochStartsAt> {
        self.starts
    }

    /// An entry was put at the end of the log.
    pub fn note(&mut self, epoch: Epoch, index: u64) {
        let rises = self
            .starts
            .last()
            .is_none_or(|last| last.epoch < epoch && last.index < index);
        if rises {
            self.starts.push(EpochStartsAt { epoch, index });
        }
    }

    /// The log was cut behind `end`.
    pub fn truncate(&mut self, end: u64) {
        while self.starts.last().is_some_and(|last| last.index > end) {
            self.starts.pop();
        }
    }

    /// Forgets the oldest epochs beyond `kept_max`, but none that reaches above `below`.
    pub fn prune(&mut self, kept_max: usize, below: u64) {
        let surplus = self.starts.len().saturating_sub(kept_max);
        let prunable = self
            .starts
            .windows(2)
            .take_while(|pair| pair[1].index <= below)
            .count();
        self.starts.drain(..surplus.min(prunable));
    }

    /// The epoch of the entry at `index`, which must be in the log; `Epoch(0)` at index 0 and
    /// where the history was pruned.
    #[must_use]
    pub fn epoch_at(&self, index: u64) -> Epoch {
        match self.starts.last() {
            Some(last) if last.index <= index => last.epoch,
            _ => {
                let at = self.starts.partition_point(|start| start.index <= index);
                at.checked_sub(1)
                    .map_or(Epoch(0), |before| self.starts[before].epoch)
            }
        }
    }

    /// Whether the entry at `index`, which must be in the log, can be of this epoch: false only
    /// if the history, which may have forgotten old epochs, says otherwise.
    #[must_use]
    pub fn may_have(&self, epoch: Epoch, index: u64) -> bool {
        let known = self.epoch_at(index);
        known == epoch || (known == Epoch(0) && index > 0)
    }

    /// The epoch of the last entry; `Epoch(0)` if there is none.
    #[must_use]
    pub fn last_epoch(&self) -> Epoch {
        self.starts.last().map_or(Epoch(0), |last| last.epoch)
    }

    /// The last index of the epoch at `position` in a log that ends at `end`.
    fn end_of(&self, position: usize, end: u64) -> u64 {
        self.starts
            .get(position + 1)
            .map_or(end, |next| next.index - 1)
    }

    /// Whether it reaches back to the first entry of a log that ends at `end`.
    fn is_complete(&self, end: u64) -> bool {
        self.starts
            .first()
            .map_or(end == 0, |first| first.index <= 1)
    }

    /// Where this log, which ends at `end`, parts from another one.
    ///
    /// An entry is known by (epoch, index) and logs are equal before a shared entry, so the logs
    /// part where the largest epoch that both have ends in the shorter of them.
    #[must_use]
    pub fn common_point(&self, end: u64, other: &Self, other_end: u64) -> CommonPoint {
        let (mut mine, mut theirs) = (self.starts.len(), other.starts.len());
        while mine > 0 && theirs > 0 {
            let (a, b) = (self.starts[mine - 1].epoch, other.starts[theirs - 1].epoch);
            match a.cmp(&b) {
                std::cmp::Ordering::Greater => mine -= 1,
                std::cmp::Ordering::Less => theirs -= 1,
                std::cmp::Ordering::Equal => {
                    let ends = (
                        self.end_of(mine - 1, end),
                        other.end_of(theirs - 1, other_end),
                    );
                    return CommonPoint::At(ends.0.min(ends.1));
                }
            }
        }
        if self.is_complete(end) && other.is_complete(other_end) {
            CommonPoint::At(0)
        } else {
            CommonPoint::Unknown
        }
    }
}
