//! Copies of whole partitions: one as it is, to be read, and another that is being built. Knows
//! nothing of how they travel.

use std::fmt;

use super::{EngineError, Page, RowWrite, Rows, Scan};

/// Copies of whole partitions, for whoever sends and receives them.
pub trait Copies: Send + Sync + fmt::Debug {
    /// The partition as it is now, for as long as the snapshot is kept.
    ///
    /// # Errors
    /// If there is no such partition.
    fn snapshot(&self, partition: u64) -> Result<Box<dyn Snapshot>, EngineError>;

    /// Begins to build another content of the partition aside; the present one stays in use.
    /// The partition need not exist.
    ///
    /// # Errors
    /// If its files cannot be made.
    fn begin_replace(&self, partition: u64) -> Result<Box<dyn Replacement>, EngineError>;
}

/// A partition as it was at one applied index.
pub trait Snapshot: Send + fmt::Debug {
    /// The applied index of the snapshot.
    fn index(&self) -> u64;

    /// A page of rows.
    ///
    /// # Errors
    /// If the files cannot be read.
    fn scan(&self, scan: &Scan) -> Result<Page, EngineError>;

    /// The side records, in order of name.
    ///
    /// # Errors
    /// If the files cannot be read.
    fn side_records(&self) -> Result<Rows, EngineError>;
}

/// A new content of a partition that is being built. Dropping it gives it up.
pub trait Replacement: Send + fmt::Debug {
    /// Adds rows; any order, a later value replaces an earlier one.
    ///
    /// # Errors
    /// If a key is not allowed or writing failed; then give it up.
    fn put(&mut self, rows: &[RowWrite<'_>]) -> Result<(), EngineError>;

    /// Adds side records.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn put_side(&mut self, side: &[RowWrite<'_>]) -> Result<(), EngineError>;

    /// Makes it durable and the content of the partition, applied and checkpointed at `index`.
    /// A crash leaves either the old content or the new.
    ///
    /// # Errors
    /// If writing failed: the old content stays in use, and either of the two will be there
    /// when the engine is opened again.
    fn finish(self: Box<Self>, index: u64) -> Result<(), EngineError>;
}
