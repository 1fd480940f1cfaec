//! The state machine of a partition: for every key the list of all writes to it, in order, so
//! that a lost, repeated or reordered write shows. Knows nothing of replication.

use std::collections::BTreeMap;

use tablestore_replication::{Entry, EntryBody, Outcome, Remembered, SnapshotMeta};

/// The lists of a partition's keys and the log index they show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) lists: BTreeMap<u8, Vec<u32>>,
    pub(crate) applied: u64,
}

/// A state that survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) engine: Engine,
    pub(crate) remembered: Vec<Remembered>,
}

/// A state on its way to another node.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) meta: SnapshotMeta,
}

impl Snapshot {
    pub(crate) fn new(checkpoint: Checkpoint, meta: SnapshotMeta) -> Self {
        assert_eq!(
            checkpoint.engine.applied, meta.index,
            "a snapshot and its description are of the same moment"
        );
        Self { checkpoint, meta }
    }
}

impl Engine {
    /// Applies one entry; a write's outcome carries its position in the list, from 1.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Option<Outcome> {
        self.applied = entry.index;
        let EntryBody::Write { payload, .. } = entry.body() else {
            return None;
        };
        let [key, op @ ..] = payload else { return None };
        let op = u32::from_le_bytes(op.try_into().ok()?);
        let list = self.lists.entry(*key).or_default();
        list.push(op);
        Some(Outcome {
            code: 200,
            version: list.len() as u64,
        })
    }

    pub(crate) fn list(&self, key: u8) -> &[u32] {
        self.lists.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// The body of a write.
pub(crate) fn payload(key: u8, op: u32) -> Vec<u8> {
    let mut payload = vec![key];
    payload.extend(op.to_le_bytes());
    payload
}

/// The hash of a list (FNV-1a over its items).
pub(crate) fn list_hash(list: &[u32]) -> u64 {
    list.iter().fold(0xcbf2_9ce4_8422_2325, |hash, item| {
        (hash ^ u64::from(*item)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
