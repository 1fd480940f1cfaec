//! Whom this node hears, for all parts of consensus: every voter tells the others, so that
//! a broken connection between two of them is not taken for a dead node.
//!
//! Knows nothing of what follows from it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tablestore_controller::Hearing;
use tablestore_placement::StorageId;
use tokio::time::Instant;

/// Who has been silent for longer is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// What this node hears, by its own clock; a cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    origin: Instant,
    hearing: Arc<Mutex<Hearing>>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            hearing: Arc::default(),
        }
    }
}

impl Reach {
    fn lock(&self) -> MutexGuard<'_, Hearing> {
        // Only plain values are written under the lock: a poisoned one is still whole.
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A voter answered a ping just now.
    pub(super) fn note(&self, storage: StorageId, hears: &[StorageId]) {
        let now = self.origin.elapsed();
        let mut hearing = self.lock();
        hearing.forget_silent(now, FORGOTTEN_AFTER);
        hearing.note(storage, hears.iter().copied(), now);
    }

    /// The voters that are heard.
    pub(super) fn lately(&self) -> Vec<StorageId> {
        self.lock()
            .heard(self.origin.elapsed())
            .into_iter()
            .collect()
    }

    /// Whether a voter that answered before is not heard any more.
    pub(super) fn is_missed(&self, storage: StorageId) -> bool {
        self.lock().is_missed(self.origin.elapsed(), storage)
    }

    /// Whether a majority of each config, this node included, does not hear the leader any more.
    pub(super) fn is_cut_off(
        &self,
        me: StorageId,
        leader: StorageId,
        configs: &[BTreeSet<StorageId>],
    ) -> bool {
        let now = self.origin.elapsed();
        self.lock().is_cut_off(now, me, leader, configs)
    }
}
