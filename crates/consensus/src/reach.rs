//! Whom this node hears, for all parts of consensus: every voter tells the others, so that
//! a broken connection between two of them is not taken for a dead node.
//!
//! Knows nothing of what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tablestore_controller::Hearing;
use tablestore_placement::StorageId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::handle::Consensus;
use super::majority::{Reached, Silence};

/// Who has been silent for longer is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// What is known of the answers of one voter.
#[derive(Debug, Clone, Copy)]
struct Answers {
    first_asked: Duration,
    last: Option<Duration>,
}

/// What this node hears, by its own clock; a cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    origin: Instant,
    hearing: Arc<Mutex<Hearing>>,
    /// When each voter was first asked and when it last answered, for people; also where this node
    /// does not vote itself.
    answers: Arc<Mutex<BTreeMap<StorageId, Answers>>>,
    /// Who says that this node has left for good.
    left: Arc<watch::Sender<BTreeSet<StorageId>>>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            hearing: Arc::default(),
            answers: Arc::default(),
            left: Arc::new(watch::channel(BTreeSet::new()).0),
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

    /// All voters are asked now; of others nothing is remembered any more.
    pub(super) fn asks(&self, voters: &BTreeSet<StorageId>) {
        let now = self.origin.elapsed();
        let mut answers = self.answers();
        answers.retain(|known, _| voters.contains(known));
        for voter in voters {
            answers.entry(*voter).or_insert(Answers {
                first_asked: now,
                last: None,
            });
        }
    }

    /// A voter answered just now.
    pub(super) fn answered(&self, storage: StorageId) {
        let now = self.origin.elapsed();
        if let Some(known) = self.answers().get_mut(&storage) {
            known.last = Some(now);
        }
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<StorageId, Answers>> {
        // Only plain values are written under the lock: a poisoned one is still whole.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A voter said whether this node has left for good: its own map may never hear of that.
    pub(super) fn says_left(&self, storage: StorageId, left: bool) {
        self.left.send_if_modified(|by| match left {
            true => by.insert(storage),
            false => by.remove(&storage),
        });
    }

    /// Waits until more than half of the other voters say that this node has left for good.
    pub(super) async fn has_left(&self, others: impl Fn() -> BTreeSet<StorageId>) {
        let mut says = self.left.subscribe();
        // The sender is kept here.
        let _ = says
            .wait_for(|by| {
                let others = others();
                others.intersection(by).count() > others.len() / 2
            })
            .await;
    }

    /// The voters as this node reaches them.
    pub(super) fn reached(&self, me: StorageId, configs: &[BTreeSet<StorageId>]) -> Reached {
        let now = self.origin.elapsed();
        let answers = self.answers();
        Reached::of(me, configs, |voter| {
            let known = answers.get(&voter);
            let since = known.map(|known| known.last.unwrap_or(known.first_asked));
            Silence {
                // One that was not asked yet has had no time to answer.
                lasts: since.map_or(Duration::ZERO, |since| now.saturating_sub(since)),
                answered: known.is_some_and(|known| known.last.is_some()),
            }
        })
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

impl Consensus {
    /// The voters as this node reaches them, known within two seconds.
    #[must_use]
    pub fn reached(&self) -> Reached {
        let core = &self.inner.core;
        core.reach.reached(core.me, &core.voter_configs())
    }

    /// Waits until most other voters say that this node has left for good: whoever is removed need
    /// not hear of it by the map.
    pub async fn has_left(&self) {
        let core = &self.inner.core;
        let others = || {
            let voters = core.voter_configs().into_iter().flatten();
            voters.filter(|voter| *voter != core.me).collect()
        };
        core.reach.has_left(others).await;
    }
}
