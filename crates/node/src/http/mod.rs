//! The HTTP surface: the native contract on tables, rows and the cluster.
//!
//! Turns requests into calls of a [`Backend`] and its answers into responses. Knows nothing of
//! replication, storage or peers.
//!
//! - [`serve`] takes connections, [`HttpSettings`] limits them.
//! - [`Backend`] is what it needs from a node.
//! - [`problem`] is the one table of errors.
//! - [`headers`] names the headers of ours.

mod alteration;
mod backend;
mod batch;
mod body;
mod by_table;
mod catalog;
mod cluster;
mod cursor;
mod definition;
mod encoding;
mod events;
mod extract;
pub mod headers;
mod heads;
mod keys;
mod memory;
pub mod problem;
mod router;
mod rows;
mod scan;
mod serve;
pub mod settings;
mod shared;
mod system;
mod tables;
mod uri;
mod views;
mod wire;

pub use backend::{Administration, Backend, Event, RowService, Standing, Timeline};
pub use router::paths;
pub use serve::serve;
pub use settings::HttpSettings;
