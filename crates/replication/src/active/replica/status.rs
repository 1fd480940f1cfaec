//! What a replica says about itself. Knows no behaviour.

use std::collections::BTreeMap;

use tablestore_placement::{Epoch, StorageId};

use super::Replica;
use crate::active::row::Floor;

/// A replica's progress, counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Everything at or below it is equal at all replicas.
    pub floor: Floor,
    /// The replica gets its rows anew and answers no reads.
    pub is_rebuilding: bool,
    /// The tree is complete: the replica takes part in sweeps.
    pub is_compared: bool,
    /// With whom it is sweeping, and how many leaves are known to differ still.
    pub sweeping: Option<(StorageId, usize)>,
    /// The newest epoch in which a sweep with this member was completed: each then had all that
    /// the other had when it began.
    pub swept: BTreeMap<StorageId, Epoch>,
    /// Sweeps that were completed.
    pub sweeps: u64,
    /// Sweeps that ended early, as the other was silent or refused something.
    pub sweeps_failed: u64,
    /// Rows that were sent to others.
    pub rows_sent: u64,
    /// Rows that came from others and told something new.
    pub rows_taken: u64,
    /// Rows of others that were at or below the floor or too far ahead.
    pub rows_refused: u64,
}

/// What of a [`ReplicaStatus`] only grows while the replica is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sweeps that were completed.
    pub sweeps: u64,
    /// Sweeps that ended early.
    pub sweeps_failed: u64,
    /// Rows that came from others and told something new.
    pub rows_taken: u64,
}

impl Replica {
    /// What it has counted; costs nothing.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            sweeps: self.status.sweeps,
            sweeps_failed: self.status.sweeps_failed,
            rows_taken: self.status.rows_taken,
        }
    }

    /// How far the replica is.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let sweep = self.sweep.as_ref();
        ReplicaStatus {
            floor: self.meta.proof.floor,
            is_rebuilding: self.meta.is_rebuilding,
            is_compared: self.scan.is_none(),
            sweeping: sweep.map(|sweep| (sweep.peer, sweep.leaves_open())),
            ..self.status.clone()
        }
    }
}
