//! The raft log file under crashes, damage and failures.
#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, RaftLogReader};
use tablestore_placement::Command;
use tempfile::TempDir;

use super::extent::Extent;
use super::file::{CHUNK_BYTES, Expected, Faults, LogFile};
use super::frame::{self, FILE_HEADER_BYTES};
use super::record::LogContents;
use super::{LOG_FILE, LogOpenError, REWRITE_BYTES, RaftLog};
use crate::control::types::{Entry, LogId, Proposal, TypeConfig, Vote};

type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, 1), index)
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

async fn append(log: &mut RaftLog, entries: Vec<Entry>) -> std::io::Result<()> {
    let (sender, flushed) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::<TypeConfig>::signal(sender))
        .await?;
    flushed.await.unwrap()
}

async fn indexes(log: &mut RaftLog) -> Vec<u64> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join(LOG_FILE)
}

fn open(directory: &Path) -> Result<RaftLog, LogOpenError> {
    open_with(directory, Faults::default())
}

fn open_with(directory: &Path, faults: Faults) -> Result<RaftLog, LogOpenError> {
    RaftLog::open_with(directory, Expected::Perhaps, faults, |_| Ok(()))
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

/// The ends of all intact frames in the file.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![FILE_HEADER_BYTES];
    let mut at = FILE_HEADER_BYTES;
    while let Some(frame) = frame::decode(bytes, at) {
        at += frame.bytes();
        ends.push(at);
    }
    ends
}

/// Three entries, each in a synced frame of its own.
async fn three_frames() -> (TempDir, Vec<u8>) {
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path()).unwrap();
    for index in 1..=3 {
        append(&mut log, vec![entry(1, index)]).await.unwrap();
    }
    drop(log);
    drop(reopen(directory.path()).unwrap());
    let bytes = fs::read(path(&directory)).unwrap();
    assert_eq!(frame_ends(&bytes).len(), 4);
    (directory, bytes)
}

fn replayed(directory: &TempDir, bytes: &[u8]) -> Result<LogContents, LogOpenError> {
    let file = directory.path().join("copy.log");
    fs::write(&file, bytes).unwrap();
    let found = LogFile::open(&file, Expected::Surely, Faults::default(), |_| Ok(()));
    found.map(|(_, contents)| contents)
}

