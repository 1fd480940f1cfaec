//! Layouts: which node holds which partition, planned at the exact optimum and proven so.
//!
//! Knows nothing about cluster maps, tables, strategies, epochs or how rows are copied: nodes are
//! dense numbers with a weight, a zone and a state, and a layout is a flat list of such numbers.
//! [`of_table`] makes one from a map.
//!
//! What is optimal here: of all layouts that meet the rules below, the one with the fewest new
//! replicas beside the current layout.
//!
//! 1. A partition has as many replicas as asked for, or as there are nodes that take any.
//! 2. Its replicas are spread over zones as evenly as the sizes of the zones admit: in distinct
//!    zones whenever there are enough.
//! 3. Every node has the floor or the ceiling of its share. The shares are those by weight,
//!    water-filled: what a zone or a node cannot take goes to the others, by weight.
//! 4. Of the replicas that a node has, it is the primary of one in R, rounded down or up.
//!
//! [`plan`] is exact: there is no faster mode that is not. Every [`Plan`] carries a
//! [`Certificate`]; [`check`] verifies it without the planner.

mod causes;
mod checker;
mod cluster;
mod fill;
mod flow;
mod planner;
mod primaries;
mod proof;
mod search;
mod settle;
mod shares;
mod steps;
#[cfg(test)]
mod tests;
mod topology;
mod weakest;
mod what_if;

pub use checker::check;
pub use cluster::{MapUnfit, TablePlacement, of_table};
pub use planner::{Cause, Certificate, Level, Move, Plan, PlanRefused, plan};
pub use proof::{PRICE_MAX, Proof, Refusal};
pub use steps::{Budget, Copy, Holdings, Step, next_steps};
pub use topology::{
    NODES_MAX, NONE, Node, NodeState, PARTITIONS_MAX, Placement, PlacementInvalid, REPLICAS_MAX,
    Topology, TopologyInvalid,
};
pub use weakest::{Failure, Weakness, weakest_points};
pub use what_if::{Aftermath, Load, what_if};
