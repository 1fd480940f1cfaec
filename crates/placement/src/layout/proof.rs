//! What the checker answers: what a plan proves, or why it is refused.
//! Knows nothing about how that is found out.

use thiserror::Error;

/// The largest price, so that no sum overflows; the planner needs a few units.
pub const PRICE_MAX: u64 = 1 << 31;

/// What a certificate proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// How many replicas the plan copies.
    pub copies: u64,
    /// No layout that keeps the rules copies fewer.
    pub bound: u64,
}

impl Proof {
    /// Whether no plan is better.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.copies == self.bound
    }
}

/// Why a plan was refused: it breaks a rule, or claims what is not so. Nothing changed; the caller
/// does not carry it out.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Lists are not as long as there are partitions, nodes or zones, or numbers out of range.
    #[error("the plan does not fit the topology and the current layout")]
    Shape,
    /// A row names nobody, somebody twice, or a node that takes no share.
    #[error("partition {0} is on a node twice, or on one that takes no share")]
    Row(usize),
    /// A partition has too many or too few replicas in a zone.
    #[error("partition {0} is not spread as evenly as zones admit")]
    Spread(usize),
    /// The levels are not those of fair shares.
    #[error("the levels are not those of fair shares")]
    Levels,
    /// A node has neither the floor nor the ceiling of its share.
    #[error("node {0} has neither the floor nor the ceiling of its share")]
    Load(usize),
    /// A node has neither the floor nor the ceiling of its share of primaries.
    #[error("node {0} is primary of too many or too few")]
    Primaries(usize),
    /// The moves are not the difference of the layouts, or a cause is not the first that applies.
    #[error("the moves or their causes are not those of the two layouts")]
    Moves,
    /// The prices prove another bound.
    #[error("the prices prove a bound of {0}")]
    Bound(u64),
}
