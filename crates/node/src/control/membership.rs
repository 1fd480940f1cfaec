//! Who belongs to the raft group: every member of the map as learner or voter.
//!
//! The next single step is computed by a pure function; a task of the leader takes it through the
//! log and looks again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, ChangeMembers};
use tablestore_placement::{ClusterMap, Member, MemberState, StorageId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::core::Core;

/// How often the leader looks whether the group fits the map, besides when the map changes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A change of the group that takes longer is looked at anew; it stays in the log.
const CHANGE_MAX: Duration = Duration::from_secs(5);
/// A learner this far behind is not made a voter.
const LAG_MAX: u64 = 64;

/// What the leader knows about the raft group.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) me: u64,
    pub(super) voters: BTreeSet<u64>,
    /// All nodes, voters included, with their addresses.
    pub(super) nodes: BTreeMap<u64, String>,
    /// A change has been begun and not finished.
    pub(super) in_change: bool,
    /// Learners that are connected and have nearly everything.
    pub(super) caught_up: BTreeSet<u64>,
    /// Voters that are down for longer than one waits before replacing.
    pub(super) long_dead: BTreeSet<u64>,
}

/// One change of the raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Finish a change that an earlier leader began.
    Finish,
    AddLearner(u64, String),
    /// The node has moved.
    SetAddress(u64, String),
    Promote(u64),
    /// A new voter for an old one, in one change.
    Replace {
        old: u64,
        new: u64,
    },
    /// A voter that left and that nobody replaces.
    Demote(u64),
    Remove(u64),
    /// This node has left the cluster and must not lead.
    HandOver,
}

/// The next step, or none if the group fits.
pub(super) fn next_step(map: &ClusterMap, group: &Group, voters_max: usize) -> Option<Step> {
    if group.in_change {
        return Some(Step::Finish);
    }
    let belongs = |id: u64| {
        let member = map.members.get(&StorageId(id));
        member.is_some_and(|member| member.state != MemberState::Left)
            && !map.retired.contains(&StorageId(id))
    };
    let members = map
        .members
        .values()
        .filter(|member| belongs(member.storage.0));
    for member in members {
        match group.nodes.get(&member.storage.0) {
            None => {
                return Some(Step::AddLearner(
                    member.storage.0,
                    member.peer_address.clone(),
                ));
            }
            Some(address) if *address != member.peer_address => {
                return Some(Step::SetAddress(
                    member.storage.0,
                    member.peer_address.clone(),
                ));
            }
            Some(_) => {}
        }
    }
    let candidate = best_learner(map, group);
    if let Some(gone) = group.voters.iter().copied().find(|id| !belongs(*id)) {
        return Some(match candidate {
            _ if gone == group.me && group.voters.len() > 1 => Step::HandOver,
            Some(new) => Step::Replace { old: gone, new },
            None if group.voters.len() > 1 => Step::Demote(gone),
            None => return None,
        });
    }
    if let Some(new) = candidate {
        if group.voters.len() < voters_max {
            return Some(Step::Promote(new));
        }
        let dead = group
            .long_dead
            .iter()
            .copied()
            .find(|id| group.voters.contains(id));
        if let Some(old) = dead {
            return Some(Step::Replace { old, new });
        }
    }
    let learners = group
        .nodes
        .keys()
        .copied()
        .filter(|id| !group.voters.contains(id));
    learners
        .into_iter()
        .find(|id| !belongs(*id))
        .map(Step::Remove)
}

/// The learner that would make the best voter: up, caught up, in the zone with the fewest voters.
fn best_learner(map: &ClusterMap, group: &Group) -> Option<u64> {
    let zone_of = |id: &u64| {
        map.members
            .get(&StorageId(*id))
            .map(|member| member.zone.as_str())
    };
    let crowd = |member: &Member| {
        let same = |id: &&u64| zone_of(id) == Some(member.zone.as_str());
        // Without a zone every node is a failure domain of its own.
        let zoned = !member.zone.is_empty();
        if zoned {
            group.voters.iter().filter(same).count()
        } else {
            0
        }
    };
    let eligible = map.members.values().filter(|member| {
        let id = member.storage.0;
        member.state == MemberState::Up
            && group.nodes.contains_key(&id)
            && !group.voters.contains(&id)
            && group.caught_up.contains(&id)
    });
    eligible
        .min_by_key(|member| (crowd(member), member.storage))
        .map(|member| member.storage.0)
}

