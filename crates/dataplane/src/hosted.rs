//! A replica as the plane holds it, and what it waits for: the journal, and room in memory.
//!
//! Knows nothing of what a replica decides.

use std::collections::BTreeSet;
use std::time::Duration;

use tablestore_placement::{PartitionId, StorageId};
use tablestore_replication::{Input, Replica, Status};
use tablestore_store::Engine;

use crate::apply::Pieces;
use crate::journal::Record;
use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::progress::{Remembers, ReplicaProgress};
use crate::recover::Unusable;
use crate::unsynced::Waiting;

/// A replica that this node holds.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) replica: Replica,
    /// Remembered results up to this index are in the engine.
    pub(crate) remembered_until: u64,
    /// The last indexes of the side records that hold them.
    pub(crate) pieces: Pieces,
    /// Who else has to do with the partition, by the assignment that it follows.
    pub(crate) others: BTreeSet<StorageId>,
    /// It is one of the replicas whose entries wait for room on the way to a peer.
    pub(crate) held_back: bool,
    /// Something happened to it in this turn.
    pub(crate) touched: bool,
    /// Something happened to it since its log was last shown.
    pub(crate) moved: bool,
    /// When it is told the time.
    pub(crate) wakes_at: Option<Duration>,
    /// Unlike that of any other replica that this process has hosted.
    pub(crate) life: u64,
    /// Stopped for good: a broken invariant or a mismatch, named here.
    pub(crate) stopped: Option<String>,
    /// It was not to be used when this start began: in it the replica has told nobody anything.
    pub(crate) unusable: Option<Unusable>,
    /// As it was last shown.
    pub(crate) shown: ReplicaProgress,
}

impl<E: Engine, W> Plane<E, W> {
    /// Each replica keeps its share of the memory for the ends of logs.
    pub(crate) fn share_tails(&mut self) {
        let share = self.settings.tails_bytes_max / self.replicas.len().max(1);
        let max = self.settings.replica.tail_bytes_max;
        let share = share.clamp(self.settings.tail_bytes_min.min(max), max);
        for hosted in self.replicas.values_mut() {
            hosted.replica.set_tail_bytes_max(share);
        }
    }

    /// The life of the replica that this node holds now.
    pub(crate) fn life_of(&self, partition: PartitionId) -> Option<u64> {
        self.replicas.get(&partition).map(|hosted| hosted.life)
    }

    /// Whether the replica that this node holds now has this life.
    pub(crate) fn lives(&self, partition: PartitionId, life: u64) -> bool {
        self.life_of(partition) == Some(life) || self.settings.has(Mutant::OldLifeSync)
    }

    /// The journal made records durable up to this position.
    pub(crate) fn persisted(&mut self, position: u64) {
        let replicas = &self.replicas;
        let life_of = |partition| replicas.get(&partition).map(|hosted| hosted.life);
        let newest = self.unsynced.reached(position, life_of);
        for (partition, token) in newest {
            self.feed(partition, Input::Persisted { token });
        }
        if self.active.waits_for_disk() {
            self.active_persisted(position);
        }
    }

    /// The journal let go of entries.
    pub(crate) fn trimmed(&mut self, trimmed: Vec<(u64, u64)>) {
        for (partition, first) in trimmed {
            let partition = PartitionId::from_u64(partition);
            self.feed(partition, Input::LogTrimmed { first });
        }
    }

    /// Queues a record for the journal.
    pub(crate) fn record(&mut self, record: Record) -> u64 {
        self.out.journal.push(record);
        self.unsynced.next_position()
    }

    /// Queues a record for the journal on behalf of a replica.
    pub(crate) fn persist(&mut self, partition: PartitionId, token: u64, record: Record) {
        let position = self.record(record);
        if let Some(hosted) = self.replicas.get(&partition) {
            self.unsynced.push(Waiting {
                position,
                partition,
                life: hosted.life,
                token,
            });
        }
    }

    /// Shows what became of a replica.
    pub(crate) fn show(
        &mut self,
        partition: PartitionId,
        change: impl FnOnce(&mut ReplicaProgress),
    ) {
        if let Some(hosted) = self.replicas.get_mut(&partition) {
            change(&mut hosted.shown);
            self.out
                .progress
                .push((partition, Some(hosted.shown.clone())));
        }
    }

    /// Shows how far logs have come since this was last called.
    pub(crate) fn show_logs(&mut self) {
        for partition in std::mem::take(&mut self.moved) {
            let Some(hosted) = self.replicas.get_mut(&partition) else {
                continue;
            };
            hosted.moved = false;
            let end = hosted.replica.status().end;
            if hosted.shown.end != end {
                hosted.shown.end = end;
                self.out
                    .progress
                    .push((partition, Some(hosted.shown.clone())));
            }
        }
    }

    /// How the replica of a partition is now; none if there is none or it has stopped.
    #[must_use]
    pub fn status(&self, partition: PartitionId) -> Option<Status> {
        let hosted = self.replicas.get(&partition)?;
        hosted.stopped.is_none().then(|| hosted.replica.status())
    }

    /// What is known to be committed, and what a member has acknowledged to primaries here.
    #[must_use]
    pub fn remembers(&self, of: StorageId) -> Remembers {
        let mut remembers = Remembers::default();
        let working = self.replicas.iter().filter(|(_, h)| h.stopped.is_none());
        for (partition, hosted) in working {
            let status = hosted.replica.status();
            remembers.commits.push((*partition, status.commit));
            let follower = status.followers.iter().find(|f| f.member == of);
            let acknowledged = follower.map(|f| (*partition, status.epoch, f.matched));
            remembers.acknowledged.extend(acknowledged);
        }
        remembers
    }
}
