//! The plain values that pass between a replica and its host. Knows no behaviour.

use std::fmt;
use std::time::Duration;

use tablestore_placement::{Assignment, Epoch, StorageId};

use crate::history::{EpochHistory, EpochStartsAt};

/// Monotonic time since the process started.
pub type Now = Duration;

/// What a request for a row is called, so that a repetition is recognised. Opaque: nothing is read
/// out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What the host calls a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the state machine answered to a write. Opaque to this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What became of the write.
    pub code: u16,
    /// The version of the row after it.
    pub version: u64,
}

/// One carried-out request, kept so that a repetition gets the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The client's id.
    pub request: RequestId,
    /// The digest of the body; the same id with another body is refused.
    pub digest: u64,
    /// The log index of the write.
    pub index: u64,
    /// When it was written, in the log's own time.
    pub log_ms: u64,
    /// The answer.
    pub outcome: Outcome,
}

/// What a replica keeps durably beside its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionMeta {
    /// The newest epoch adopted; older ones are refused.
    pub adopted: Epoch,
    /// The log end after this record: entries above it are gone.
    pub end: u64,
    /// The epochs of the log up to `end`, each with its first index.
    pub history: Vec<EpochStartsAt>,
    /// A commit mark: everything up to it is committed (the true mark may be higher).
    pub commit: u64,
}

impl PartitionMeta {
    /// Takes an entry into account that the journal holds behind this record. A host that
    /// recovers calls this for every such entry in journal order, so that `end` and `history`
    /// describe the log as it is.
    pub fn extend(&mut self, epoch: Epoch, index: u64) {
        let mut history = EpochHistory::new(std::mem::take(&mut self.history));
        history.truncate(index.saturating_sub(1));
        history.note(epoch, index);
        self.history = history.into_starts();
        self.end = index;
        self.adopted = self.adopted.max(epoch);
    }
}

/// What the host found on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last meta record, extended by the entries behind it.
    pub meta: PartitionMeta,
    /// The first index that is still in the log; `end + 1` if there is none.
    pub first: u64,
    /// The index up to which the engine's checkpoint has applied.
    pub applied: u64,
    /// The remembered requests of that checkpoint, by ascending index.
    pub remembered: Vec<Remembered>,
}

impl Recovered {
    /// A replica that has nothing yet.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            meta: PartitionMeta::default(),
            first: 1,
            applied: 0,
            remembered: Vec::new(),
        }
    }
}

/// What the map says of this partition, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Who does what.
    pub assignment: Assignment,
    /// Members of the assignment that the map holds down.
    pub unreachable: Vec<StorageId>,
    /// How many replicas must have a write before it is acknowledged.
    pub in_sync_min: u32,
}

/// What a snapshot contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// Everything up to this log index is in it.
    pub index: u64,
    /// The epoch of the entry at `index`.
    pub epoch: Epoch,
    /// The epochs up to `index`, each with its first index.
    pub history: Vec<EpochStartsAt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_record_is_extended_by_the_entries_behind_it() {
        let mut meta = PartitionMeta::default();
        for (epoch, index) in [(1, 1), (1, 2), (1, 3), (4, 3), (4, 4)] {
            meta.extend(Epoch(epoch), index);
        }
        let starts: Vec<_> = meta.history.iter().map(|s| (s.epoch.0, s.index)).collect();
        assert_eq!(starts, [(1, 1), (4, 3)]);
        assert_eq!((meta.end, meta.adopted), (4, Epoch(4)));
    }
}
