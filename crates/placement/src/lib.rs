//! The cluster map and the pure rules that change it: strategies, plans, checks.
//!
//! Everything here is a pure function of the map: no clock, no randomness, no I/O, the same
//! answer on every node. A [`Command`] changes a [`ClusterMap`] by [`ClusterMap::apply`];
//! planners ([`plan`]) compute the next [`Change`] from a map, asking the [`Strategy`] of each
//! table; the framework's rules ([`check`]) refuse whatever would be unsafe, whoever planned it.
//! [`explain`] runs the same planners on a copy; [`health`] counts; [`identity`] tells older
//! copies of directories.
//!
//! ```
//! use tablestore_placement::{ClusterId, ClusterMap, Command, Incarnation, Registration};
//! use tablestore_placement::{StorageId, Strategies, plan};
//!
//! let mut map = ClusterMap::empty();
//! map.apply(&Command::Found { cluster: ClusterId(7), at_ms: 0 })?;
//! let name = "n1".to_owned();
//! let (http_address, peer_address) = ("[::1]:7001".to_owned(), "[::1]:8001".to_owned());
//! let (storage, incarnation) = (StorageId(1), Incarnation(1));
//! let (zone, weight, boot, at_ms) = (String::new(), 1, 0, 0);
//! let (start, begun) = (0, Vec::new());
//! map.apply(&Command::Register(Registration {
//!     storage, name, http_address, peer_address, zone, weight, incarnation, start, begun,
//!     boot, at_ms,
//! }))?;
//!
//! // What would be done if it died? A plan is only computed; nothing changes.
//! let plan = plan::on_member_down(&Strategies::built_in(), &map, storage, incarnation);
//! assert_eq!(plan.members.len(), 1);
//! assert!(map.is_live(storage));
//! # Ok::<(), tablestore_placement::Refused>(())
//! ```

mod apply;
pub mod check;
mod command;
mod decision;
pub mod explain;
pub mod health;
pub mod identity;
mod ids;
pub mod layout;
mod map;
pub mod plan;
mod strategy;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use apply::{PARTITIONS_MAX, REPLICAS_MAX, TABLES_MAX, validate_definition, validate_name};
pub use check::Rule;
pub use command::{
    Applied, AssignmentChange, Change, Command, MadeUnder, NextAssignment, Refused, Registration,
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
    DataPath, Happening, NewTable, PrimaryBackup, Reaction, Reports, Strategies, Strategy,
    StrategyUnknown,
};

/// The name of the default strategy.
pub const PRIMARY_BACKUP: &str = "primary-backup";