/// The bytes as if the process had been killed right after the last write: the header knows
/// nothing of it yet.
fn as_before_the_last_write(whole: &[u8]) -> Vec<u8> {
    let ends = frame_ends(whole);
    let mut bytes = whole.to_vec();
    bytes[512..FILE_HEADER_BYTES].fill(0);
    let extent = Extent {
        number: 1,
        filled: whole.len() as u64,
        durable: ends[ends.len() - 2] as u64,
    };
    let (at, stated) = extent.encode();
    bytes[at as usize..at as usize + stated.len()].copy_from_slice(&stated);
    bytes
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
async fn a_log_in_use_is_not_opened_twice() {
    let directory = TempDir::new().unwrap();
    let log = open(directory.path()).unwrap();
    let second = open(directory.path());
    assert!(
        matches!(second, Err(LogOpenError::InUse { .. })),
        "{second:?}"
    );
    drop(log);
}

#[tokio::test]
async fn l05_a_torn_last_write_is_dropped_wherever_it_is_torn() {
    let (directory, whole) = three_frames().await;
    let ends = frame_ends(&whole);
    let whole = as_before_the_last_write(&whole);
    for cut in ends[2]..ends[3] {
        let mut torn = whole.clone();
        torn[cut..ends[3]].fill(0);
        let contents = replayed(&directory, &torn).unwrap();
        assert_eq!(contents.last(), Some(id(1, 2)), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused_wherever_it_ends() {
    let (directory, whole) = three_frames().await;
    let ends = frame_ends(&whole);
    let chunk = CHUNK_BYTES as usize;
    assert_eq!(whole.len(), chunk);
    let mut cuts: Vec<usize> = (0..ends[3] + 64).step_by(7).collect();
    cuts.extend(ends.iter().copied());
    cuts.extend([1, chunk / 2, chunk - 1]);
    for cut in cuts {
        let refused = replayed(&directory, &whole[..cut]);
        let Err(error @ LogOpenError::Corrupt { .. }) = refused else {
            panic!("cut at {cut}: {refused:?}");
        };
        let text = error.to_string();
        assert!(
            text.contains("copy.log") && text.contains("restore"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_file_that_was_cut_to_whole_chunks_is_refused() {
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path()).unwrap();
    for index in 1..=5 {
        append(&mut log, vec![large_entry(index, 1 << 19)])
            .await
            .unwrap();
    }
    // As after a kill: nothing was closed.
    let bytes = fs::read(path(&directory)).unwrap();
    drop(log);
    let chunk = CHUNK_BYTES as usize;
    assert!(replayed(&directory, &bytes).is_ok());
    for cut in (chunk..bytes.len()).step_by(chunk) {
        let refused = replayed(&directory, &bytes[..cut]);
        assert!(
            matches!(refused, Err(LogOpenError::Corrupt { offset, .. }) if offset == cut as u64),
            "cut at {cut}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn what_the_header_knows_to_be_durable_is_no_torn_write() {
    let (directory, whole) = three_frames().await;
    let ends = frame_ends(&whole);
    for at in ends[2]..ends[3] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        let refused = replayed(&directory, &damaged);
        let due = ends[2] as u64;
        assert!(
            matches!(refused, Err(LogOpenError::Corrupt { offset, .. }) if offset == due),
            "byte {at}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn the_header_knows_everything_once_the_log_is_finished() {
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path()).unwrap();
    append(&mut log, vec![entry(1, 1)]).await.unwrap();
    log.save_committed(Some(id(1, 1))).await.unwrap();
    log.finish().await.unwrap();
    let bytes = fs::read(path(&directory)).unwrap();
    let end = frame_ends(&bytes).pop().unwrap();
    assert_eq!(Extent::newest(&bytes).unwrap().durable, end as u64);
}

#[tokio::test]
async fn a_log_that_must_be_there_is_not_founded_anew() {
    let directory = TempDir::new().unwrap();
    let refused = RaftLog::open(directory.path(), Expected::Surely, |_| {
        Ok::<_, LogOpenError>(())
    });
    assert!(
        matches!(&refused, Err(LogOpenError::Missing { .. })),
        "{refused:?}"
    );
    assert!(!path(&directory).exists());
}

#[tokio::test]
async fn a_file_without_a_length_is_read_and_written_anew_with_one() {
    let (directory, whole) = three_frames().await;
    let ends = frame_ends(&whole);
    let mut old = whole[..12].to_vec();
    old[8..12].copy_from_slice(&1u32.to_le_bytes());
    old.extend_from_slice(&crc32c::crc32c(&old).to_le_bytes());
    old.extend_from_slice(&whole[ends[0]..ends[3]]);
    // Its frames speak of places in a shorter header, so only their order is kept.
    old.resize(CHUNK_BYTES as usize, 0);
    fs::write(path(&directory), &old).unwrap();
    let mut log = reopen(directory.path()).unwrap();
    assert_eq!(indexes(&mut log).await, [1, 2, 3]);
    drop(log);
    let bytes = fs::read(path(&directory)).unwrap();
    assert_eq!(frame::read_file_header(&bytes), Some(frame::FILE_FORMAT));
    assert_eq!(
        indexes(&mut reopen(directory.path()).unwrap()).await,
        [1, 2, 3]
    );
}

#[tokio::test]
async fn after_a_torn_write_the_log_goes_on_and_is_read_again() {
    let (directory, mut bytes) = three_frames().await;
    let ends = frame_ends(&bytes);
    bytes = as_before_the_last_write(&bytes);
    bytes[ends[3] - 3] ^= 1;
    fs::write(path(&directory), &bytes).unwrap();
    let mut log = reopen(directory.path()).unwrap();
    append(&mut log, vec![entry(2, 3), entry(2, 4)])
        .await
        .unwrap();
    drop(log);
    let mut log = reopen(directory.path()).unwrap();
    assert_eq!(indexes(&mut log).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn damage_to_an_acknowledged_write_is_refused_with_the_name_of_the_file() {
    let (directory, whole) = three_frames().await;
    let ends = frame_ends(&whole);
    // Of the two statements about the length one may be damaged: a crash may tear it.
    let stated = |at: &usize| {
        [512..544, 1024..1056]
            .iter()
            .any(|place| place.contains(at))
    };
    for at in (0..ends[2]).filter(|at| !stated(at)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let refused = replayed(&directory, &damaged);
        let Err(error @ LogOpenError::Corrupt { .. }) = refused else {
            panic!("byte {at}: {refused:?}");
        };
        assert!(error.to_string().contains("copy.log"), "{error}");
    }
}

#[tokio::test]
async fn two_writes_torn_by_one_crash_are_no_damage() {
    // The commit mark is written without a sync; the next write may reach the disk and it not.
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path()).unwrap();
    append(&mut log, vec![entry(1, 1)]).await.unwrap();
    drop(log);
    drop(reopen(directory.path()).unwrap());
    let mut bytes = fs::read(path(&directory)).unwrap();
    let end = frame_ends(&bytes)[1];
    let lost = frame::encode(1, end as u64, b"never reached the disk");
    let reached = frame::encode(2, end as u64, b"reached it, and was not acknowledged");
    let at = end + lost.len();
    bytes[at..at + reached.len()].copy_from_slice(&reached);
    let contents = replayed(&directory, &bytes).unwrap();
    assert_eq!(contents.last(), Some(id(1, 1)));
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let (directory, mut bytes) = three_frames().await;
    bytes[8..12].copy_from_slice(&3u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let refused = replayed(&directory, &bytes).map(|_| ());
    let newer = matches!(
        refused,
        Err(LogOpenError::NewerFormat {
            found: 3,
            supported: 2,
            ..
        })
    );
    assert!(newer, "{refused:?}");
}

#[tokio::test]
async fn a_long_log_is_rewritten_to_what_is_alive() {
    let directory = TempDir::new().unwrap();
    let mut log = open(directory.path()).unwrap();
    let vote = Vote::new(5, 7);
    log.save_vote(&vote).await.unwrap();
    let mut index = 0;
    for _ in 0..3 * REWRITE_BYTES / (1 << 20) {
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
    assert!(fs::metadata(path(&directory)).unwrap().len() < 2 * REWRITE_BYTES);
    assert_eq!(indexes(&mut log).await, [index + 1]);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(id(1, index)));
}

#[tokio::test]
async fn l05_after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let directory = TempDir::new().unwrap();
    let faults = Faults::default();
    let mut log = open_with(directory.path(), faults.clone()).unwrap();
    append(&mut log, vec![entry(1, 1)]).await.unwrap();
    faults.sync_fails.store(true, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 2)]).await.is_err());
    // A later sync that would succeed proves nothing about what was lost.
    faults.sync_fails.store(false, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 3)]).await.is_err());
    assert!(log.save_vote(&Vote::new(9, 9)).await.is_err());
    assert_eq!(log.read_vote().await.unwrap(), None);
}

#[tokio::test]
async fn l05_only_a_vote_that_promises_nothing_new_waits_for_the_next_sync() {
    let directory = TempDir::new().unwrap();
    let faults = Faults::default();
    let mut log = open_with(directory.path(), faults.clone()).unwrap();
    log.save_vote(&Vote::new(3, 7)).await.unwrap();
    faults.sync_fails.store(true, Ordering::SeqCst);
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
