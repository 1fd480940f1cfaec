//! What to do when members die, restart, stall or hand over: the strategies decide, the framework
//! checks.

use super::{Draft, Plan};
use crate::{
    ClusterMap, Happening, Incarnation, MemberState, PartitionId, Reports, StorageId, Strategies,
};

/// One member is dead: it is marked down, leaves the in-sync sets where the minimum allows, and
/// its offices go to in-sync members, evenly spread; for all partitions in one plan. A primary that
/// takes over is left with the in-sync members that live, however few: writes wait for the
/// minimum, strong reads do not. If the map
/// knows a newer start of it, the evidence is out of date and the plan is empty.
#[must_use]
pub fn on_member_down(
    strategies: &Strategies,
    map: &ClusterMap,
    storage: StorageId,
    incarnation: Incarnation,
) -> Plan {
    on_members_down(strategies, map, &[(storage, incarnation)])
}

/// The same for several at once.
#[must_use]
pub fn on_members_down(
    strategies: &Strategies,
    map: &ClusterMap,
    dead: &[(StorageId, Incarnation)],
) -> Plan {
    let current = |(storage, incarnation): &&(StorageId, Incarnation)| {
        map.members
            .get(storage)
            .is_some_and(|member| member.incarnation == *incarnation)
    };
    let dead: Vec<StorageId> = dead
        .iter()
        .filter(current)
        .map(|(storage, _)| *storage)
        .collect();
    react_with(strategies, map, &Happening::MembersDown(&dead))
}

/// Members that are down leave the in-sync sets in which they had to stay so far, and offices that
/// nobody could take over so far are taken over.
#[must_use]
pub fn remove_dead(strategies: &Strategies, map: &ClusterMap) -> Plan {
    let down = map.members.values().filter(|member| !member.is_live());
    let down: Vec<StorageId> = down.map(|member| member.storage).collect();
    react_with(strategies, map, &Happening::MembersDown(&down))
}

/// A member has started anew: the offices of its earlier start go to other in-sync members, or to
/// its new start where there is none, under a new epoch.
#[must_use]
pub fn on_restart(strategies: &Strategies, map: &ClusterMap, storage: StorageId) -> Plan {
    react_with(strategies, map, &Happening::Restarted(storage))
}

/// After a cold start: vacant offices go to the in-sync member with the furthest log among those
/// that reported.
#[must_use]
pub fn cold_start(strategies: &Strategies, map: &ClusterMap, reports: &Reports) -> Plan {
    react_with(strategies, map, &Happening::ColdStart(reports))
}

/// A member is to hold no office (it drains or stops): those that an in-sync member that is up can
/// take move there; the member stays in the in-sync sets.
#[must_use]
pub fn move_offices_off(strategies: &Strategies, map: &ClusterMap, storage: StorageId) -> Plan {
    let happening = Happening::OfficesOff {
        member: storage,
        leaves: false,
    };
    react_with(strategies, map, &happening)
}

/// A member lives but does not work: its offices move, and it leaves the in-sync sets where the
/// minimum allows, so that no write waits for it.
#[must_use]
pub fn on_stall(strategies: &Strategies, map: &ClusterMap, storage: StorageId) -> Plan {
    let happening = Happening::OfficesOff {
        member: storage,
        leaves: true,
    };
    react_with(strategies, map, &happening)
}

/// Replicas of live members stopped for good: each leaves the in-sync set of its partition, also
/// below the table's minimum, and an office that it holds moves to an in-sync member that works.
/// A partition of which every in-sync replica has stopped stays as it is.
#[must_use]
pub fn on_replicas_stopped(
    strategies: &Strategies,
    map: &ClusterMap,
    stopped: &[(PartitionId, StorageId)],
) -> Plan {
    let happening = Happening::ReplicasStopped(stopped);
    react_with(strategies, map, &happening)
}

/// Asks the strategy of each table what to do about a happening. Members that are said to be down
/// are marked so in the plan. A table whose strategy is not among these stays as it is, and the
/// plan says so.
pub fn react_with(strategies: &Strategies, map: &ClusterMap, happening: &Happening<'_>) -> Plan {
    let mut draft = Draft::new(map);
    react_in(&mut draft, strategies, happening);
    draft.finish()
}

/// The same within a larger plan.
pub(crate) fn react_in(draft: &mut Draft<'_>, strategies: &Strategies, happening: &Happening<'_>) {
    if let Happening::MembersDown(dead) = happening {
        dead.iter()
            .for_each(|storage| draft.set_state(*storage, MemberState::Down));
    }
    if let Happening::ReplicasStopped(stopped) = happening {
        for (partition, storage) in *stopped {
            draft.has_stopped(*partition, *storage);
        }
    }
    for table in draft.tables() {
        let strategy = match strategies.named(&table.definition.strategy) {
            Ok(strategy) => strategy,
            Err(unknown) => {
                draft.because(&format!("table {} stays as it is: {unknown}", table.name));
                continue;
            }
        };
        let Some(current) = draft.map().tables.get(&table.id) else {
            continue;
        };
        for reaction in strategy.react(draft.map(), current, happening) {
            // A strategy answers for its own table only.
            if reaction.partition.table != table.id {
                continue;
            }
            match draft.set(reaction.partition, reaction.next) {
                Ok(()) => draft.because(&reaction.reason),
                Err(rule) => draft.refused(reaction.partition, rule),
            }
        }
    }
}
