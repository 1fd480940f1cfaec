//! The trait of a failure detector. Knows nothing about how one concludes.

use std::time::Duration;

use crate::{Belief, Evidence, Incarnation};

/// Takes evidence of nodes and answers what to believe of them.
///
/// # Contract
///
/// - `now` never decreases from call to call. Between [`Evidence::Tick`]s lies less time than a
///   heartbeat; before a tick, all that has already arrived is taken, **sockets before timers**.
/// - An incarnation that was once believed dead stays dead, whatever is seen of it afterwards;
///   a later incarnation starts afresh.
/// - A single refusal, a closed connection, a failed or a successful connect alone convict nobody.
/// - An observer that was itself late convicts nobody for the time of its own pause.
///
/// With the feature `testing`, `tablestore_health::testing::check_detector` runs these rules
/// against an implementation.
pub trait Detector {
    /// How nodes are called.
    type Node;

    /// Takes one piece of evidence, seen at `now`.
    fn take(&mut self, now: Duration, evidence: Evidence<Self::Node>);

    /// What is believed at `now` of that incarnation of `node`.
    fn belief(&self, now: Duration, node: &Self::Node, incarnation: Incarnation) -> Belief;
}
