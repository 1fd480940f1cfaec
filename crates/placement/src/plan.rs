//! The planners: pure functions from a map to what should change. Each is stateless: a job of many
//! steps is one function that is asked again whenever the map has changed, and says the next step.
//! They know nothing about time: waiting, cool-down and pacing are the caller's.

mod balance;
mod draft;
mod failover;
mod initial;
mod loads;
mod offices;
mod removal;
mod replicas;
mod settling;
mod shares;
mod surplus;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::{AssignmentChange, Change, ClusterMap, Decision, Incarnation, MemberState};
use crate::{PartitionId, Rule, StorageId};

pub use balance::{OfficeCaps, balance_primaries, balance_replicas};
pub(crate) use draft::Draft;
pub use failover::{
    cold_start, move_offices_off, on_member_down, on_members_down, on_replicas_stopped, on_restart,
    on_stall, react_with, remove_dead,
};
pub(crate) use initial::first_assignments;
pub use initial::initial;
pub(crate) use offices::{Seat, fill_seats};
pub use removal::{RemovalBlocked, drain_done, remove, replaced};
pub use replicas::{CopyCaps, CopyingRefused, copying_allowed, drain, fill, rereplicate};
pub use settling::{Settling, Unsettled};
pub use surplus::drop_surplus;

/// What a planner proposes: the pieces of a [`Change`], for one entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// New states of members.
    pub members: Vec<(StorageId, Incarnation, MemberState)>,
    /// New assignments, by partition.
    pub assignments: Vec<AssignmentChange>,
    /// What a strategy asked for and the framework refused; these partitions stay as they are.
    pub refused: Vec<(PartitionId, Rule)>,
    /// Why, in the words of the strategies; distinct, in the order in which they came up.
    pub reasons: Vec<String>,
}

impl Plan {
    /// Whether it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.assignments.is_empty()
    }

    /// Leaves every partition alone that one of these members would serve, with fewer others in its
    /// in-sync set: if that member is gone, nobody else could serve it any more.
    #[must_use]
    pub fn not_relying_on(mut self, map: &ClusterMap, unheard: &BTreeSet<StorageId>) -> Self {
        self.assignments.retain(|change| {
            let next = &change.next;
            let Some(current) = map.assignment(change.partition) else {
                return true;
            };
            let moves = !map.is_filled(current.primary) || current.primary_member() != next.primary;
            let shrinks = current
                .in_sync
                .iter()
                .any(|one| !next.in_sync.contains(one));
            let relies = next
                .primary
                .is_some_and(|primary| unheard.contains(&primary));
            !(relies && (moves || shrinks))
        });
        self
    }

    /// The change that carries this plan out. The reasons follow the decision's own.
    #[must_use]
    pub fn into_change(self, mut decision: Decision) -> Change {
        for reason in self.reasons {
            if !decision.reason.is_empty() {
                decision.reason.push_str("; ");
            }
            decision.reason.push_str(&reason);
        }
        Change {
            decision,
            made_under: None,
            members: self.members,
            assignments: self.assignments,
        }
    }
}
