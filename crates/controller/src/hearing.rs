//! Whom the voters hear, as one of them knows it from the answers to its pings, and what follows:
//! who is silent, who is behind a broken connection, who is cut off, who hears more. Asked by the
//! elector and by the controller.
//!
//! Knows nothing of clocks, pings and sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tablestore_health::reach;
use tablestore_placement::StorageId;

/// A voter that has answered none of the last six pings is not heard.
pub const HEARD_WITHIN: Duration = Duration::from_millis(300);
/// A leader that was silent for so long to this voter, and is not heard by enough others, is gone.
/// More than a short pause of the way costs, see the fresh connections of a link.
const LEADER_SILENT_FOR: Duration = Duration::from_millis(350);
/// A voter that was silent for so long here, and is heard by another, is behind a broken
/// connection: by now a dead one would be heard by nobody.
const BROKEN_AFTER: Duration = Duration::from_millis(450);

/// When a voter last answered a ping, and whom it said that it hears.
#[derive(Debug, Clone, Default)]
struct Heard {
    at: Duration,
    hears: BTreeSet<StorageId>,
}

/// Whom the voters hear, as far as this node knows.
#[derive(Debug, Clone, Default)]
pub struct Hearing(BTreeMap<StorageId, Heard>);

impl Hearing {
    /// A voter answered a ping at this time.
    pub fn note(
        &mut self,
        storage: StorageId,
        hears: impl IntoIterator<Item = StorageId>,
        at: Duration,
    ) {
        let hears = hears.into_iter().collect();
        self.0.insert(storage, Heard { at, hears });
    }

    /// Nothing is known any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets who has been silent for so long.
    pub fn forget_silent(&mut self, now: Duration, limit: Duration) {
        self.0.retain(|_, heard| now < heard.at + limit);
    }

