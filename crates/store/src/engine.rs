//! Where rows live. An engine keeps, for each partition, ordered rows and a few side records,
//! and the log index up to which both are applied. It has no journal: what came after the
//! last checkpoint is replayed from elsewhere. Knows nothing of items: keys and values are
//! bytes.

mod checksum;
mod copies;
mod lsm;
mod memory;

use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;

use bytes::Bytes;
use thiserror::Error;

pub use checksum::{CHECKSUM_RANGES_MAX, Checksums, RangeChecksum, checksum_of, checksum_of_rows};
pub use copies::{Copies, Replacement, Snapshot};
pub use lsm::{LsmEngine, LsmSettings};
pub use memory::MemoryEngine;

/// Row keys start with this byte or a greater one; those below are the engine's own. Encoded
/// row keys ([`key`](crate::item::key)) always do.
pub const ROW_KEY_FIRST_BYTE: u8 = 0x02;

/// The longest row key, side record names included.
pub const KEY_BYTES_MAX: usize = 60_000;

/// One change of one row, or of one side record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowWrite<'a> {
    /// The encoded key.
    pub key: &'a [u8],
    /// The value; `None` deletes.
    pub value: Option<&'a [u8]>,
}

/// Which rows a scan wants, and how many of them.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The least key.
    pub from: Bound<Bytes>,
    /// The greatest key.
    pub to: Bound<Bytes>,
    /// From the greatest key down.
    pub reverse: bool,
    /// At most this many rows.
    pub limit: usize,
    /// No further row once this many bytes are collected; one row is always returned.
    pub bytes_max: usize,
}

impl Scan {
    /// All rows, up to a limit.
    #[must_use]
    pub fn all(limit: usize, bytes_max: usize) -> Self {
        Self {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            reverse: false,
            limit,
            bytes_max,
        }
    }

    /// Whether no key can lie between the bounds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        is_empty_range(&self.from, &self.to)
    }

    /// The rows whose key starts with `prefix`, up to a limit.
    #[must_use]
    pub fn prefix(prefix: &[u8], limit: usize, bytes_max: usize) -> Self {
        let to = match crate::item::key::prefix_end(prefix) {
            Some(end) => Bound::Excluded(end.into()),
            None => Bound::Unbounded,
        };
        let from = Bound::Included(Bytes::copy_from_slice(prefix));
        Self {
            from,
            to,
            reverse: false,
            limit,
            bytes_max,
        }
    }
}

/// Keys with their values, in order.
pub type Rows = Vec<(Bytes, Bytes)>;

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the order asked for.
    pub rows: Rows,
    /// Whether there are more rows in the range than the limits let through.
    pub more: bool,
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The partition was never opened, or was dropped. Nothing was changed.
    #[error("no partition {partition:016x}")]
    NoPartition {
        /// The partition.
        partition: u64,
    },
    /// The key is empty, too long, or starts with a byte of the engine's own. Nothing was
    /// changed; the caller is at fault.
    #[error("a row key of {length} bytes that is not allowed")]
    InvalidKey {
        /// How long it is.
        length: usize,
    },
    /// The index is not above the applied one. Nothing was changed; the caller is at fault.
    #[error("index {index} was given after {applied} was applied")]
    Index {
        /// The index that was given.
        index: u64,
        /// The applied index.
        applied: u64,
    },
    /// A write or sync of this partition's files failed before. Its memory is intact and may
    /// be read; it makes no checkpoint any more until it is opened again.
    #[error("partition {partition:016x} failed before and must be opened again")]
    Poisoned {
        /// The partition.
        partition: u64,
    },
    /// The files of a partition are damaged. Rebuild the partition from another replica.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The partition's directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The operating system refused. Rows in memory are unchanged; what was being written
    /// may or may not be there.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl EngineError {
    /// Whether the disk is full: nothing is broken, and the same may be tried again when there is
    /// room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        kinds.contains(&source.kind())
    }

    /// Whether the files of the partition can no longer be trusted: a replica that met this must
    /// not go on as if nothing had happened.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let files = matches!(
            self,
            Self::Corrupt { .. } | Self::Io { .. } | Self::Poisoned { .. }
        );
        files && !self.is_disk_full() && !self.is_of_the_moment()
    }

    /// Whether the same files may be read well when the operating system lets them be: no rights,
    /// too many open files, no memory.
    pub(crate) fn is_of_the_moment(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        let exhausted = [
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::NOMEM,
        ];
        let errno = source.raw_os_error();
        source.kind() == io::ErrorKind::PermissionDenied
            || exhausted
                .iter()
                .any(|one| errno == Some(one.raw_os_error()))
    }
}

/// A store of rows in partitions: what the thread that applies needs, and all of the others.
///
/// One thread at a time applies to a partition; any thread may read, checkpoint and maintain.
pub trait Engine: ReadRows + Checkpoints + Copies {
    /// Opens a partition, and makes it if it is not there.
    ///
    /// # Errors
    /// If its files cannot be made.
    fn open_partition(&self, partition: u64) -> Result<(), EngineError>;

