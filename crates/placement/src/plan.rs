//! The planners: pure functions from a map to what should change. Each is stateless: a job of many
//! steps is one function that is asked again whenever the map has changed, and says the next step.
//! They know nothing about time: waiting, cool-down and pacing are the caller's.

mod balance;
mod draft;
mod failover;
mod initial;
mod loads;
mod obstacles;
mod offices;
mod removal;
mod replicas;
mod settling;
mod shares;
mod surplus;
mod target;
#[cfg(test)]
mod tests;
mod trusted;

use crate::{AssignmentChange, Change, Decision, Incarnation, MemberState};
use crate::{PartitionId, Rule, StorageId};

pub use balance::{OfficeCaps, balance_owners, balance_primaries, balance_replicas};
pub(crate) use draft::Draft;
pub use failover::{
    cold_start, move_offices_off, on_member_down, on_members_down, on_replicas_stopped, on_restart,
    on_stall, react_with, remove_dead,
};
pub(crate) use initial::first_assignments;
pub use initial::initial;
pub use obstacles::{Cause, Obstacle, drain_obstacles, places_left};
pub(crate) use offices::{Seat, fill_seats};
pub use removal::{RemovalBlocked, drain_done, remove, replaced};
pub use replicas::{CopyCaps, CopyingRefused, copying_allowed, drain, fill, rereplicate};
pub use settling::{Settling, Unsettled};
pub use surplus::{drop_surplus, order_of_leaving};
pub use trusted::Trusted;

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
