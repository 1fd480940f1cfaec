//! The raft log of a node: votes, entries and the commit mark in one append-only file.
//!
//! All of it is in memory as well; the file is read only at start. [`MapLog`] says what is to be
//! written, [`LogFile`] writes it: so a thread can own the file while others ask the log. What an
//! entry carries is opaque here. Knows nothing of the raft library, of threads, or of the cluster
//! map.

mod contents;
mod entry;
mod error;
mod extent;
mod file;
mod found;
mod frame;
mod log;
mod place;
mod record;
#[cfg(test)]
mod tests;

pub use self::contents::LogContents;
pub use self::entry::{Entry, EntryId, EntryKind, UnreadableEntry, Vote};
pub use self::error::{LogOpenError, REMEDY};
pub use self::file::{Expected, LogFile};
pub use self::log::{MapLog, VoteRecord};
pub use self::place::{LogBytes, LogPlace, RealPlace};

/// How the file grows and when it is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Zeros are written ahead in pieces of this size; at least that of the header.
    pub chunk_bytes: u64,
    /// The file is rewritten when it is longer than this and mostly stale: start-up reads all of
    /// it.
    pub rewrite_bytes: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            chunk_bytes: 1 << 20,
            rewrite_bytes: 8 << 20,
        }
    }
}
