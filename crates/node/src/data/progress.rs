//! What the data thread shows to the other threads: its turns, and the state of each replica.
//!
//! Read by the heartbeat answers and the status pages; never by anything that must be true.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tablestore_dataplane::ReplicaProgress;
use tablestore_placement::PartitionId;

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
    leaving: AtomicBool,
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
            leaving: AtomicBool::new(false),
        }
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

    /// All replicas of this node.
    pub(crate) fn replicas(&self) -> BTreeMap<PartitionId, ReplicaProgress> {
        self.lock().clone()
    }
}
