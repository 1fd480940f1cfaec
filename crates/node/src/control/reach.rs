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
/// A leader that was silent for so long to this voter, and is not heard by enough others, is gone.
/// More than a short pause of the way costs, see the fresh connections of a link.
pub(super) const LEADER_SILENT_FOR: Duration = Duration::from_millis(350);
/// Who has been silent for longer is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct Heard {
    at: Instant,
    hears: Vec<StorageId>,
}

/// When each voter answered last, and whom it said that it hears; a cheap handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach(Arc<Mutex<BTreeMap<StorageId, Heard>>>);

impl Reach {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StorageId, Heard>> {
        // Only plain values are written under the lock: a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A voter answered a ping just now.
    pub(super) fn note(&self, storage: StorageId, hears: Vec<StorageId>) {
        self.note_at(storage, hears, Instant::now());
    }

    fn note_at(&self, storage: StorageId, hears: Vec<StorageId>, at: Instant) {
        let mut heard = self.lock();
        heard.retain(|_, heard| at.saturating_duration_since(heard.at) < FORGOTTEN_AFTER);
        heard.insert(storage, Heard { at, hears });
    }

    /// The voters that are heard.
    pub(super) fn lately(&self) -> Vec<StorageId> {
        self.lately_at(Instant::now())
    }

    fn lately_at(&self, now: Instant) -> Vec<StorageId> {
        let heard = self.lock();
        let lately = |heard: &Heard| now.saturating_duration_since(heard.at) <= HEARD_WITHIN;
        let heard = heard.iter().filter(|(_, heard)| lately(heard));
        heard.map(|(storage, _)| *storage).collect()
    }

    /// Whether a voter that answered before does not any more.
    pub(super) fn is_silent(&self, storage: StorageId, limit: Duration) -> bool {
        self.is_silent_at(storage, limit, Instant::now())
    }

    fn is_silent_at(&self, storage: StorageId, limit: Duration, now: Instant) -> bool {
        let heard = self.lock();
        let known = heard.get(&storage);
        known.is_some_and(|known| now.saturating_duration_since(known.at) > limit)
    }

    /// The voters that are heard and say that they do not hear this one.
    pub(super) fn deaf_to(&self, storage: StorageId) -> Vec<StorageId> {
        let lately = self.lately();
        let heard = self.lock();
        let deaf = |by: &StorageId| {
            let known = heard.get(by);
            *by != storage && known.is_some_and(|known| !known.hears.contains(&storage))
        };
        lately.into_iter().filter(deaf).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_not_heard_for_long() {
        let (reach, begun) = (Reach::default(), Instant::now());
        reach.note_at(StorageId(1), Vec::new(), begun);
        reach.note_at(StorageId(2), Vec::new(), begun + HEARD_WITHIN / 2);
        let both = [StorageId(1), StorageId(2)];
        assert_eq!(reach.lately_at(begun + HEARD_WITHIN), both);
        let later = begun + HEARD_WITHIN * 4 / 3;
        assert_eq!(reach.lately_at(later), both[1..]);
        assert!(reach.is_silent_at(StorageId(1), HEARD_WITHIN, later));
        assert!(!reach.is_silent_at(StorageId(2), HEARD_WITHIN, later));
        assert!(
            !reach.is_silent_at(StorageId(3), HEARD_WITHIN, later),
            "never heard"
        );
    }

    #[test]
    fn a_voter_that_is_heard_says_whom_it_does_not_hear() {
        let reach = Reach::default();
        reach.note(StorageId(2), vec![StorageId(3)]);
        reach.note(StorageId(3), vec![StorageId(1), StorageId(2)]);
        assert_eq!(reach.deaf_to(StorageId(1)), [StorageId(2)]);
        assert!(
            reach.deaf_to(StorageId(2)).is_empty(),
            "it is not asked about itself"
        );
    }
}
