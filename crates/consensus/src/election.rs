//! The fast failover: what this node does when it has seen the leader's process gone, or when a
//! majority does not hear the leader any more.
//!
//! The survivor with the greatest log, then the lowest id, asks for votes at once; any other that
//! has seen the same does so a few tens of milliseconds later if there is still no leader. Whether
//! a vote is given is decided by each voter for itself (see `voting`). Nothing here is needed for
//! safety, and silence is left to raft's own timers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tablestore_placement::{Incarnation, StorageId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::core::Core;
use super::link::LinkEvent;
use super::message::{PeerReply, PeerRequest};
use super::types::{LogId, StoredMembership, Vote};

/// How often voters tell each other the ends of their logs.
const PING_EVERY: Duration = Duration::from_millis(50);
/// Every so many of these times also those that do not vote ask the voters, to know whether they
/// reach them.
const OTHERS_PING_EVERY: u64 = 5;
/// An answer that takes longer is of no use: several round trips around the world.
const PING_MAX: Duration = Duration::from_secs(1);
/// The first survivor that was not the designated one acts after this, the next ones later.
const SECOND_CHANCE_AFTER: Duration = Duration::from_millis(25);
const SECOND_CHANCE_STEP: Duration = Duration::from_millis(10);
const SECOND_CHANCE_STEPS_MAX: u32 = 2;
/// A candidate has this long before another one asks as well.
const CANDIDATE_MAX: Duration = Duration::from_millis(75);

/// What this node learned about another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sighting {
    /// Someone says that a process is gone; to be looked at.
    Hint {
        storage: StorageId,
        incarnation: Incarnation,
    },
    /// It is gone; this node looked.
    Gone { storage: StorageId },
    /// Where a voter's log ends.
    LogEnd {
        storage: StorageId,
        last_log: Option<LogId>,
    },
}

/// Sightings that wait; beyond this they are dropped, as raft's timers remain.
pub(super) const SIGHTINGS_MAX: usize = 1024;

pub(super) struct Elector {
    core: Core,
    log_ends: BTreeMap<u64, Option<LogId>>,
    /// The leader's vote against which this node has acted; never twice against the same.
    acted_on: Option<Vote>,
    /// What to do if there is no leader in time.
    second_chance: Option<SecondChance>,
}

/// Ask for votes at a time, unless there is a leader or someone else has asked since.
#[derive(Debug, Clone, Copy)]
struct SecondChance {
    at: Instant,
    /// This node's vote when this was planned.
    vote: Vote,
    /// Nothing is planned after this; raft's own timers remain.
    last: bool,
}

impl Elector {
    pub(super) fn new(core: Core) -> Self {
        Self {
            core,
            log_ends: BTreeMap::new(),
            acted_on: None,
            second_chance: None,
        }
    }

