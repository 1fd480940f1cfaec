//! A consistent-hash ring: keys become points, points become ordered servers.
//!
//! The crate knows nothing about tables, replication, networks, clocks or files, and it does
//! not know what a server is: it is generic over the id. It needs only `alloc`.
//!
//! A key is hashed to a [`Point`] by a [`PointHash`] ([`Xxh3`] unless told otherwise). Every
//! server owns a number of tokens, which are points as well, in proportion to its weight. The
//! owner of a point is the server of the first token at or after it, and the ring closes: after
//! the last token comes the first. Going on from there gives the next servers in order of
//! preference, one of each zone before the second of any zone ([`Locate`]).
//!
//! # Add servers, assign data, fail one over
//!
//! ```
//! use tablestore_ring::{Locate, PointHash, Ring, Server, Xxh3};
//!
//! let mut ring = Ring::new();
//! ring.add(Server::new("a").zone("eu/1"))?;
//! ring.add(Server::new("b").zone("eu/2"))?;
//! ring.add(Server::new("c").zone("eu/3").weight(2))?;
//!
//! // Where does the row "user-17" live, and who comes next?
//! let point = Xxh3.point(b"user-17");
//! let mut nodes = [None; 2];
//! assert_eq!(ring.locate(point, &mut nodes), 2);
//! let [Some(&owner), Some(&next)] = nodes else { unreachable!("three servers, two asked for") };
//!
//! // The owner fails: the next in the order of preference takes over, and nothing else moves.
//! ring.remove(&owner);
//! assert_eq!(ring.owner(point), Some(&next));
//! # Ok::<(), tablestore_ring::AddError>(())
//! ```
//!
//! The same servers give the same answers whatever the order in which they came, on every
//! machine and in every version that has the same [`SCHEME_VERSION`].

#![no_std]

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
