//! Local tables: typed items, replication journal, row engine. Knows no network, no other
//! node, and neither placement nor replication: a partition is an opaque `u64` here.
//!
//! - [`item`]: typed values, their JSON form, their binary form, order-preserving keys.
//! - [`mutation`]: what a log entry asks of a row, and how it is applied, the same everywhere.
//! - [`directory`]: the layout, lock and format file of a node's data directory.
//! - [`journal`]: one durable, ordered log shared by all partitions of a node.
//! - [`maplog`]: the raft log of a node, of which the raft library is only a user.
//! - [`stopped`]: which replicas stopped because they differ.
//! - [`engine`]: where rows live: an LSM engine and its oracle in memory.

pub mod directory;
pub mod engine;
pub mod item;
pub mod journal;
pub mod limits;
pub mod maplog;
pub mod mutation;
pub mod stopped;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use directory::{DataDirectory, DirectoryError, NewIdentity};
pub use engine::{
    Checkpoints, Copies, Engine, EngineError, LsmEngine, LsmSettings, MemoryEngine, ReadRows,
    RowWrite,
};
pub use item::{Decimal, FieldError, Item, KeyType, KeyValue, Value, json, key};
pub use journal::{Journal, JournalReader, JournalSettings, JournalWriter, Meta};
pub use mutation::{Applied, Condition, Effect, Mutation, apply_mutations};
