//! The raft log as the raft library uses it, and the form of its records.
#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

mod golden;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{BasicNode, EntryPayload, Membership, RaftLogReader};
use serde::Serialize;
use tablestore_placement::Command;
use tablestore_store::maplog::{LogBytes, LogPlace, LogSettings, RealPlace};
use tempfile::TempDir;

use super::form::{entry as read_entry, entry_id, log_id, stored_entry, stored_vote};
use super::{Expected, LOG_FILE, LogFile, LogOpenError, RaftLog, readable};
use crate::types::{Entry, LogId, Proposal, TypeConfig, Vote};

fn id(term: u64, index: u64) -> LogId {
    let id = tablestore_store::maplog::EntryId {
        term,
        leader: 1,
        index,
    };
    log_id(id)
}

fn entry(term: u64, index: u64) -> Entry {
    Entry::new_blank(id(term, index))
}

fn large_entry(index: u64, bytes: usize) -> Entry {
    let proposal = Proposal(Command::DropTable {
        name: "x".repeat(bytes),
        at_ms: 1,
    });
    Entry::new(id(1, index), EntryPayload::Normal(proposal))
}

async fn append(log: &mut RaftLog, entries: Vec<Entry>) -> io::Result<()> {
    let (sender, flushed) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::<TypeConfig>::signal(sender))
        .await?;
    flushed.await.unwrap()
}

async fn indexes(log: &mut RaftLog) -> Vec<u64> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

fn open(directory: &Path) -> Result<RaftLog, LogOpenError> {
    RaftLog::open(directory, Expected::Perhaps, |_| Ok(()))
}

/// Opens when the thread of the log before has let go of the file.
fn reopen(directory: &Path) -> Result<RaftLog, LogOpenError> {
    loop {
        match open(directory) {
            Err(LogOpenError::InUse { .. }) => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// A file whose syncs fail while the switch is on.
#[derive(Debug)]
struct Failing<T> {
    inner: T,
    sync_fails: Arc<AtomicBool>,
}

impl LogPlace for Failing<RealPlace> {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn open(&self) -> io::Result<Option<Box<dyn LogBytes>>> {
        let found = self.inner.open()?;
        Ok(found.map(|inner| self.failing(inner)))
    }

    fn replace(&self, content: &[u8]) -> io::Result<Box<dyn LogBytes>> {
        Ok(self.failing(self.inner.replace(content)?))
    }
}

impl Failing<RealPlace> {
    fn failing(&self, inner: Box<dyn LogBytes>) -> Box<dyn LogBytes> {
        let sync_fails = Arc::clone(&self.sync_fails);
        Box::new(Failing { inner, sync_fails })
    }
}

impl LogBytes for Failing<Box<dyn LogBytes>> {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.inner.read()
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.inner.write(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        self.inner.sync()
    }
}

fn open_failing(directory: &Path) -> (RaftLog, Arc<AtomicBool>) {
    let sync_fails = Arc::default();
    let place = Failing {
        inner: RealPlace::new(directory.join(LOG_FILE)),
        sync_fails: Arc::clone(&sync_fails),
    };
    let log = RaftLog::open_at::<LogOpenError>(Arc::new(place), Expected::Perhaps, |_| Ok(()));
    (log.unwrap(), sync_fails)
}

/// The records as the raft library's own types are serialised: the form of the file.
#[derive(Serialize)]
enum Form {
    Vote(Vote),
    Entry(Entry),
    TruncateAfter(Option<LogId>),
    Purge(LogId),
    Committed(Option<LogId>),
}

#[test]
fn the_form_of_the_records_is_that_of_the_raft_librarys_types() {
    let form = |form: Form| rmp_serde::to_vec_named(&form).unwrap();
    let directory = TempDir::new().unwrap();
    let place = Arc::new(RealPlace::new(directory.path().join(LOG_FILE)));
    let settings = LogSettings::default();
    let opened = LogFile::open(place, settings, Expected::Perhaps, &readable, |_| {
        Ok::<_, LogOpenError>(())
    });
    let (mut file, mut log) = opened.unwrap();
    let voters = vec![BTreeSet::from([1, 300])];
    let nodes = BTreeMap::from([(1, BasicNode::new("a:1")), (300, BasicNode::new("b:2"))]);
    let membership = Membership::new(voters, nodes).unwrap();
    let entries = [
        entry(1 << 40, 0),
        large_entry(1, 70_000),
        Entry::new(id(2, 300), EntryPayload::Membership(membership)),
    ];
    for entry in &entries {
        let stored = stored_entry(entry).unwrap();
        assert_eq!(read_entry(&stored).unwrap(), *entry);
        assert_eq!(
            (stored.id(), log_id(stored.id())),
            (entry_id(entry.log_id), entry.log_id)
        );
        assert_eq!(log.append([stored]), form(Form::Entry(entry.clone())));
    }
    for vote in [Vote::new(3, 7), Vote::new_committed(1 << 33, 200)] {
        let stored = stored_vote(&vote);
        assert_eq!(super::form::vote(stored), vote);
        assert_eq!(log.vote_record(stored).records, form(Form::Vote(vote)));
    }
    for last in [None, Some(id(2, 1))] {
        let committed = log.commit(last.map(entry_id));
        assert_eq!(committed, form(Form::Committed(last)));
        let truncated = log.truncate_after(last.map(entry_id));
        assert_eq!(truncated, form(Form::TruncateAfter(last)));
    }
    assert_eq!(log.purge(entry_id(id(2, 1))), form(Form::Purge(id(2, 1))));
    file.append(&form(Form::Entry(entry(3, 5)))).unwrap();
    file.finish().unwrap();
    drop(file);
    let place = Arc::new(RealPlace::new(directory.path().join(LOG_FILE)));
    let opened = LogFile::open(place, settings, Expected::Surely, &readable, |_| {
        Ok::<_, LogOpenError>(())
    });
    assert_eq!(opened.unwrap().1.last(), Some(entry_id(id(3, 5))));
}

#[tokio::test]
async fn l05_votes_entries_and_commit_mark_survive_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path()).unwrap();
    let vote = Vote::new_committed(3, 7);
    log.save_vote(&vote).await.unwrap();
    append(&mut log, vec![entry(3, 1), entry(3, 2), entry(3, 3)])
        .await
        .unwrap();
    log.save_committed(Some(id(3, 2))).await.unwrap();
    log.truncate_after(Some(id(3, 2))).await.unwrap();
    append(&mut log, vec![entry(4, 3)]).await.unwrap();
    log.purge(id(3, 1)).await.unwrap();
    drop(log);

    let mut log = reopen(directory.path()).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(3, 2)));
    assert_eq!(indexes(&mut log).await, [2, 3]);
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(id(3, 1)), Some(id(4, 3)))
    );
}

