//! Members leave for good.

use super::{Draft, Plan};
use crate::{Assignment, ClusterMap, MemberState, NextAssignment, StorageId};

/// The member still holds in-sync places or offices. Drain it, or wait until its replicas are
/// replaced; then ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("member {storage} still holds an in-sync place in {partitions} partitions")]
pub struct RemovalBlocked {
    /// The member.
    pub storage: StorageId,
    /// In how many partitions.
    pub partitions: usize,
}

/// Whether a member holds nothing any more, so that its machine may be switched off.
#[must_use]
pub fn drain_done(map: &ClusterMap, storage: StorageId) -> bool {
    map.partitions()
        .all(|(_, _, assignment)| !assignment.involves(storage))
}

/// Members whose name was taken over by a new data directory. They do not come back by themselves:
/// their replicas are to be replaced ([`super::rereplicate`]) and they are to be removed.
#[must_use]
pub fn replaced(map: &ClusterMap) -> Vec<StorageId> {
    let gone = |member: &&crate::Member| member.replaced_by.is_some() && !member.is_live();
    map.members
        .values()
        .filter(gone)
        .map(|member| member.storage)
        .collect()
}

/// Removes a member for good and retires its storage id; places of replicas that never were, or
/// are no longer, in sync go with it.
pub fn remove(map: &ClusterMap, storage: StorageId) -> Result<Plan, RemovalBlocked> {
    let needed =
        |a: &Assignment| a.in_sync.contains(&storage) || a.primary_member() == Some(storage);
    let partitions = map.partitions().filter(|(_, _, a)| needed(a)).count();
    if partitions > 0 {
        return Err(RemovalBlocked {
            storage,
            partitions,
        });
    }
    let mut draft = Draft::new(map);
    // A member that leaves does not count for the spread over zones any more.
    if map.is_live(storage) {
        draft.set_state(storage, MemberState::Draining);
    }
    for (partition, _) in draft.partitions() {
        let current = draft.assignment(partition);
        if current.replicas.contains(&storage) {
            let mut next = NextAssignment::keep(&current);
            next.replicas.retain(|s| *s != storage);
            if let Err(rule) = draft.set(partition, next) {
                draft.refused(partition, rule);
            }
        }
    }
    let mut plan = draft.finish();
    if let Some(member) = map.members.get(&storage) {
        plan.members
            .push((storage, member.incarnation, MemberState::Left));
    }
    Ok(plan)
}
