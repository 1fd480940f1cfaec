//! One durable, ordered log for all partitions of a node: group commit into pre-written,
//! recycled segments. Knows nothing of what entries mean and of who reads them again.
//!
//! A commit is one group: one write of 4 KiB blocks past the page cache, durable when it
//! returns. Every group has a sequence number, one more than the last over the whole journal,
//! and a checksum that covers the generation of its segment, so that the stale bytes of a
//! recycled segment are never taken for a group.
//!
//! What opening accepts and refuses: a group that is not whole is the torn end of the last
//! commit if nothing valid follows anywhere, and damage otherwise. Segments are chained: the
//! end of each names the next one's file, and the newest header names the oldest.

mod book;
pub(crate) mod buffer;
pub(crate) mod disk;
#[cfg(test)]
mod faulty;
pub(crate) mod format;
mod pool;
mod prepare;
mod reader;
mod recovery;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use self::pool::Preparing;

pub use reader::{JournalReader, ReadEntry, ReadError};
pub use writer::{JournalStats, JournalWriter, Pressure};

/// The largest record. The node's own limits are far below; this one bounds memory.
pub const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The first segment of a new journal is smaller, so that a first start does not wait.
const FIRST_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Offsets within a segment are 32 bits wide.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// A segment holds a header, the preamble, some groups and the seal.
const SEGMENT_BYTES_MIN: u64 = 16 * format::BLOCK as u64;

/// Settings of a journal.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// The size of a segment; rounded up to blocks, between 64 KiB and 1 GiB.
    pub segment_bytes: u64,
    /// With more live segments than this, [`JournalWriter::pressure`] asks for checkpoints.
    pub segments_max: usize,
    /// Whose journal it is: files with another id are refused. The storage id will do.
    pub journal_id: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            segments_max: 8,
            journal_id: 0,
        }
    }
}

/// What a partition's log is, apart from its entries. Entries extend `end` and `history`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The newest epoch the replica has adopted.
    pub adopted: u64,
    /// The index of the last entry. Entries above are gone when the record is durable; if it
    /// is above the end of the log, all entries are gone (a snapshot took their place).
    pub end: u64,
    /// Where epochs start in the log: (epoch, index), ascending.
    pub history: Vec<(u64, u64)>,
    /// The commit index that is known.
    pub commit: u64,
}

/// A record that is read back when a journal is opened, in the order it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed<'a> {
    /// An entry of a partition's log. A later [`Meta`] may take it back.
    Entry {
        /// The partition.
        partition: u64,
        /// The epoch it was written in.
        epoch: u64,
        /// Its index.
        index: u64,
        /// Its content.
        data: &'a [u8],
    },
    /// The partition's log is now this; see [`Meta::end`].
    Meta {
        /// The partition.
        partition: u64,
        /// Its state.
        meta: &'a Meta,
    },
    /// The partition's log is gone.
    Forget {
        /// The partition.
        partition: u64,
    },
}

/// Why a journal cannot be opened. Nothing was changed unless it says so; the files must be
/// restored or the node started anew with an empty directory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings are out of range. The caller is at fault.
    #[error("segments of {segment_bytes} bytes are not possible")]
    Settings {
        /// The size that was asked for.
        segment_bytes: u64,
    },
    /// Bytes that were acknowledged are damaged.
    #[error("{} is damaged at byte {offset}: {reason}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A file is not as long as it was made.
    #[error("{} has {found} bytes, but was made with {expected}", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// How long it is.
        found: u64,
        /// How long it must be.
        expected: u64,
    },
    /// A file is gone.
    #[error("{} is missing", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// A file belongs to another journal, or to none.
    #[error("{} does not belong to this journal", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// A newer version wrote it. Start that version.
    #[error("{} has format {found}, but this version supports up to {supported}", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this version reads.
        supported: u32,
    },
    /// The operating system refused. A file may have been made; it does no harm.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A write or sync failed, now or before. What was pushed since the last commit may or may
/// not be durable; everything from now on is refused. The process must give up its offices
/// and be started again.
#[derive(Clone, Debug, Error)]
#[error("the journal failed at {}: {reason}", file.display())]
#[non_exhaustive]
pub struct JournalFailed {
    /// The segment that was written.
    pub file: PathBuf,
    /// What the operating system said.
    pub reason: String,
}

/// How a journal is opened.
#[derive(Debug)]
pub struct Journal;

impl Journal {
    /// Opens the journal in a directory, and makes it if there is none. All records that are
    /// there are shown to `replay` in order; what remains of each partition in the end is
    /// told by the reader ([`JournalReader::partitions`]).
    ///
    /// # Errors
    /// If acknowledged records are damaged or missing, or the directory cannot be used.
    pub fn open(
        directory: impl AsRef<Path>,
        settings: &JournalSettings,
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(JournalWriter, JournalReader), OpenError> {
        let directory = directory.as_ref();
        let disk = disk::RealDisk::open(directory).map_err(|source| OpenError::Io {
            path: directory.to_owned(),
            source,
        })?;
        Self::open_preparing(
            Arc::new(disk),
            directory,
            settings,
            replay,
            Preparing::Beside,
        )
    }

    /// The same on another disk, without a thread and without a clock: the next segment is made
    /// when it is needed, or when [`JournalWriter::prepare`] is called. `directory` is what errors
    /// name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(any(test, feature = "testing"))]
    pub fn open_on(
        disk: Arc<dyn disk::Disk>,
        directory: impl AsRef<Path>,
        settings: &JournalSettings,
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(JournalWriter, JournalReader), OpenError> {
        let directory = directory.as_ref();
        Self::open_preparing(disk, directory, settings, replay, Preparing::WhenNeeded)
    }

    fn open_preparing(
        disk: Arc<dyn disk::Disk>,
        directory: &Path,
        settings: &JournalSettings,
        replay: &mut dyn FnMut(Replayed<'_>),
        preparing: Preparing,
    ) -> Result<(JournalWriter, JournalReader), OpenError> {
        let segment_bytes = settings
            .segment_bytes
            .next_multiple_of(format::BLOCK as u64);
        let settings = JournalSettings {
            segment_bytes,
            ..settings.clone()
        };
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&settings.segment_bytes) {
            return Err(OpenError::Settings {
                segment_bytes: settings.segment_bytes,
            });
        }
        let recovered = recovery::recover(&*disk, directory, &settings, replay)?;
        let writer = JournalWriter::new(disk, directory.to_owned(), settings, recovered, preparing);
        let reader = writer.reader();
        Ok((writer, reader))
    }
}

#[cfg(test)]
mod tests;
