//! How active replicas and partitions on shared storage stand on this node, for whoever asks; it
//! costs as much as there are of them. Knows nothing of how it is shown.

use tablestore_replication::active::HintStatus;
use tablestore_store::Engine;

use crate::plane::Plane;

/// How they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// What this node keeps of writes that others missed.
    pub hints: HintStatus,
    /// Requests for active tables that wait for enough replicas.
    pub active_waiting: usize,
    /// Active replicas here that take part.
    pub active_open: usize,
    /// Those of them that get their rows anew and answer no reads.
    pub active_rebuilding: usize,
    /// Active replicas here that have stopped after a fault.
    pub active_stopped: usize,
    /// The lowest floor of those that take part, in milliseconds of wall-clock time: up to there
    /// all their replicas proved equal.
    pub active_floor_ms: Option<u64>,
    /// Partitions on shared storage that this node serves.
    pub owned_open: usize,
    /// Partitions that it owns and has not opened yet.
    pub owned_opening: usize,
    /// Partitions that it owns and opens again after a while, as their storage failed.
    pub owned_resting: usize,
}

impl<E: Engine, W> Plane<E, W> {
    /// How active replicas and partitions on shared storage stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut standing = Standing {
            hints: self.active.hints(),
            active_waiting: self.active.waiting(),
            ..Standing::default()
        };
        self.active.count(&mut standing);
        self.owned.count(&mut standing);
        standing
    }
}
