//! How often offices on shared storage go on because their owners have stopped. The first time at
//! once; if the next owner stops as well, the storage is at fault rather than the member, and
//! offices that went round and round would help nobody and push out all other decisions. Nor is a
//! member whose owners stop given new ones for an even spread, ever more rarely.
//!
//! Knows nothing of why an owner stops.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tablestore_placement::{Incarnation, PartitionId, StorageId};

/// How long an office rests after it was moved; doubled with every move.
const OFFICE_RESTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long a member is spared after an owner stopped there; doubled every time.
const MEMBER_RESTS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// Who has worked for so long after the rest has not stopped for the reason of those before.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Round {
    times: u32,
    rests_until: Duration,
}

/// Rests that grow, of whatever has something happen to it again and again.
#[derive(Debug)]
struct Rests<K> {
    bounds: (Duration, Duration),
    rounds: BTreeMap<K, Round>,
}

impl<K: Ord> Rests<K> {
    fn new(bounds: (Duration, Duration)) -> Self {
        Self {
            bounds,
            rounds: BTreeMap::new(),
        }
    }

    fn is_resting(&self, key: &K, now: Duration) -> bool {
        self.rounds
            .get(key)
            .is_some_and(|round| now < round.rests_until)
    }

    fn happened(&mut self, keys: impl Iterator<Item = K>, now: Duration) {
        self.rounds
            .retain(|_, round| now < round.rests_until + FORGOTTEN_AFTER);
        let (shortest, longest) = self.bounds;
        for key in keys {
            let round = self.rounds.entry(key).or_insert(Round {
                times: 0,
                rests_until: now,
            });
            let rest = shortest * 2_u32.saturating_pow(round.times.min(16));
            round.times = round.times.saturating_add(1);
            round.rests_until = now + rest.min(longest);
        }
    }
}

/// The moves of a leadership; one entry for each partition that was moved not long ago, and for
/// each start of a member that one was moved away from.
#[derive(Debug)]
pub(crate) struct Rounds {
    offices: Rests<PartitionId>,
    members: Rests<(StorageId, Incarnation)>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            offices: Rests::new(OFFICE_RESTS),
            members: Rests::new(MEMBER_RESTS),
        }
    }
}

impl Rounds {
    /// Whether an owner that has stopped may be replaced.
    pub(crate) fn may_move(&self, partition: PartitionId, now: Duration) -> bool {
        !self.offices.is_resting(&partition, now)
    }

    /// Owners that have stopped are replaced now: those of these partitions, at these starts of
    /// members.
    pub(crate) fn moved(
        &mut self,
        partitions: impl Iterator<Item = PartitionId>,
        members: BTreeSet<(StorageId, Incarnation)>,
        now: Duration,
    ) {
        self.offices.happened(partitions, now);
        self.members.happened(members.into_iter(), now);
    }

    /// Members where owners stopped not long ago.
    pub(crate) fn spared(&self, now: Duration) -> impl Iterator<Item = (StorageId, Incarnation)> {
        let resting = self.members.rounds.iter();
        resting
            .filter(move |(_, round)| now < round.rests_until)
            .map(|(member, _)| *member)
    }
}