    /// When each voter was heard last.
    pub fn last_heard(&self) -> impl Iterator<Item = (StorageId, Duration)> + '_ {
        self.0.iter().map(|(storage, heard)| (*storage, heard.at))
    }

    /// The voters that this node hears.
    pub fn heard(&self, now: Duration) -> BTreeSet<StorageId> {
        let lately = self.0.iter().filter(|(_, h)| now <= h.at + HEARD_WITHIN);
        lately.map(|(storage, _)| *storage).collect()
    }

    /// Whether a voter that answered before does not any more.
    pub fn is_silent(&self, now: Duration, storage: StorageId, limit: Duration) -> bool {
        let known = self.0.get(&storage);
        known.is_some_and(|known| now > known.at + limit)
    }

    /// Whether a voter that answered before is not heard any more.
    pub fn is_missed(&self, now: Duration, storage: StorageId) -> bool {
        self.is_silent(now, storage, HEARD_WITHIN)
    }

    /// Whether a leader answers neither this voter nor, as they say, so many others that all of
    /// them are a majority of each of `configs`: it is cut off, though its heartbeats may still
    /// arrive. Sooner than raft's timers, and by more than the ears of one.
    pub fn is_cut_off<'a>(
        &self,
        now: Duration,
        me: StorageId,
        leader: StorageId,
        configs: impl IntoIterator<Item = &'a BTreeSet<StorageId>>,
    ) -> bool {
        if !self.is_silent(now, leader, LEADER_SILENT_FOR) {
            return false;
        }
        let mut deaf: BTreeSet<StorageId> = self.deaf_to(now, leader).into_iter().collect();
        deaf.insert(me);
        let most =
            |config: &BTreeSet<StorageId>| config.intersection(&deaf).count() > config.len() / 2;
        configs.into_iter().all(most)
    }

    /// The voters that are heard and say that they do not hear this one.
    fn deaf_to(&self, now: Duration, storage: StorageId) -> Vec<StorageId> {
        let deaf = |by: &StorageId| {
            let known = self.0.get(by);
            *by != storage && known.is_some_and(|known| !known.hears.contains(&storage))
        };
        self.heard(now).into_iter().filter(deaf).collect()
    }

    /// Whether this node hears a majority of the voters, itself included.
    pub fn is_majority(&self, now: Duration, me: StorageId, voters: &BTreeSet<StorageId>) -> bool {
        let heard = self.heard(now);
        !reach(&me, voters, &heard).suspects_itself()
    }

    /// Voters that this node has not heard for long and another voter hears, each with who does.
    pub fn behind_broken_links(
        &self,
        now: Duration,
        me: StorageId,
        voters: &BTreeSet<StorageId>,
    ) -> BTreeMap<StorageId, StorageId> {
        let heard = self.heard(now);
        let silent =
            |voter: &&StorageId| **voter != me && self.is_silent(now, **voter, BROKEN_AFTER);
        let hears = |by: &StorageId, voter: &StorageId| {
            let known = self.0.get(by);
            heard.contains(by) && known.is_some_and(|known| known.hears.contains(voter))
        };
        let found = voters.iter().filter(silent).filter_map(|voter| {
            let by = voters.iter().find(|by| *by != voter && hears(by, voter))?;
            Some((*voter, *by))
        });
        found.collect()
    }

    /// The voter that hears everybody whom this node hears, and most beyond.
    pub fn better_placed(
        &self,
        now: Duration,
        me: StorageId,
        voters: &BTreeSet<StorageId>,
    ) -> Option<StorageId> {
        let mut mine = self.heard(now);
        mine.insert(me);
        mine.retain(|voter| voters.contains(voter));
        let candidates = mine.iter().filter(|voter| **voter != me);
        let hears_more = candidates.filter_map(|voter| {
            let mut theirs = self.0.get(voter)?.hears.clone();
            theirs.insert(*voter);
            theirs.retain(|heard| voters.contains(heard));
            let more = theirs.len() > mine.len() && mine.is_subset(&theirs);
            more.then_some((theirs.len(), *voter))
        });
        hears_more
            .max_by_key(|(count, voter)| (*count, std::cmp::Reverse(*voter)))
            .map(|(_, voter)| voter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: StorageId = StorageId(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn hearing(known: &[(u64, u64, &[u64])]) -> Hearing {
        let known = known.iter().map(|(voter, at, hears)| {
            let hears = hears.iter().copied().map(StorageId).collect();
            (StorageId(*voter), Heard { at: ms(*at), hears })
        });
        Hearing(known.collect())
    }

    fn voters(count: u64) -> BTreeSet<StorageId> {
        (1..=count).map(StorageId).collect()
    }

    #[test]
    fn l17_who_hears_no_majority_doubts_itself() {
        let three = hearing(&[(2, 1_000, &[]), (3, 200, &[])]);
        assert!(three.is_majority(ms(1_100), ME, &voters(3)));
        assert!(!three.is_majority(ms(1_301), ME, &voters(3)));
        assert!(!three.is_majority(ms(1_100), ME, &voters(4)), "two of four");
        assert!(Hearing::default().is_majority(ms(5), ME, &voters(1)));
    }

    /// What `me` knows when voters hear each other over these links.
    fn known_to(me: u64, count: u64, linked: &dyn Fn(u64, u64) -> bool) -> Hearing {
        let known = (1..=count).filter(|voter| *voter != me).map(|voter| {
            let at = if linked(me, voter) {
                ms(4_950)
            } else {
                ms(1_000)
            };
            let others = (1..=count).filter(|other| *other != voter);
            let hears = others.filter(|other| linked(voter, *other)).map(StorageId);
            let hears = hears.collect();
            (StorageId(voter), Heard { at, hears })
        });
        Hearing(known.collect())
    }

    /// From each first leader over all hand-overs; a link that is broken in one direction counts as
    /// broken, because a ping needs both.
    fn comes_to_rest(count: u64, linked: &dyn Fn(u64, u64) -> bool) {
        let (now, voters) = (ms(5_000), voters(count));
        for first in 1..=count {
            let (mut leader, mut moves) = (first, 0);
            loop {
                let me = StorageId(leader);
                let known = known_to(leader, count, linked);
                let hears = (1..=count).filter(|v| *v == leader || linked(leader, *v));
                let hears = hears.count() as u64;
                let decides = known.is_majority(now, me, &voters);
                assert_eq!(decides, hears * 2 > count, "leader {leader} hears {hears}");
                let Some(next) = known.better_placed(now, me, &voters) else {
                    break;
                };
                assert!(linked(leader, next.0), "only to whom it hears");
                (leader, moves) = (next.0, moves + 1);
                assert!(moves < count, "the leadership wanders without end");
            }
        }
    }

    #[test]
    fn l17_whatever_links_are_broken_only_a_majority_decides_and_the_leadership_rests() {
        for count in 3..=5 {
            let pairs: Vec<(u64, u64)> = (1..=count)
                .flat_map(|a| (a + 1..=count).map(move |b| (a, b)))
                .collect();
            for broken in 0_u32..1 << pairs.len() {
                let linked = |a: u64, b: u64| {
                    let pair = (a.min(b), a.max(b));
                    let at = pairs.iter().position(|known| *known == pair);
                    at.is_some_and(|at| broken >> at & 1 == 0)
                };
                comes_to_rest(count, &linked);
            }
        }
    }

    #[test]
    fn l34_a_node_that_another_voter_hears_is_behind_a_broken_link_and_not_dead() {
        let known = hearing(&[(2, 1_400, &[1, 3]), (3, 900, &[1, 2])]);
        let broken = known.behind_broken_links(ms(1_450), ME, &voters(3));
        assert_eq!(broken, BTreeMap::from([(StorageId(3), StorageId(2))]));
        assert!(
            known
                .behind_broken_links(ms(1_350), ME, &voters(3))
                .is_empty(),
            "a pause is no break"
        );
        let dead = hearing(&[(2, 1_400, &[1]), (3, 900, &[1, 2])]);
        let broken = dead.behind_broken_links(ms(1_450), ME, &voters(3));
        assert!(broken.is_empty(), "nobody hears it");
    }

    #[test]
    fn l34_the_leadership_goes_only_to_who_hears_all_that_this_node_hears_and_more() {
        let known = hearing(&[(2, 1_400, &[1, 3]), (3, 900, &[1, 2])]);
        assert_eq!(
            known.better_placed(ms(1_450), ME, &voters(3)),
            Some(StorageId(2))
        );
        // Two hears three but not four, which this node hears.
        let known = hearing(&[(2, 1_400, &[1, 3]), (3, 900, &[1, 2]), (4, 1_400, &[1])]);
        assert_eq!(known.better_placed(ms(1_450), ME, &voters(4)), None);
        let all = hearing(&[(2, 1_400, &[1, 3]), (3, 1_400, &[1, 2])]);
        assert_eq!(all.better_placed(ms(1_450), ME, &voters(3)), None);
    }

    #[test]
    fn who_does_not_answer_is_not_heard_for_long() {
        let known = hearing(&[(1, 1_000, &[]), (2, 1_150, &[])]);
        let both = BTreeSet::from([StorageId(1), StorageId(2)]);
        assert_eq!(known.heard(ms(1_300)), both);
        let later = ms(1_400);
        assert_eq!(known.heard(later), BTreeSet::from([StorageId(2)]));
        assert!(known.is_silent(later, StorageId(1), HEARD_WITHIN));
        assert!(!known.is_silent(later, StorageId(2), HEARD_WITHIN));
        assert!(
            !known.is_silent(later, StorageId(3), HEARD_WITHIN),
            "never heard"
        );
    }

    #[test]
    fn a_leader_is_cut_off_when_a_majority_of_each_config_misses_it() {
        let leader = StorageId(3);
        let configs = [voters(3)];
        let missed = hearing(&[(2, 1_000, &[1]), (3, 700, &[1, 2])]);
        assert!(
            !missed.is_cut_off(ms(1_050), ME, leader, &configs),
            "a pause"
        );
        assert!(missed.is_cut_off(ms(1_051), ME, leader, &configs));
        let changing = [voters(3), voters(5)];
        assert!(
            !missed.is_cut_off(ms(1_051), ME, leader, &changing),
            "two of five"
        );
        let heard = hearing(&[(2, 1_000, &[1, 3]), (3, 700, &[1, 2])]);
        assert!(
            !heard.is_cut_off(ms(1_051), ME, leader, &configs),
            "one ear is no majority"
        );
    }

    #[test]
    fn a_voter_that_is_heard_says_whom_it_does_not_hear() {
        let known = hearing(&[(2, 1_000, &[3]), (3, 1_000, &[1, 2])]);
        assert_eq!(known.deaf_to(ms(1_100), StorageId(1)), [StorageId(2)]);
        let none = known.deaf_to(ms(1_100), StorageId(2));
        assert!(none.is_empty(), "it is not asked about itself");
        let nobody = known.deaf_to(ms(1_400), StorageId(1));
        assert!(nobody.is_empty(), "what it said is too old");
    }
}