/// Keeps the raft group fitting the map while this node leads; runs until the node ends.
pub(super) async fn keep_fitting(core: Core, voters_max: usize, rereplicate_after: Duration) {
    let mut map = core.map.clone();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut down_since: BTreeMap<u64, Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            changed = map.changed() => if changed.is_err() { return },
        }
        if !core.leadership.borrow().is_me_and_ready {
            down_since.clear();
            continue;
        }
        let current = map.borrow_and_update().clone();
        note_down(&current, &mut down_since);
        let long_dead = down_since
            .iter()
            .filter(|(_, since)| since.elapsed() >= rereplicate_after);
        let group = group_now(&core, long_dead.map(|(id, _)| *id).collect());
        if let Some(step) = next_step(&current, &group, voters_max) {
            tracing::info!(?step, "changing the raft group");
            match timeout(CHANGE_MAX, take(&core, &step)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::info!(?step, error, "the raft group did not change"),
                Err(_) => tracing::warn!(?step, "a change of the raft group takes long"),
            }
        }
    }
}

fn note_down(map: &ClusterMap, down_since: &mut BTreeMap<u64, Instant>) {
    let is_down = |id: &u64| {
        map.members
            .get(&StorageId(*id))
            .is_some_and(|member| member.state == MemberState::Down)
    };
    down_since.retain(|id, _| is_down(id));
    for storage in map.members.keys().filter(|storage| is_down(&storage.0)) {
        down_since.entry(storage.0).or_insert_with(Instant::now);
    }
}

fn group_now(core: &Core, long_dead: BTreeSet<u64>) -> Group {
    let metrics = core.raft.metrics();
    let now = metrics.borrow_watched();
    let membership = now.membership_config.membership();
    let last = now.last_log_index.unwrap_or(0);
    let caught_up = now.replication.iter().flatten().filter(|(id, matched)| {
        let matched = matched.as_ref().map_or(0, |id| id.index);
        matched + LAG_MAX >= last && core.peers.is_up(StorageId(**id))
    });
    Group {
        me: core.me.0,
        voters: membership.voter_ids().collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| (*id, node.addr.clone()))
            .collect(),
        in_change: membership.get_joint_config().len() > 1,
        caught_up: caught_up.map(|(id, _)| *id).collect(),
        long_dead,
    }
}

async fn take(core: &Core, step: &Step) -> Result<(), String> {
    let node = |address: &String| BasicNode {
        addr: address.clone(),
    };
    let (change, retain) = match step {
        Step::HandOver => return hand_over(core).await,
        Step::Finish => (ChangeMembers::AddVoterIds(BTreeSet::new()), true),
        Step::AddLearner(id, address) => {
            (ChangeMembers::AddNodes([(*id, node(address))].into()), true)
        }
        Step::SetAddress(id, address) => {
            (ChangeMembers::SetNodes([(*id, node(address))].into()), true)
        }
        Step::Promote(id) => (ChangeMembers::AddVoterIds([*id].into()), true),
        Step::Replace { old, new } => {
            let add = ChangeMembers::AddVoterIds([*new].into());
            let remove = ChangeMembers::RemoveVoters([*old].into());
            (ChangeMembers::Batch(vec![add, remove]), true)
        }
        Step::Demote(id) => (ChangeMembers::RemoveVoters([*id].into()), true),
        Step::Remove(id) => (ChangeMembers::RemoveNodes([*id].into()), true),
    };
    let changed = core.raft.change_membership(change, retain).await;
    changed.map(|_| ()).map_err(|error| error.to_string())
}

/// Hands the leadership to a voter.
pub(super) async fn hand_over_to(core: &Core, successor: StorageId) -> Result<(), String> {
    tracing::info!(%successor, "handing over");
    let handed = core.raft.trigger().transfer_leader(successor.0).await;
    handed.map_err(|error| error.to_string())
}

