//! Keeping the raft group as the map wants it: a task of the leader takes one step through the log
//! and looks again.
//!
//! Which step is next is said by `tablestore_controller`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, ChangeMembers};
use tablestore_controller::{Group, GroupStep, has_caught_up, next_step};
use tablestore_placement::{ClusterMap, MemberState, StorageId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::core::Core;

/// How often the leader looks whether the group fits the map, besides when the map changes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A change of the group that takes longer is looked at anew; it stays in the log.
const CHANGE_MAX: Duration = Duration::from_secs(5);
/// Keeps the raft group fitting the map while this node leads; runs until the node ends.
pub(super) async fn keep_fitting(core: Core, voters_max: usize, rereplicate_after: Duration) {
    let mut map = core.map.clone();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut down_since: BTreeMap<StorageId, Instant> = BTreeMap::new();
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

fn note_down(map: &ClusterMap, down_since: &mut BTreeMap<StorageId, Instant>) {
    let is_down = |id: &StorageId| {
        map.members
            .get(id)
            .is_some_and(|member| member.state == MemberState::Down)
    };
    down_since.retain(|id, _| is_down(id));
    for storage in map.members.keys().filter(|id| is_down(id)) {
        down_since.entry(*storage).or_insert_with(Instant::now);
    }
}

fn group_now(core: &Core, long_dead: BTreeSet<StorageId>) -> Group {
    let metrics = core.raft.metrics();
    let now = metrics.borrow_watched();
    let membership = now.membership_config.membership();
    let last = now.last_log_index.unwrap_or(0);
    let caught_up = now.replication.iter().flatten().filter(|(id, matched)| {
        let matched = matched.as_ref().map_or(0, |id| id.index);
        has_caught_up(matched, last) && core.peers.is_up(StorageId(**id))
    });
    Group {
        me: core.me,
        voters: membership.voter_ids().map(StorageId).collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| (StorageId(*id), node.addr.clone()))
            .collect(),
        in_change: membership.get_joint_config().len() > 1,
        caught_up: caught_up.map(|(id, _)| StorageId(*id)).collect(),
        long_dead,
    }
}

async fn take(core: &Core, step: &GroupStep) -> Result<(), String> {
    let node = |address: &String| BasicNode {
        addr: address.clone(),
    };
    let (change, retain) = match step {
        GroupStep::HandOver => return hand_over(core).await,
        GroupStep::Finish => (ChangeMembers::AddVoterIds(BTreeSet::new()), true),
        GroupStep::AddLearner(id, address) => (
            ChangeMembers::AddNodes([(id.0, node(address))].into()),
            true,
        ),
        GroupStep::SetAddress(id, address) => (
            ChangeMembers::SetNodes([(id.0, node(address))].into()),
            true,
        ),
        GroupStep::Promote(id) => (ChangeMembers::AddVoterIds([id.0].into()), true),
        GroupStep::Replace { old, new } => {
            let add = ChangeMembers::AddVoterIds([new.0].into());
            let remove = ChangeMembers::RemoveVoters([old.0].into());
            (ChangeMembers::Batch(vec![add, remove]), true)
        }
        GroupStep::Demote(id) => (ChangeMembers::RemoveVoters([id.0].into()), true),
        GroupStep::Remove(id) => (ChangeMembers::RemoveNodes([id.0].into()), true),
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
