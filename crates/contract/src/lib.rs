//! What servers and clients of Table Store must agree on, once: names of headers and parameters,
//! codes of problems, limits, types of keys, the definition of a table, and every answer.
//!
//! Knows nothing of connections, nor of what any of it makes a node do. What comes from the other
//! side is kept where this version does not know it, so that nodes and clients of different
//! versions understand each other.

mod cluster;
mod decision;
mod explanation;
pub mod headers;
pub mod limits;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod parameters;
pub mod problem;
mod resources;
mod rows;
mod table;

pub use cluster::{
    AssignmentView, Change, Checksums, ClusterView, Decision, Decisions, Drain, Event, Health,
    Majority, MissingVoter, NodeLeaves, NodeView, PartitionChecksum, PartitionView, Partitions,
    Phase, ReplicaChecksum,
};
pub use decision::{DECISION_KINDS, decision_kinds_markdown};
pub use explanation::{Explanation, PartitionCounts, PartitionNumber, PartitionOutcome};
pub use problem::Problem;
pub use resources::{Advice, ResourceLevel, Resources};
pub use rows::{
    BATCH_LISTS, Batch, BatchResult, BatchResults, BatchWritten, Consistency, PAGE_NEXT_CURSOR,
    PAGE_ROWS, Page, Written,
};
pub use table::{
    Altered, Dropped, KeyDefinition, KeyType, TableAlteration, TableDefinition, TableView, Tables,
};

/// Members of an object that this version does not know.
pub type Document = serde_json::Map<String, serde_json::Value>;
