//! The cluster map and the pure rules that change it.
//!
//! Knows nothing about sockets, disks and clocks, nor how rows are replicated.
#![doc = include_str!("../README.md")]
#![deny(clippy::host_endian_bytes)]

mod apply;
pub mod check;
mod command;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod decision;
pub mod explain;
pub mod health;
pub mod identity;
mod ids;
pub mod layout;
mod map;
pub mod plan;
pub mod recover;
mod strategy;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use apply::{PARTITIONS_MAX, REPLICAS_MAX, TABLES_MAX, validate_definition, validate_name};
pub use check::Rule;
pub use command::{
    Alteration, Applied, AssignmentChange, Change, Command, MadeUnder, NextAssignment, Refused,
    Registration,
};
pub use decision::{CHANGES_KEPT, DECISIONS_KEPT, Decision, DecisionKind, PartitionChange, Phase};
pub use ids::{
    AssignmentVersion, ClusterId, Epoch, Incarnation, MapVersion, PartitionId, StorageId, TableId,
};
pub use map::{
    Assignment, ClusterMap, FailureDomain, KeyDefinition, KeyType, Layout, MAP_FORMAT, Member,
    MemberState, Office, Table, TableDefinition,
};
pub use strategy::{
    Active, DataPath, Happening, NewTable, Partition, PrimaryBackup, Reaction, Reports, Strategies,
    Strategy, StrategyUnknown,
};

/// The name of the strategy in which every replica takes reads and writes.
pub const ACTIVE: &str = "active";
/// The name of the strategy in which one owner serves each partition from shared storage.
pub const PARTITION: &str = "partition";
/// The name of the default strategy.
pub const PRIMARY_BACKUP: &str = "primary-backup";
