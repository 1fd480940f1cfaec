//! The Rust client of Table Store: give it the addresses of some nodes and call it as if the
//! cluster were one machine.
//!
//! Any node takes any request. The client stays with one node, goes on to the next when that one
//! cannot be reached or does not answer, and repeats a write **with the same request id**
//! (`Idempotency-Key`), so that a repeated write takes effect once. Repeats are paced by a budget,
//! so that many clients do not keep an overloaded cluster down. When it gives up it says which of
//! the two it is: [`CallError::NotApplied`] (certainly nothing happened) or
//! [`CallError::OutcomeUnknown`] (it may have happened).
//!
//! Numbers of rows are exact decimals of up to 38 digits ([`Value::Number`]), in keys as well.
//!
//! It knows nothing of partitions: a request that reaches the wrong node is forwarded there.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tablestore_client::{Client, Decimal, Row, RowKey, TableDefinition};
//!
//! let client = Client::connect(&["127.0.0.1:7001", "127.0.0.1:7002"])?;
//! client.create_table("airports", &TableDefinition::new("faa", "string")).await?;
//! let mut row = Row::new();
//! row.insert("name".to_owned(), "La Guardia".into());
//! row.insert("lat".to_owned(), "40.777242000000001".parse::<Decimal>()?.into());
//! client.put("airports", &RowKey::new("LGA"), &row).await?;
//! let found = client.get("airports", &RowKey::new("LGA")).await?;
//! assert!(found.is_some());
//! # Ok(()) }
//! ```

mod address;
mod answer;
mod budget;
mod call;
mod cluster;
mod error;
mod key;
mod request_id;
mod rows;
mod scan;
pub mod settings;
mod tables;

#[cfg(test)]
mod fake;

use std::sync::Arc;

pub use address::AddressError;
pub use error::{BuildError, CallError};
pub use key::{KeyError, RowKey};
pub use request_id::RequestId;
pub use rows::{Batch, BatchResult, Condition, Found, ReadOptions, WriteOptions, Written};
pub use scan::{Page, ScanOptions, ScanPages};
pub use settings::ClientSettings;
pub use tables::Created;
pub use tablestore_contract::limits::BATCH_ITEMS_MAX;
pub use tablestore_contract::{
    Altered, Checksums, ClusterView, Consistency, Decision, Document, KeyDefinition, KeyType,
    NodeView, PartitionChecksum, PartitionView, Phase, Problem, TableAlteration, TableDefinition,
    TableView,
};
pub use tablestore_item::{DEPTH_MAX, Decimal, FieldError, NumberError, Value, json};

/// The attributes of a row, keys included where the whole row is meant. Numbers are exact, up to 38
/// digits: nothing passes through a binary floating-point number.
pub type Row = tablestore_item::Item;

/// A connection to a cluster. Cheap to clone; clones share connections and the retry budget.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<call::Caller>,
}

impl Client {
    /// A client with default settings that knows these nodes: `host:port` or `http://host:port`.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When no address is given or one cannot be read.
    pub fn connect<A: AsRef<str>>(addresses: &[A]) -> Result<Self, BuildError> {
        Self::with_settings(addresses, ClientSettings::default())
    }

    /// The same with settings.
    ///
    /// # Errors
    /// When no address is given, one cannot be read, or a setting is out of range.
    pub fn with_settings<A: AsRef<str>>(
        addresses: &[A],
        settings: ClientSettings,
    ) -> Result<Self, BuildError> {
        let nodes = address::Nodes::parse(addresses)?;
        Ok(Self {
            inner: Arc::new(call::Caller::new(nodes, settings)?),
        })
    }

    /// The addresses this client knows, as `http://host:port`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.inner.nodes().addresses().to_vec()
    }
}

#[cfg(test)]
mod tests;