    /// Runs until the node ends.
    pub(super) async fn run(mut self, mut sightings: mpsc::Receiver<Sighting>) {
        let mut events = self.core.peers.events();
        let mut ping = interval(PING_EVERY);
        let mut pings = 0_u64;
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self
                .second_chance
                .map_or_else(Instant::now, |chance| chance.at);
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => self.link_event(&event).await,
                    None => return,
                },
                sighting = sightings.recv() => match sighting {
                    Some(sighting) => self.sighting(sighting).await,
                    None => return,
                },
                () = sleep_until(due), if self.second_chance.is_some() => self.try_again().await,
                _ = ping.tick() => {
                    pings += 1;
                    self.ping_voters(pings.is_multiple_of(OTHERS_PING_EVERY));
                    self.act_on_silence().await;
                }
            }
        }
    }

    async fn link_event(&mut self, event: &LinkEvent) {
        if let Some((storage, sign)) = event.sign()
            && sign.is_hint()
        {
            self.gone(storage).await;
        } else if let LinkEvent::Up { storage, .. } = event {
            // Raft may be waiting before it tries this node again.
            let _ = self.core.raft.trigger().reset_backoff([storage.0]).await;
        }
    }

    async fn sighting(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::LogEnd { storage, last_log } => {
                self.log_ends.insert(storage.0, last_log);
            }
            Sighting::Gone { storage } => self.gone(storage).await,
            Sighting::Hint {
                storage,
                incarnation,
            } => {
                if self
                    .followed_leader()
                    .is_some_and(|(leader, _)| leader == storage)
                {
                    self.look(storage, incarnation);
                }
            }
        }
    }

    /// Looks after a node beside the loop, and comes back with a sighting.
    fn look(&self, storage: StorageId, incarnation: Incarnation) {
        let core = self.core.clone();
        tokio::spawn(async move {
            let found = core.peers.probe(storage).await;
            if found.sign(incarnation).is_hint() {
                let _ = core.sightings.try_send(Sighting::Gone { storage });
            }
        });
    }

    /// The leader that this node follows, with its vote.
    fn followed_leader(&self) -> Option<(StorageId, Vote)> {
        let metrics = self.core.raft.server_metrics();
        let now = metrics.borrow_watched();
        let leader = now.current_leader.filter(|leader| *leader != now.id)?;
        Some((StorageId(leader), now.vote))
    }

    /// A leader that is cut off is gone, though its heartbeats may still arrive.
    async fn act_on_silence(&mut self) {
        let Some((leader, _)) = self.followed_leader() else {
            return;
        };
        let configs = self.core.voter_configs();
        let me = self.core.me;
        if self.core.reach.is_cut_off(me, leader, &configs) {
            self.gone(leader).await;
        }
    }

    async fn gone(&mut self, storage: StorageId) {
        let Some((_, vote)) = self
            .followed_leader()
            .filter(|(leader, _)| *leader == storage)
        else {
            return;
        };
        if self.acted_on == Some(vote) {
            return;
        }
        let membership = self.membership();
        let me = self.core.me.0;
        self.acted_on = Some(vote);
        self.tell_survivors(&membership, storage);
        if !may_elect(&membership, me, storage.0) {
            return;
        }
        self.log_ends.insert(me, self.core.log.last());
        let order = order_of_candidates(&membership, &self.log_ends, storage.0);
        let place = order.iter().position(|id| *id == me).unwrap_or(order.len());
        tracing::info!(leader = %storage, term = vote.leader_id.term, place, "the leader is gone");
        if place == 0 {
            self.elect().await;
        } else {
            let steps = u32::try_from(place - 1)
                .unwrap_or(u32::MAX)
                .min(SECOND_CHANCE_STEPS_MAX);
            let at = Instant::now() + SECOND_CHANCE_AFTER + SECOND_CHANCE_STEP * steps;
            self.second_chance = Some(SecondChance {
                at,
                vote,
                last: false,
            });
        }
    }

    async fn try_again(&mut self) {
        let Some(chance) = self.second_chance.take() else {
            return;
        };
        let (vote, leader) = {
            let metrics = self.core.raft.server_metrics();
            let now = metrics.borrow_watched();
            (now.vote, now.current_leader)
        };
        if vote == chance.vote {
            self.elect().await;
        } else if leader.is_none() && !chance.last {
            // Another one is asking for votes, on a slow disk: asking as well would disturb it.
            let at = Instant::now() + CANDIDATE_MAX;
            self.second_chance = Some(SecondChance {
                at,
                vote,
                last: true,
            });
        }
    }

    async fn elect(&self) {
        // Raft ends only with the node.
        let _ = self.core.raft.trigger().elect(false).await;
    }

    fn membership(&self) -> std::sync::Arc<StoredMembership> {
        let metrics = self.core.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.clone()
    }

    fn tell_survivors(&self, membership: &StoredMembership, gone: StorageId) {
        let incarnation = self.core.incarnation_of(gone);
        let last_log = self.core.log.last();
        let hint = PeerRequest::CrashHint {
            storage: gone,
            incarnation,
            last_log,
        };
        for voter in membership.voter_ids() {
            if voter != self.core.me.0 && voter != gone.0 {
                let (peers, hint) = (self.core.peers.clone(), hint.clone());
                tokio::spawn(async move { peers.call(StorageId(voter), hint, PING_MAX).await });
            }
        }
    }

    /// Asks the voters whether they are there; a node that does not vote only if `also_others`.
    fn ping_voters(&self, also_others: bool) {
        let membership = self.membership();
        let voters: BTreeSet<StorageId> = membership.voter_ids().map(StorageId).collect();
        let votes = voters.contains(&self.core.me);
        if !votes && !also_others {
            return;
        }
        self.core.reach.asks(&voters);
        let last_log = self.core.log.last();
        for storage in voters.iter().copied().filter(|id| *id != self.core.me) {
            let core = self.core.clone();
            tokio::spawn(async move {
                let ping = PeerRequest::Ping { last_log };
                let reply = core.peers.call(storage, ping, PING_MAX).await;
                let Ok(PeerReply::Pong {
                    last_log,
                    hears,
                    left,
                }) = reply
                else {
                    return;
                };
                core.reach.answered(storage);
                core.reach.says_left(storage, left);
                if votes {
                    core.reach.note(storage, &hears);
                    core.peers.heard(storage, hears);
                    let _ = core
                        .sightings
                        .try_send(Sighting::LogEnd { storage, last_log });
                }
            });
        }
    }
}

/// Whether `me` votes, and a majority can be there without `gone`.
fn may_elect(membership: &StoredMembership, me: u64, gone: u64) -> bool {
    let mut configs = membership.get_joint_config().iter();
    let votes = membership.voter_ids().any(|voter| voter == me);
    votes
        && configs.all(|config| {
            let survivors = config.iter().filter(|id| **id != gone).count();
            survivors > config.len() / 2
        })
}

/// The survivors, best first: greatest known log, then lowest id.
fn order_of_candidates(
    membership: &StoredMembership,
    log_ends: &BTreeMap<u64, Option<LogId>>,
    gone: u64,
) -> Vec<u64> {
    let mut survivors: Vec<u64> = membership.voter_ids().filter(|id| *id != gone).collect();
    survivors.sort_by_key(|id| (Reverse(log_ends.get(id).copied().flatten()), *id));
    survivors.dedup();
    survivors
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::Membership;
    use openraft::vote::RaftLeaderId;

    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;

    fn voters(configs: &[&[u64]]) -> StoredMembership {
        let configs = configs
            .iter()
            .map(|ids| ids.iter().copied().collect())
            .collect();
        StoredMembership::new(
            None,
            Membership::new_with_defaults(configs, BTreeSet::new()),
        )
    }

    fn log_end(index: u64) -> Option<LogId> {
        Some(LogId::new(LeaderId::new(1, 1), index))
    }

    #[test]
    fn the_greatest_log_then_the_lowest_id_comes_first() {
        let membership = voters(&[&[1, 2, 3, 4]]);
        let ends = [(2, log_end(9)), (3, log_end(10)), (4, log_end(10))].into();
        assert_eq!(order_of_candidates(&membership, &ends, 1), [3, 4, 2]);
    }

    #[test]
    fn without_a_majority_nobody_asks_for_votes() {
        assert!(may_elect(&voters(&[&[1, 2, 3]]), 2, 1));
        assert!(!may_elect(&voters(&[&[1, 2]]), 2, 1), "one of two");
        assert!(!may_elect(&voters(&[&[1, 2, 3]]), 4, 1), "a learner");
        assert!(
            !may_elect(&voters(&[&[1, 2, 3], &[1, 2]]), 2, 1),
            "both halves of a change"
        );
    }
}
