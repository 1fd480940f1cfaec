//! The Table Store server as a library: the binary `tablestore` is a thin shell around it.
//!
//! This crate is where they all meet the world: sockets, files, threads and clocks. It knows
//! nothing of *how* a partition is replicated (that is `tablestore-replication`), *where* data
//! should live (`tablestore-placement`), how nodes agree on that (`tablestore-consensus`) or how
//! rows lie on disk (`tablestore-store`); it carries their inputs and outputs.
//!
//! Threads of a node: the *control thread* (consensus, heartbeats, their connections), the
//! *data thread* (HTTP, replication cores, peer data connections), the *journal thread* (group
//! commit), the *background thread* (flush, compaction, checksums, log reads), the *log thread*
//! (lines for standard error), and with a shared directory the threads of its partitions.

pub mod api;
mod builder;
mod controller;
mod data;
pub mod http;
pub mod log;
pub mod metrics;
pub mod node;
mod process;
mod resources;
mod room;
pub mod settings;
pub mod start;

pub use api::{
    BatchItem, Consistency, PartitionChecksums, RequestContext, RequestError, Row, RowKey,
    ScanPage, ScanRequest, Served, TableChange, TableTarget, WriteReply,
};
pub use builder::{NodeBuilder, RunningNode};
pub use node::Node;
pub use settings::NodeSettings;