#[tokio::test]
async fn what_was_queued_is_durable_once_the_log_is_finished() {
    let directory = TempDir::new().unwrap();
    let (mut log, sync_fails) = open_failing(directory.path());
    append(&mut log, vec![large_entry(1, 10)]).await.unwrap();
    log.save_committed(Some(id(1, 1))).await.unwrap();
    log.finish().await.unwrap();
    assert_eq!(log.committed_from(1).len(), 1);
    sync_fails.store(true, Ordering::SeqCst);
    assert!(log.finish().await.is_err());
    drop(log);
    let mut log = reopen(directory.path()).unwrap();
    assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 1)));
}

#[tokio::test]
async fn a_long_log_is_rewritten_to_what_is_alive() {
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path()).unwrap();
    let vote = Vote::new(5, 7);
    log.save_vote(&vote).await.unwrap();
    let rewrite_bytes = LogSettings::default().rewrite_bytes;
    let mut index = 0;
    for _ in 0..3 * rewrite_bytes / (1 << 20) {
        index += 1;
        append(&mut log, vec![large_entry(index, 1 << 20)])
            .await
            .unwrap();
        log.purge(id(1, index)).await.unwrap();
    }
    append(&mut log, vec![large_entry(index + 1, 10)])
        .await
        .unwrap();
    drop(log);
    let mut log = reopen(directory.path()).unwrap();
    let file = directory.path().join(LOG_FILE);
    assert!(fs::metadata(file).unwrap().len() < 2 * rewrite_bytes);
    assert_eq!(indexes(&mut log).await, [index + 1]);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(id(1, index)));
}

#[tokio::test]
async fn l05_after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let directory = TempDir::new().unwrap();
    let (mut log, sync_fails) = open_failing(directory.path());
    append(&mut log, vec![entry(1, 1)]).await.unwrap();
    sync_fails.store(true, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 2)]).await.is_err());
    // A later sync that would succeed proves nothing about what was lost.
    sync_fails.store(false, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 3)]).await.is_err());
    assert!(log.save_vote(&Vote::new(9, 9)).await.is_err());
    assert_eq!(log.read_vote().await.unwrap(), None);
}

#[tokio::test]
async fn l05_only_a_vote_that_promises_nothing_new_waits_for_the_next_sync() {
    let directory = TempDir::new().unwrap();
    let (mut log, sync_fails) = open_failing(directory.path());
    log.save_vote(&Vote::new(3, 7)).await.unwrap();
    sync_fails.store(true, Ordering::SeqCst);
    log.save_vote(&Vote::new_committed(3, 7)).await.unwrap();
    let others = [
        Vote::new_committed(3, 8),
        Vote::new_committed(4, 7),
        Vote::new(4, 7),
    ];
    for vote in &others {
        assert!(log.save_vote(vote).await.is_err(), "{vote}");
    }
    assert_eq!(
        log.read_vote().await.unwrap(),
        Some(Vote::new_committed(3, 7))
    );
}
