//! Whom this node hears: which voters have answered its pings of late. Every voter tells the
//! others, so that a broken connection between two of them is not taken for a dead node.
//!
//! Knows nothing of what follows from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tablestore_placement::StorageId;
use tokio::time::Instant;

/// A voter that has answered none of the last six pings is not heard.
pub(crate) const HEARD_WITHIN: Duration = Duration::from_millis(300);

/// When each voter answered last; a cheap handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach(Arc<Mutex<BTreeMap<StorageId, Instant>>>);

impl Reach {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StorageId, Instant>> {
        // Only plain values are written under the lock: a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A voter answered a ping just now.
    pub(super) fn note(&self, storage: StorageId) {
        self.note_at(storage, Instant::now());
    }

    fn note_at(&self, storage: StorageId, now: Instant) {
        self.lock().insert(storage, now);
    }

    /// The voters that are heard.
    pub(super) fn lately(&self) -> Vec<StorageId> {
        self.lately_at(Instant::now())
    }

    fn lately_at(&self, now: Instant) -> Vec<StorageId> {
        let mut heard = self.lock();
        heard.retain(|_, at| now.saturating_duration_since(*at) <= HEARD_WITHIN);
        heard.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_not_heard_for_long() {
        let (reach, begun) = (Reach::default(), Instant::now());
        reach.note_at(StorageId(1), begun);
        reach.note_at(StorageId(2), begun + HEARD_WITHIN / 2);
        let both = [StorageId(1), StorageId(2)];
        assert_eq!(reach.lately_at(begun + HEARD_WITHIN), both);
        assert_eq!(reach.lately_at(begun + HEARD_WITHIN * 4 / 3), both[1..]);
    }
}
