//! A replica as the data thread holds it, and what it waits for: the journal, and room on the way
//! to a peer.
//!
//! Knows nothing of what a replica decides.

use tablestore_placement::PartitionId;
use tablestore_replication::settings::TAIL_BYTES_MAX;
use tablestore_replication::{Input, Replica};

use super::apply::Pieces;
use super::journal;
use super::plane::Plane;
use super::recover::Unusable;
use super::unsynced::Job;

/// A replica that this node holds.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) replica: Replica,
    /// Remembered results up to this index are in the engine.
    pub(crate) remembered_until: u64,
    /// The last indexes of the side records that hold them.
    pub(crate) pieces: Pieces,
    /// It is one of the replicas whose entries wait for room on the way to a peer.
    pub(crate) held_back: bool,
    /// Unlike that of any other replica that this process has hosted.
    pub(crate) life: u64,
    /// Stopped for good: a broken invariant or a mismatch, named here.
    pub(crate) stopped: Option<String>,
    /// It was not to be used when this start began: in it the replica has told nobody anything.
    pub(crate) unusable: Option<Unusable>,
}

/// Bytes of the ends of all logs that stay in memory; each replica has its share.
const TAILS_BYTES_MAX: usize = 32 << 20;
/// What a replica has in any case: a few appends.
const TAIL_BYTES_MIN: usize = 64 << 10;

impl Plane {
    /// Each replica keeps its share of the memory for the ends of logs.
    pub(super) fn share_tails(&mut self) {
        let share = TAILS_BYTES_MAX / self.replicas.len().max(1);
        let share = share.clamp(TAIL_BYTES_MIN, TAIL_BYTES_MAX);
        for hosted in self.replicas.values_mut() {
            hosted.replica.set_tail_bytes_max(share);
        }
    }

    /// Lets replicas go on that held entries back, each in its turn, for as long as there is room.
    pub(super) fn release_held_back(&mut self) {
        self.ports.links.look();
        for _ in 0..self.ports.held_back.len() {
            let Some(partition) = self.ports.held_back.pop_front() else {
                return;
            };
            if let Some(hosted) = self.replicas.get_mut(&partition) {
                hosted.held_back = false;
                self.feed(partition, Input::Tick);
            }
        }
    }

    /// The journal made jobs durable up to this position.
    pub(super) fn synced(&mut self, position: u64) {
        let replicas = &self.replicas;
        let life_of = |partition| replicas.get(&partition).map(|hosted| hosted.life);
        let newest = self.ports.unsynced.reached(position, life_of);
        for (partition, token) in newest {
            self.feed(partition, Input::Persisted { token });
        }
    }

    /// Queues a record for the journal on behalf of a replica.
    pub(crate) fn persist(&mut self, partition: PartitionId, token: u64, job: journal::Job) {
        let position = self.ports.journal.push(job);
        if let Some(hosted) = self.replicas.get(&partition) {
            self.ports.unsynced.push(Job {
                position,
                partition,
                life: hosted.life,
                token,
            });
        }
    }
}
