//! What servers and clients of Table Store must agree on, once: names of headers, codes of
//! problems, types of keys, the definition of a table.
//!
//! Knows nothing of connections, nor of what any of it makes a node do. What comes from the other
//! side is kept where this version does not know it, so that nodes and clients of different
//! versions understand each other.

pub mod headers;
pub mod limits;
pub mod problem;
mod table;

pub use table::{KeyDefinition, KeyType, TableDefinition, TableView};

/// Members of an object that this version does not know.
pub type Document = serde_json::Map<String, serde_json::Value>;