    /// Writes rows and raises the applied index to `index`, at once. Kept in memory until the
    /// next checkpoint. If a key comes twice the last one counts.
    ///
    /// # Errors
    /// If `index` is not above the applied index, a key is not allowed, or there is no such
    /// partition.
    fn apply(&self, partition: u64, index: u64, writes: &[RowWrite<'_>])
    -> Result<(), EngineError>;

    /// Forgets a partition and deletes its files; nothing happens if there is none.
    ///
    /// # Errors
    /// If the files cannot be deleted; the partition is gone from memory all the same.
    fn drop_partition(&self, partition: u64) -> Result<(), EngineError>;

    /// Forgets a partition and keeps its files elsewhere, where no engine looks; answers where.
    /// What was not flushed is not among them. An engine without files just forgets it.
    ///
    /// # Errors
    /// If the files cannot be moved; the partition is gone from memory all the same.
    fn put_aside(&self, partition: u64) -> Result<Option<PathBuf>, EngineError> {
        self.drop_partition(partition)?;
        Ok(None)
    }

    /// The memory that checkpoints of all partitions would set free.
    fn memory_bytes(&self) -> u64 {
        self.partitions()
            .into_iter()
            .map(|partition| self.memory_bytes_of(partition))
            .sum()
    }
}

/// The rows and side records as they are, for whoever reads.
pub trait ReadRows: Send + Sync + fmt::Debug {
    /// The partitions there are, in ascending order.
    fn partitions(&self) -> Vec<u64>;

    /// The latest value of a row.
    ///
    /// # Errors
    /// If there is no such partition or its files cannot be read.
    fn get(&self, partition: u64, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// A page of rows as they are after some applied index.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn scan(&self, partition: u64, scan: &Scan) -> Result<Page, EngineError>;

    /// The side records, in order of name.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn side_records(&self, partition: u64) -> Result<Rows, EngineError>;

    /// The index up to which rows are applied; 0 for none and for no such partition.
    fn applied(&self, partition: u64) -> u64;

    /// The index from which a crash would start again; 0 for none and for no such partition.
    fn checkpointed(&self, partition: u64) -> u64;
}

/// Making durable what was applied, and the housekeeping that follows, for whoever may wait for a
/// disk.
pub trait Checkpoints: Send + Sync + fmt::Debug {
    /// Writes side records, without raising the applied index. They become durable, together
    /// with the rows applied until then, by the next checkpoint, and are part of snapshots.
    ///
    /// # Errors
    /// If there is no such partition or a name is not allowed.
    fn put_side(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError>;

    /// Draws the line of the next checkpoint: all rows applied until now, and these side records.
    /// Does not touch the disk, so that the thread that applies may call it.
    ///
    /// # Errors
    /// If there is no such partition, a name is not allowed, or a write failed before.
    fn seal(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError>;

    /// Makes what was sealed durable, rows, side records and applied index as one, and answers
    /// the index from which a crash would start again. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// If writing failed: then the older checkpoint stands.
    fn flush(&self, partition: u64) -> Result<u64, EngineError>;

    /// [`seal`](Self::seal) and [`flush`](Self::flush).
    ///
    /// # Errors
    /// As these two.
    fn checkpoint(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<u64, EngineError> {
        self.seal(partition, side)?;
        self.flush(partition)
    }

    /// Does some housekeeping for a partition and says whether there is more to do.
    ///
    /// # Errors
    /// If writing failed: rows are intact.
    fn maintain(&self, partition: u64) -> Result<bool, EngineError>;

    /// The memory that a checkpoint of the partition would set free.
    fn memory_bytes_of(&self, partition: u64) -> u64;

    /// The bytes of a partition's files.
    fn disk_bytes_of(&self, partition: u64) -> u64;
}

/// Whether the caller may use this key.
fn check_row_key(key: &[u8]) -> Result<(), EngineError> {
    match key.first() {
        Some(first) if *first >= ROW_KEY_FIRST_BYTE && key.len() <= KEY_BYTES_MAX => Ok(()),
        _ => Err(EngineError::InvalidKey { length: key.len() }),
    }
}

/// Collects a page from rows that come in the order asked for.
fn page<E>(rows: impl Iterator<Item = Result<(Bytes, Bytes), E>>, scan: &Scan) -> Result<Page, E> {
    let mut page = Page::default();
    let mut bytes = 0;
    for row in rows {
        let (key, value) = row?;
        if page.rows.len() >= scan.limit || (bytes >= scan.bytes_max && !page.rows.is_empty()) {
            page.more = true;
            break;
        }
        bytes += key.len() + value.len();
        page.rows.push((key, value));
    }
    Ok(page)
}

/// Whether no key can lie between the bounds; ordered maps panic on some of these.
fn is_empty_range(from: &Bound<Bytes>, to: &Bound<Bytes>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        _ => false,
    }
}
