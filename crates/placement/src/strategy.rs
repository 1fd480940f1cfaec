//! What a failover strategy answers: which data path it uses, and who. It never sends, never
//! waits, and may be wrong: the framework checks whatever it returns (see [`crate::check`]).

mod active;
mod partition;
mod primary_backup;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::{
    ACTIVE, ClusterMap, Epoch, NextAssignment, PARTITION, PRIMARY_BACKUP, PartitionId, StorageId,
    Table, TableDefinition, TableId,
};

pub use active::Active;
pub use partition::Partition;
pub use primary_backup::PrimaryBackup;

/// The ways in which rows are replicated; they are part of the framework, not of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataPath {
    /// A primary ships its log to the in-sync set.
    PrimaryBackup,
    /// Every replica takes reads and writes; versions are merged.
    Active,
    /// One owner over shared storage.
    SingleOwner,
}

impl DataPath {
    /// Whether one member serves each partition, by an office that moves when it fails.
    #[must_use]
    pub fn has_offices(self) -> bool {
        self != Self::Active
    }

    /// Whether replicas hold copies of the rows; else these are in a storage that all members see,
    /// and whoever holds the office is the only replica.
    #[must_use]
    pub fn has_copies(self) -> bool {
        self != Self::SingleOwner
    }
}

impl TableDefinition {
    /// How the table's rows are replicated. It follows from the name of its strategy alone, so
    /// that nodes agree on it whatever strategies they have registered.
    #[must_use]
    pub fn data_path(&self) -> DataPath {
        match self.strategy.as_str() {
            ACTIVE => DataPath::Active,
            PARTITION => DataPath::SingleOwner,
            _ => DataPath::PrimaryBackup,
        }
    }
}

/// Decides who serves a table. Pure: the same answer to the same question on every node.
pub trait Strategy: Debug + Send + Sync {
    /// How its tables are replicated.
    fn data_path(&self) -> DataPath;

    /// The first assignment of each partition of a new table, in order.
    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment>;

    /// What should change in a table of `map` after something happened; the map shows it already.
    /// Partitions that are not mentioned stay as they are.
    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction>;
}

/// A table that is about to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewTable<'a> {
    /// The id that it will have.
    pub id: TableId,
    /// What it is to be.
    pub definition: &'a TableDefinition,
}

/// For each member that answered, the end of its log in each partition: (epoch, index).
pub type Reports = BTreeMap<StorageId, Vec<(PartitionId, Epoch, u64)>>;

/// What a strategy reacts to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// These members are down.
    MembersDown(&'a [StorageId]),
    /// This member has started anew, so its offices are vacant.
    Restarted(StorageId),
    /// This member lives but should hold no office; if `leaves`, it should not be waited for
    /// either.
    OfficesOff {
        /// The member.
        member: StorageId,
        /// Whether it is to leave the in-sync sets as well.
        leaves: bool,
    },
    /// These members live, but each has a replica that stopped for good: it must not be waited
    /// for in that partition, nor hold its office.
    ReplicasStopped(&'a [(PartitionId, StorageId)]),
    /// Offices are vacant, and these members have said what they have.
    ColdStart(&'a Reports),
}

/// A new assignment of one partition, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The partition.
    pub partition: PartitionId,
    /// Its new assignment.
    pub next: NextAssignment,
    /// Why, for people.
    pub reason: String,
}

/// A table names a strategy that is not registered. Register it on every node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no strategy named {name}")]
pub struct StrategyUnknown {
    /// The name.
    pub name: String,
}

/// Strategies by name.
#[derive(Clone, Debug, Default)]
pub struct Strategies {
    by_name: BTreeMap<String, Arc<dyn Strategy>>,
}

impl Strategies {
    /// The built-in ones.
    #[must_use]
    pub fn built_in() -> Self {
        let mut strategies = Self::default();
        strategies.register(ACTIVE, Arc::new(Active));
        strategies.register(PARTITION, Arc::new(Partition));
        strategies.register(PRIMARY_BACKUP, Arc::new(PrimaryBackup));
        strategies
    }

    /// Adds a strategy; the one that had the name before is returned.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        strategy: Arc<dyn Strategy>,
    ) -> Option<Arc<dyn Strategy>> {
        self.by_name.insert(name.into(), strategy)
    }

    /// The strategy of that name.
    pub fn named(&self, name: &str) -> Result<&dyn Strategy, StrategyUnknown> {
        let found = self.by_name.get(name).map(Arc::as_ref);
        found.ok_or_else(|| StrategyUnknown {
            name: name.to_owned(),
        })
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
