//! The raft log of a node, as the raft library wants it: its types, and a thread for the file.
//!
//! What is in the file and what is accepted at start is the business of
//! [`maplog`](tablestore_store::maplog). Knows nothing of the cluster map or of other nodes.

mod form;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt::{self, Debug};
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tablestore_placement::Command;
pub use tablestore_store::maplog::LogOpenError;
pub(super) use tablestore_store::maplog::REMEDY;
pub(crate) use tablestore_store::maplog::{Expected, LogContents};
use tablestore_store::maplog::{LogFile, LogPlace, LogSettings, MapLog, RealPlace, VoteRecord};
use tokio::sync::oneshot;

pub(super) use self::form::{committed_from, log_id};
use self::form::{entry, entry_id, readable, stored_entry, stored_vote, vote};
use self::writer::{Operation, Waiter, Writer};
use super::types::{Entry, LogId, TypeConfig, Vote};

/// The name of the file in the control directory.
const LOG_FILE: &str = "raft.log";

/// The raft log; a cheap handle.
#[derive(Clone)]
pub(crate) struct RaftLog {
    shared: Arc<Mutex<SharedLog>>,
}

struct SharedLog {
    log: MapLog,
    writer: Writer,
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
        let place = Arc::new(RealPlace::new(directory.join(LOG_FILE)));
        Self::open_at(place, expected, check)
    }

    fn open_at<E: From<LogOpenError>>(
        place: Arc<dyn LogPlace>,
        expected: Expected,
        check: impl FnOnce(&LogContents) -> Result<(), E>,
    ) -> Result<Self, E> {
        let path = place.path().to_owned();
        let settings = LogSettings::default();
        let (file, log) = LogFile::open(place, settings, expected, &readable, check)?;
        let writer =
            Writer::start(file).map_err(|source| LogOpenError::Io { file: path, source })?;
        let shared = SharedLog { log, writer };
        Ok(Self {
            shared: Arc::new(Mutex::new(shared)),
        })
    }

    /// Bytes of the entries that are kept; a reason to take a snapshot.
    pub(crate) fn entry_bytes(&self) -> usize {
        self.lock().log.entry_bytes()
    }

    /// The commands among the entries from `index` on that are known to be committed.
    pub(crate) fn committed_from(&self, index: u64) -> Vec<(u64, Command)> {
        committed_from(&self.lock().log, index)
    }

    /// The last entry's id, synced or not.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.lock().log.last().map(log_id)
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

    fn lock(&self) -> MutexGuard<'_, SharedLog> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

impl SharedLog {
    fn push(&self, records: Vec<u8>, waiter: Waiter) -> io::Result<()> {
        self.writer.push(Operation::Append { records, waiter })
    }

    fn rewrite_if_long(&mut self) -> io::Result<()> {
        match self.log.rewrite_if_long(self.writer.file_bytes()) {
            Some(records) => self.writer.push(Operation::Rewrite { records }),
            None => Ok(()),
        }
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let shared = self.lock();
        let entries = shared.log.entries(range).map(entry);
        entries.collect::<Result<_, _>>().map_err(io::Error::other)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().log.vote().map(vote))
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let shared = self.lock();
        Ok(LogState {
            last_purged_log_id: shared.log.purged().map(log_id),
            last_log_id: shared.log.last().map(log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    /// Returns when the vote is durable, unless it may ride on the next sync: see
    /// [`MapLog::vote_record`].
    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = stored_vote(vote);
        let synced = {
            let mut shared = self.lock();
            let VoteRecord {
                records,
                is_awaited,
            } = shared.log.vote_record(vote);
            if !is_awaited {
                return shared.push(records, Waiter::Nobody);
            }
            let (sender, synced) = oneshot::channel();
            shared.push(records, Waiter::Caller(sender))?;
            synced
        };
        let result = synced.await;
        result.map_err(|_| io::Error::other("the raft log's thread has ended"))??;
        self.lock().log.voted(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut shared = self.lock();
        let records = shared.log.commit(committed.map(entry_id));
        shared.push(records, Waiter::Nobody)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.lock().log.committed().map(log_id))
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
        let entries = entries.into_iter().map(|entry| stored_entry(&entry));
        let entries = entries.collect::<io::Result<Vec<_>>>()?;
        let mut shared = self.lock();
        let records = shared.log.append(entries);
        shared.push(records, Waiter::Flushed(callback))?;
        shared.rewrite_if_long()
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let mut shared = self.lock();
        let records = shared.log.truncate_after(last_log_id.map(entry_id));
        shared.push(records, Waiter::Nobody)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut shared = self.lock();
        let records = shared.log.purge(entry_id(upto));
        shared.push(records, Waiter::Nobody)?;
        shared.rewrite_if_long()
    }
}