/// Hands the leadership to the voter that has most of the log, if there is one that answers.
pub(super) async fn hand_over(core: &Core) -> Result<(), String> {
    let successor = {
        let metrics = core.raft.metrics();
        let now = metrics.borrow_watched();
        let voters: BTreeSet<u64> = now.membership_config.voter_ids().collect();
        let replication = now.replication.iter().flatten();
        let reachable = replication
            .filter(|(id, _)| voters.contains(id) && **id != core.me.0)
            .filter(|(id, _)| core.peers.is_up(StorageId(**id)));
        reachable
            .max_by_key(|(_, matched)| **matched)
            .map(|(id, _)| *id)
    };
    let Some(successor) = successor else {
        return Err("no other voter answers".to_owned());
    };
    hand_over_to(core, StorageId(successor)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::Incarnation;

    fn member(id: u64, zone: &str, state: MemberState) -> Member {
        Member {
            storage: StorageId(id),
            name: format!("n{id}"),
            http_address: String::new(),
            peer_address: format!("127.0.0.1:{id}"),
            zone: zone.to_owned(),
            weight: 1,
            start: 0,
            incarnation: Incarnation(1),
            boot: 1,
            state,
            since_ms: 0,
            replaced_by: None,
        }
    }

    fn map(members: &[(u64, &str, MemberState)]) -> ClusterMap {
        let mut map = ClusterMap::empty();
        for (id, zone, state) in members {
            map.members
                .insert(StorageId(*id), member(*id, zone, *state));
        }
        map
    }

    /// Node 1 leads, all are connected and caught up.
    fn group(voters: &[u64], learners: &[u64]) -> Group {
        let all = voters.iter().chain(learners);
        Group {
            me: 1,
            voters: voters.iter().copied().collect(),
            nodes: all
                .clone()
                .map(|id| (*id, format!("127.0.0.1:{id}")))
                .collect(),
            caught_up: all.copied().collect(),
            ..Group::default()
        }
    }

    use MemberState::{Down, Left, Up};

    #[test]
    fn a_new_member_learns_first_and_votes_when_it_has_caught_up() {
        let map = map(&[(1, "", Up), (2, "", Up)]);
        let step = next_step(&map, &group(&[1], &[]), 5);
        assert_eq!(step, Some(Step::AddLearner(2, "127.0.0.1:2".to_owned())));
        let mut learning = group(&[1], &[2]);
        learning.caught_up.clear();
        assert_eq!(next_step(&map, &learning, 5), None);
        assert_eq!(
            next_step(&map, &group(&[1], &[2]), 5),
            Some(Step::Promote(2))
        );
        assert_eq!(next_step(&map, &group(&[1, 2], &[]), 5), None);
    }

    #[test]
    fn voters_are_spread_over_zones() {
        let map = map(&[
            (1, "r/a", Up),
            (2, "r/a", Up),
            (3, "r/b", Up),
            (4, "r/c", Up),
        ]);
        let step = next_step(&map, &group(&[1], &[2, 3, 4]), 3);
        assert_eq!(step, Some(Step::Promote(3)));
        let step = next_step(&map, &group(&[1, 3], &[2, 4]), 3);
        assert_eq!(step, Some(Step::Promote(4)));
        assert_eq!(next_step(&map, &group(&[1, 3, 4], &[2]), 3), None);
    }

    #[test]
    fn a_dead_voter_is_replaced_late_and_only_by_a_learner() {
        let map = map(&[(1, "", Up), (2, "", Down), (3, "", Up), (4, "", Up)]);
        let full = group(&[1, 2, 3], &[4]);
        assert_eq!(next_step(&map, &full, 3), None);
        let dead = Group {
            long_dead: [2].into(),
            ..full
        };
        assert_eq!(
            next_step(&map, &dead, 3),
            Some(Step::Replace { old: 2, new: 4 })
        );
        let nobody = Group {
            caught_up: [1, 3].into(),
            ..dead
        };
        assert_eq!(
            next_step(&map, &nobody, 3),
            None,
            "voters never become fewer by it"
        );
    }

    #[test]
    fn who_left_is_replaced_or_else_removed() {
        let three = map(&[(1, "", Up), (2, "", Left), (3, "", Up)]);
        let step = next_step(&three, &group(&[1, 2], &[3]), 2);
        assert_eq!(step, Some(Step::Replace { old: 2, new: 3 }));
        assert_eq!(
            next_step(&three, &group(&[1, 3], &[2]), 2),
            Some(Step::Remove(2))
        );
        let lonely = map(&[(1, "", Up), (2, "", Left)]);
        assert_eq!(
            next_step(&lonely, &group(&[1, 2], &[]), 5),
            Some(Step::Demote(2))
        );
    }

    #[test]
    fn a_leader_that_left_hands_over_first() {
        let map = map(&[(1, "", Left), (2, "", Up), (3, "", Up)]);
        assert_eq!(
            next_step(&map, &group(&[1, 2, 3], &[]), 5),
            Some(Step::HandOver)
        );
    }

    #[test]
    fn l11_an_unfinished_change_is_finished_before_anything_else() {
        let map = map(&[(1, "", Up), (2, "", Up)]);
        let halfway = Group {
            in_change: true,
            ..group(&[1], &[])
        };
        assert_eq!(next_step(&map, &halfway, 5), Some(Step::Finish));
    }

    #[test]
    fn a_node_that_moved_is_followed() {
        let map = map(&[(1, "", Up)]);
        let mut moved = group(&[1], &[]);
        moved.nodes.insert(1, "127.0.0.1:99".to_owned());
        let step = next_step(&map, &moved, 5);
        assert_eq!(step, Some(Step::SetAddress(1, "127.0.0.1:1".to_owned())));
    }
}
