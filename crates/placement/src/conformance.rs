//! What the framework expects of every strategy, as a suite that any of them can run in its tests.
//!
//! Knows nothing about what a strategy is for. Over many small clusters members die, restart,
//! drain, stall and come back, replicas stop, and everything starts anew; after each of these the
//! strategy is asked what should change, as the controller asks it.
//!
//! ```
//! use std::sync::Arc;
//! use tablestore_placement::{PrimaryBackup, conformance};
//!
//! let passed = conformance::strategy(&Arc::new(PrimaryBackup))?;
//! assert!(passed.clusters >= 200 && passed.happenings > 1_000);
//! # Ok::<(), conformance::Broken>(())
//! ```

mod dice;
#[cfg(test)]
mod tests;
mod trial;

use std::fmt;
use std::sync::Arc;

use crate::{Rule, Strategy};

use trial::Trial;

/// Enough that each mix of zones, weights and replicas occurs with each happening, few enough for
/// a second in a test.
const CLUSTERS: u64 = 200;
/// Enough for a few failures on top of each other.
const HAPPENINGS_EACH: u64 = 12;

/// What a strategy has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Requirement {
    /// A rule of the framework, which refuses whatever breaks it.
    Framework(Rule),
    /// `assign` answers once for each partition.
    EveryPartition,
    /// A new partition has as many replicas as a write needs, if there are as many members.
    EnoughReplicas,
    /// `react` speaks of partitions of the table that it is asked about.
    OwnTable,
    /// The same question has the same answer.
    SameAnswer,
    /// What is asked again after the answer was carried out needs nothing more, soon.
    Settles,
    /// Where an in-sync member lives and has reported, somebody serves, if there are offices.
    OfficesFilled,
    /// Who is to hold no office gives it back if an in-sync member that is up could have it.
    OfficesGivenBack,
}

impl Requirement {
    /// Its name, as refusals show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Framework(rule) => rule.name(),
            Self::EveryPartition => "every_partition",
            Self::EnoughReplicas => "enough_replicas",
            Self::OwnTable => "own_table",
            Self::SameAnswer => "same_answer",
            Self::Settles => "settles",
            Self::OfficesFilled => "offices_filled",
            Self::OfficesGivenBack => "offices_given_back",
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A strategy broke a requirement; whoever wrote it mends it. Nothing outlives the suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{requirement} is broken in cluster {cluster}, {after}: {what}")]
pub struct Broken {
    /// Which one.
    pub requirement: Requirement,
    /// The number of the cluster; the same in each run.
    pub cluster: u64,
    /// What had happened.
    pub after: String,
    /// What the strategy answered, or what came of it.
    pub what: String,
}

/// How much a strategy went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Clusters, each with two tables.
    pub clusters: u64,
    /// What happened in all of them together.
    pub happenings: u64,
}

/// Puts a strategy to the test.
///
/// # Errors
/// With the first requirement that it breaks.
pub fn strategy<S: Strategy + 'static>(strategy: &Arc<S>) -> Result<Passed, Broken> {
    let mut passed = Passed::default();
    for cluster in 0..CLUSTERS {
        let mut trial = Trial::new(Arc::<S>::clone(strategy), cluster)?;
        passed.clusters += 1;
        for _ in 0..HAPPENINGS_EACH {
            trial.something_happens()?;
            passed.happenings += 1;
        }
    }
    Ok(passed)
}
