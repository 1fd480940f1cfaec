//! A partition with exactly one owner: its rows, and the answers to the requests that changed
//! them, lie in shared object storage, in a database of their own. When the owner dies another
//! one opens that database and goes on; whoever had it open before acknowledges nothing from then
//! on. Knows nothing of HTTP, sockets, the cluster map and how members agree on it: whether an
//! office still stands it asks its caller.
//!
//! **What makes it safe.**
//! - [`Owned::open`] reads the writer epoch of the database, has the office confirmed, and claims
//!   the very next epoch: an opener that was delayed meanwhile is refused, it fences nobody.
//! - A write is acknowledged when the object that carries it is in the storage. Objects of the log
//!   are numbered and created only where there is none: a former owner meets the one with which
//!   its successor began.
//! - Those marks are never deleted (see `database`).
//! - A strong read sees only what is durable, and has the office confirmed after it arrived.

mod bucket;
mod clock;
mod counted;
mod counts;
mod database;
mod error;
mod group;
mod idle;
mod layout;
mod mark;
mod merging;
mod open;
mod owned;
mod plain;
mod probe;
mod remembering;
mod rooted;
mod settings;
mod storage;
mod unflushed;
mod writer;

pub use bucket::{BucketSettings, BucketSettingsError, Credentials};
pub use counts::StorageFigures;
pub use error::{Ended, OpenError, ReadError, StorageError, WriteError};
pub use owned::{Begun, Owned, Write, Written};
pub use probe::{BucketFault, Said, denial};
pub use settings::{OwnedSettings, SettingsError};
pub use slatedb::object_store;
pub use storage::Storage;

#[cfg(test)]
mod tests;
