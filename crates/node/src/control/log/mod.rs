//! The raft log of a node: votes, entries and the commit mark in one append-only file.
//!
//! All of it is in memory as well; the file is read only at start. Knows nothing of the cluster
//! map or of other nodes.

mod error;
mod extent;
mod file;
mod frame;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt::{self, Debug};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tablestore_placement::Command;
use tokio::sync::oneshot;

pub use self::error::LogOpenError;
pub(super) use self::error::REMEDY;
pub(crate) use self::file::Expected;
use self::file::{Faults, LogFile};
pub(super) use self::record::LogContents;
use self::record::Record;
use self::writer::{Operation, Waiter, Writer};
use super::types::{Entry, LogId, TypeConfig, Vote};

/// The name of the file in the control directory.
const LOG_FILE: &str = "raft.log";
/// The file is rewritten when it is longer than this and mostly stale: start-up reads all of it.
const REWRITE_BYTES: u64 = 8 << 20;

/// The raft log; a cheap handle.
#[derive(Clone)]
pub(crate) struct RaftLog {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    contents: LogContents,
    writer: Writer,
    /// The file is rewritten beyond this.
    rewrite_at: u64,
}

impl Debug for RaftLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftLog").finish_non_exhaustive()
    }
}

impl RaftLog {
    /// Opens the log in `directory`, which must exist, or creates it if none can be expected.
    /// What is read is first shown to `check`, which may refuse it; nothing was changed then.
    pub(crate) fn open<E: From<LogOpenError>>(
        directory: &Path,
        expected: Expected,
        check: impl FnOnce(&LogContents) -> Result<(), E>,
    ) -> Result<Self, E> {
        Self::open_with(directory, expected, Faults::default(), check)
    }

    fn open_with<E: From<LogOpenError>>(
        directory: &Path,
        expected: Expected,
        faults: Faults,
        check: impl FnOnce(&LogContents) -> Result<(), E>,
    ) -> Result<Self, E> {
        let path = directory.join(LOG_FILE);
        let (file, contents) = LogFile::open(&path, expected, faults, check)?;
        let writer =
            Writer::start(file).map_err(|source| LogOpenError::Io { file: path, source })?;
        let shared = Shared {
            contents,
            writer,
            rewrite_at: REWRITE_BYTES,
        };
        Ok(Self {
            shared: Arc::new(Mutex::new(shared)),
        })
    }

    /// Bytes of the entries that are kept; a reason to take a snapshot.
    pub(crate) fn entry_bytes(&self) -> usize {
        self.lock().contents.entry_bytes
    }

    /// See [`LogContents::committed_from`].
    pub(crate) fn committed_from(&self, index: u64) -> Vec<Command> {
        self.lock().contents.committed_from(index)
    }

    /// The last entry's id, synced or not.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.lock().contents.last()
    }

    /// Makes everything durable and notes it in the file, so that damage to the last write is
    /// told from one that a crash tore.
    pub(super) async fn finish(&self) -> io::Result<()> {
        let (done, finished) = oneshot::channel();
        self.lock().writer.push(Operation::Finish { done })?;
        finished
            .await
            .map_err(|_| io::Error::other("the raft log's thread has ended"))?
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

impl Shared {
    fn push(&self, records: Vec<u8>, waiter: Waiter) -> io::Result<()> {
        self.writer.push(Operation::Append { records, waiter })
    }

    fn rewrite_if_long(&mut self) -> io::Result<()> {
        if self.writer.file_bytes() < self.rewrite_at {
            return Ok(());
        }
        let records = self.contents.encode_whole()?;
        // Twice what is alive: otherwise a log that cannot shrink would be rewritten for ever.
        self.rewrite_at = REWRITE_BYTES.max(2 * records.len() as u64) + self.writer.file_bytes();
        self.writer.push(Operation::Rewrite { records })
    }

    /// Once the rewritten file is in place, the limit counts from it.
    fn settle_rewrite(&mut self) {
        let calm = REWRITE_BYTES.max(2 * self.contents.entry_bytes as u64);
        if self.writer.file_bytes() < calm {
            self.rewrite_at = calm;
        }
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        let shared = self.lock();
        let entries = shared.contents.entries.range(range);
        Ok(entries.map(|(_, kept)| kept.entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().contents.vote)
    }
}

/// A `BTreeMap` panics on a range whose start lies behind its end.
fn is_empty(range: &impl RangeBounds<u64>) -> bool {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    match range.end_bound() {
        Bound::Included(end) => start > *end,
        Bound::Excluded(end) => start >= *end,
        Bound::Unbounded => false,
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let shared = self.lock();
        Ok(LogState {
            last_purged_log_id: shared.contents.purged,
            last_log_id: shared.contents.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    /// Returns when the vote is durable, but for one case: a committed vote of a leader whose
    /// uncommitted vote is durable already. What a vote promises is to follow nobody lower, and
    /// the uncommitted vote of the same leader promises that as well: the only vote between the
    /// two is that very one. So the committed one may ride on the next sync, which comes before
    /// any entry of this leader is acknowledged. It saves a sync on the way to a new leader.
    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut records = Vec::new();
        Record::Vote(*vote).encode(&mut records)?;
        let synced = {
            let mut shared = self.lock();
            let before = shared.contents.vote;
            if vote.committed && before.is_some_and(|before| before.leader_id == vote.leader_id) {
                shared.contents.vote = Some(*vote);
                return shared.push(records, Waiter::Nobody);
            }
            let (sender, synced) = oneshot::channel();
            shared.push(records, Waiter::Caller(sender))?;
            synced
        };
        let result = synced.await;
        result.map_err(|_| io::Error::other("the raft log's thread has ended"))??;
        self.lock().contents.vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut records = Vec::new();
        Record::Committed(committed).encode(&mut records)?;
        let mut shared = self.lock();
        shared.contents.committed = committed;
        shared.push(records, Waiter::Nobody)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.lock().contents.committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let mut shared = self.lock();
        for entry in entries {
            let before = records.len();
            let record = Record::Entry(entry);
            record.encode(&mut records)?;
            if let Record::Entry(entry) = record {
                shared.contents.append(entry, records.len() - before);
            }
        }
        shared.push(records, Waiter::Flushed(callback))?;
        shared.settle_rewrite();
        shared.rewrite_if_long()
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let mut records = Vec::new();
        Record::TruncateAfter(last_log_id).encode(&mut records)?;
        let mut shared = self.lock();
        shared.contents.truncate_after(last_log_id);
        shared.push(records, Waiter::Nobody)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mut records = Vec::new();
        Record::Purge(log_id).encode(&mut records)?;
        let mut shared = self.lock();
        shared.contents.purge(log_id);
        shared.push(records, Waiter::Nobody)?;
        shared.settle_rewrite();
        shared.rewrite_if_long()
    }
}
