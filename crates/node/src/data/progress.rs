//! What the data thread shows to the other threads: its turns, and the state of each replica.
//!
//! Read by the heartbeat answers and the status pages; never by anything that must be true.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tablestore_dataplane::ReplicaProgress;
use tablestore_placement::{ClusterMap, PartitionId, StorageId};

use super::journal::JournalState;
use crate::room::Room;

/// Shared between threads.
#[derive(Debug)]
pub(crate) struct Progress {
    origin: Instant,
    last_turn_ms: AtomicU64,
    failed: AtomicBool,
    journal: Arc<JournalState>,
    replicas: Mutex<BTreeMap<PartitionId, ReplicaProgress>>,
    /// Whether there is room on the disks.
    pub(crate) room: Room,
    /// How far this node's clock is off, as the controller last told; 0 if it is not.
    clock_off_ms: AtomicI64,
    leaving: AtomicBool,
    /// All replicas that this start found in its first map are open.
    opened: AtomicBool,
}

impl Progress {
    pub(crate) fn new(journal: Arc<JournalState>) -> Self {
        Self {
            origin: Instant::now(),
            last_turn_ms: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            journal,
            replicas: Mutex::new(BTreeMap::new()),
            room: Room::default(),
            clock_off_ms: AtomicI64::new(0),
            leaving: AtomicBool::new(false),
            opened: AtomicBool::new(false),
        }
    }

    /// The controller says how far this node's clock is off.
    pub(crate) fn set_clock_off_ms(&self, off_ms: Option<i64>) {
        self.clock_off_ms
            .store(off_ms.unwrap_or(0), Ordering::Release);
    }

    /// How many milliseconds this node's clock is ahead of the others (behind, if negative), where
    /// that is too much.
    pub(crate) fn clock_off_ms(&self) -> Option<i64> {
        let off_ms = self.clock_off_ms.load(Ordering::Acquire);
        (off_ms != 0).then_some(off_ms)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, ReplicaProgress>> {
        // Only plain values are written under the lock: a poisoned one is still whole.
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data thread finished a turn.
    pub(crate) fn turn(&self) {
        self.last_turn_ms.store(self.now_ms(), Ordering::Release);
    }

    /// Age of the data thread's last turn.
    pub(crate) fn turn_age_ms(&self) -> u64 {
        self.now_ms()
            .saturating_sub(self.last_turn_ms.load(Ordering::Acquire))
    }

    /// Age of the oldest unfinished sync.
    pub(crate) fn oldest_sync_ms(&self) -> u64 {
        self.journal.oldest_sync_ms()
    }

    /// The journal refuses everything from now on.
    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether the journal refuses everything.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) || self.journal.failed()
    }

    /// The node was told to stop and hands its offices over.
    pub(crate) fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// What became of a replica; nothing if it is here no more.
    pub(crate) fn show(&self, partition: PartitionId, shown: Option<ReplicaProgress>) {
        let mut replicas = self.lock();
        match shown {
            Some(shown) => replicas.insert(partition, shown),
            None => replicas.remove(&partition),
        };
    }

    /// How many replicas of this node are still to be opened. None any more from then on that none
    /// was: what a map adds later keeps nobody waiting, as others have it.
    pub(crate) fn to_open(&self, map: &ClusterMap, me: StorageId) -> usize {
        if self.opened.load(Ordering::Acquire) {
            return 0;
        }
        let shown = self.lock();
        let is_missing = |partition: &PartitionId| !shown.contains_key(partition);
        let partitions = map.partitions();
        let mine = partitions.filter(|(_, table, assignment)| {
            table.definition.data_path().has_copies() && assignment.replicas.contains(&me)
        });
        let missing = mine.filter(|(partition, ..)| is_missing(partition)).count();
        self.opened.store(missing == 0, Ordering::Release);
        missing
    }

    /// All replicas of this node.
    pub(crate) fn replicas(&self) -> BTreeMap<PartitionId, ReplicaProgress> {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use tablestore_placement::testing::{cluster, create_table, definition};
    use tablestore_placement::{ACTIVE, PARTITION, TableDefinition, TableId};

    use super::*;

    #[test]
    fn a_start_waits_for_the_replicas_that_it_has_to_open_and_for_no_other() {
        let mut map = cluster(&[("a", 1), ("b", 1), ("c", 1)]);
        let kept = |strategy: &str| TableDefinition {
            strategy: strategy.to_owned(),
            ..definition(2, 3, 2)
        };
        create_table(&mut map, "gates", &kept(ACTIVE)).unwrap();
        let shared = TableDefinition {
            replicas: 1,
            min_in_sync: 1,
            ..kept(PARTITION)
        };
        create_table(&mut map, "bookings", &shared).unwrap();
        let me = *map.members.keys().next().unwrap();
        let progress = Progress::new(Arc::default());
        let open = |table, number| {
            let partition = PartitionId::new(TableId(table), number);
            progress.show(partition, Some(ReplicaProgress::default()));
        };
        assert_eq!(progress.to_open(&map, me), 2, "of the gates alone");
        open(1, 0);
        assert_eq!(progress.to_open(&map, me), 1);
        open(1, 1);
        assert_eq!(progress.to_open(&map, me), 0);
        create_table(&mut map, "later", &kept(ACTIVE)).unwrap();
        assert_eq!(progress.to_open(&map, me), 0, "it was ready before");
    }
}
