//! What this node may conclude from whom it hears: nothing about others while it hears no majority
//! itself, and of a broken connection only that, while another voter hears the node behind it.
//!
//! Knows nothing of pings and sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tablestore_health::{Detector, Evidence, reach};
use tablestore_placement::{Decision, DecisionKind, StorageId, plan};

use super::{Controller, Job};
use crate::control::HEARD_WITHIN;
use crate::node::wall_ms;

/// A voter that was silent for so long here, and is heard by another, is behind a broken
/// connection: by now a dead one would be heard by nobody.
const BROKEN_AFTER: Duration = Duration::from_millis(450);
/// The leadership does not move again within this because of a broken connection.
const HAND_OVER_EVERY: Duration = Duration::from_secs(5);
/// A member that the controller cannot reach by then holds no office, though others hear it.
const UNREACHED_MAX: Duration = Duration::from_millis(600);

/// When a voter last answered a ping, and whom it said that it hears.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) at: Duration,
    pub(super) hears: BTreeSet<StorageId>,
}

/// Whom the voters hear, as far as this node knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Hearing(pub(super) BTreeMap<StorageId, Heard>);

impl Hearing {
    /// The voters that this node hears.
    pub(super) fn heard(&self, now: Duration, within: Duration) -> BTreeSet<StorageId> {
        let lately = self.0.iter().filter(|(_, heard)| now <= heard.at + within);
        lately.map(|(storage, _)| *storage).collect()
    }

    /// Whether this node hears a majority of the voters, itself included.
    pub(super) fn is_majority(
        &self,
        now: Duration,
        me: StorageId,
        voters: &BTreeSet<StorageId>,
    ) -> bool {
        let heard = self.heard(now, HEARD_WITHIN);
        !reach(&me, voters, &heard).suspects_itself()
    }

    /// Voters that this node has not heard for long and another voter hears, each with who does.
    pub(super) fn behind_broken_links(
        &self,
        now: Duration,
        me: StorageId,
        voters: &BTreeSet<StorageId>,
    ) -> BTreeMap<StorageId, StorageId> {
        let heard = self.heard(now, HEARD_WITHIN);
        let silent = |voter: &&StorageId| {
            let known = self.0.get(voter);
            known.is_some_and(|known| now > known.at + BROKEN_AFTER) && **voter != me
        };
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
    pub(super) fn better_placed(
        &self,
        now: Duration,
        me: StorageId,
        voters: &BTreeSet<StorageId>,
    ) -> Option<StorageId> {
        let mut mine = self.heard(now, HEARD_WITHIN);
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

impl Controller {
    /// The voters of the raft group.
    fn voters(&self) -> BTreeSet<StorageId> {
        let control = &self.node.shared.control;
        control.voters().into_iter().collect()
    }

    /// The term in which this node may decide; none if it does not lead, or does not hear a
    /// majority of the voters and must rather doubt itself.
    pub(super) fn decides(&self) -> Option<u64> {
        let lead = self.lead?;
        let hears = self
            .hearing
            .is_majority(self.now(), self.node.me(), &self.voters());
        hears.then_some(lead.term)
    }

    /// Tells the detector the time, unless nobody is heard: then it is this node that is cut off,
    /// and the silence of that time is nobody's.
    pub(super) fn tell_time(&mut self, now: Duration) {
        let hears = self
            .hearing
            .is_majority(now, self.node.me(), &self.voters());
        match (hears, self.alone_since) {
            (false, None) => self.alone_since = Some(now),
            (true, Some(since)) => {
                self.alone_since = None;
                let length = now.saturating_sub(since) + HEARD_WITHIN;
                self.detector.take(now, Evidence::OwnPause { length });
            }
            _ => {}
        }
        if hears {
            self.detector.take(now, Evidence::Tick);
        }
    }

    /// One broken connection is not the end: the voter that hears more leads; where there is none,
    /// those whom only others hear hold no office: they could not ask for anything.
    pub(super) fn act_on_broken_links(&mut self) {
        let (now, me, voters) = (self.now(), self.node.me(), self.voters());
        let broken = self.hearing.behind_broken_links(now, me, &voters);
        if broken.is_empty() || self.decides().is_none() {
            return;
        }
        let rested = |at: Duration| now > at + HAND_OVER_EVERY;
        if self.handed_over.is_none_or(rested)
            && let Some(successor) = self.hearing.better_placed(now, me, &voters)
        {
            self.handed_over = Some(now);
            tracing::warn!(%successor, ?broken, "another voter hears more: it leads");
            let control = self.node.shared.control.clone();
            tokio::spawn(async move { control.hand_over_to(successor).await });
            return;
        }
        for (storage, by) in broken {
            let silent = self.hearing.0.get(&storage);
            if silent.is_none_or(|heard| now <= heard.at + UNREACHED_MAX) {
                continue;
            }
            let by = self.name(by).unwrap_or_else(|| by.to_string());
            let decision = Decision::new(DecisionKind::Stall, wall_ms())
                .about(storage)
                .on_evidence(format!("the controller cannot reach it, though {by} can"));
            self.propose(Job::Stall(storage), decision, move |map| {
                plan::move_offices_off(map, storage)
            });
        }
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
}
