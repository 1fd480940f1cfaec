//! Consistent hashing: keys become points, points become ordered servers.
//!
//! Knows nothing about tables, replication, networks, clocks or files, nor what a server is.
#![doc = include_str!("../README.md")]
#![no_std]
#![deny(clippy::host_endian_bytes)]

extern crate alloc;

mod bounded;
mod distinct;
mod hash;
mod jump_back;
mod locate;
mod memento;
mod mix;
mod partitions;
mod point;
mod rendezvous;
mod ring;
mod server;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
mod zones;

pub use bounded::BoundedLoads;
pub use hash::{PointHash, SCHEME_VERSION, Sha1, StableBytes, Xxh3, token_point};
pub use jump_back::{JumpBack, jump_back};
pub use locate::Locate;
pub use memento::Memento;
pub use partitions::{PARTITION_BITS_MAX, PartitionCountInvalid, PartitionTable};
pub use point::Point;
pub use rendezvous::Rendezvous;
pub use ring::{
    AddError, Move, ReweightError, Ring, Stretch, TOKENS_MAX, TOKENS_PER_WEIGHT_DEFAULT,
};
pub use server::{Server, WEIGHT_MAX};
pub use table::{DivisionsDiffer, Reassigned, ReplicaTable, TABLE_NODES_MAX, TableNodesTooMany};
