//! Plans as values: what is to be computed from whichever map a decision is applied to.
//!
//! Knows nothing of evidence and of when a plan is asked for.

use tablestore_placement::plan::{self, Plan};
use tablestore_placement::{ClusterMap, Incarnation, MapVersion, MemberState, PartitionId};
use tablestore_placement::{Member, StorageId, Strategies};

/// What is planned. On a map for which there is nothing left to do the plan is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// The failover of one start of a member.
    MemberDown {
        /// The member.
        storage: StorageId,
        /// The start that is gone.
        incarnation: Incarnation,
    },
    /// Someone takes the offices of an earlier start.
    Restart {
        /// The member.
        storage: StorageId,
    },
    /// A member that does no work holds no office and is not waited for.
    Stall {
        /// The member.
        storage: StorageId,
    },
    /// A member that works holds no office.
    OfficesOff {
        /// The member.
        storage: StorageId,
    },
    /// Replicas that have stopped count no more.
    ReplicasStopped {
        /// Which, each with its member.
        replicas: Vec<(PartitionId, StorageId)>,
    },
    /// A member without room holds no office and gets nothing new; one that has room again may.
    Room {
        /// The member.
        storage: StorageId,
        /// Its start.
        incarnation: Incarnation,
        /// Whether its disk is full.
        full: bool,
    },
    /// This and nothing else; on another map it is out of date.
    Exactly {
        /// The map that it was made from.
        version: MapVersion,
        /// What to change.
        plan: Plan,
    },
}

impl Planned {
    /// What is to be changed in this map.
    #[must_use]
    pub fn plan(&self, strategies: &Strategies, map: &ClusterMap) -> Plan {
        match self {
            Self::MemberDown {
                storage,
                incarnation,
            } => plan::on_member_down(strategies, map, *storage, *incarnation),
            Self::Restart { storage } => plan::on_restart(strategies, map, *storage),
            Self::Stall { storage } => plan::on_stall(strategies, map, *storage),
            Self::OfficesOff { storage } => plan::move_offices_off(strategies, map, *storage),
            Self::ReplicasStopped { replicas } => {
                plan::on_replicas_stopped(strategies, map, replicas)
            }
            Self::Room {
                storage,
                incarnation,
                full,
            } => room(strategies, map, *storage, *incarnation, *full),
            Self::Exactly { version, plan } if map.version == *version => plan.clone(),
            Self::Exactly { .. } => Plan::default(),
        }
    }
}

fn room(
    strategies: &Strategies,
    map: &ClusterMap,
    storage: StorageId,
    incarnation: Incarnation,
    full: bool,
) -> Plan {
    let (mut plan, next) = if full {
        (
            plan::on_stall(strategies, map, storage),
            MemberState::Suspect,
        )
    } else {
        (Plan::default(), MemberState::Up)
    };
    // A member that drains is given nothing in any case, and its drain goes on.
    let changes = |member: &Member| member.state != next && member.state != MemberState::Draining;
    if map.members.get(&storage).is_some_and(changes) {
        plan.members.push((storage, incarnation, next));
    }
    plan
}
