//! The raft log file under crashes, damage and failures.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod simulated;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::extent::Extent;
use super::frame::{self, FILE_HEADER_BYTES};
use super::*;
use crate::testing::{Disk as _, SimDisk};

/// Smaller than a node's, so that thousands of damaged files are read in a moment.
const CHUNK: usize = 16 << 10;
const REWRITE_BYTES: u64 = 256 << 10;
const SETTINGS: LogSettings = LogSettings {
    chunk_bytes: CHUNK as u64,
    rewrite_bytes: REWRITE_BYTES,
};

fn id(term: u64, index: u64) -> EntryId {
    EntryId {
        term,
        leader: 1,
        index,
    }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry::new(id(term, index), EntryKind::Blank, &[])
}

fn large_entry(index: u64, bytes: usize) -> Entry {
    let payload = rmp_serde::to_vec("x".repeat(bytes).as_str()).unwrap();
    Entry::new(id(1, index), EntryKind::Normal, &payload)
}

fn vote(term: u64, leader: u64, committed: bool) -> Vote {
    Vote {
        term,
        leader,
        committed,
    }
}

/// A log with its file, used as a thread would that has one operation at a time.
#[derive(Debug)]
struct Log {
    file: LogFile,
    log: MapLog,
}

impl Log {
    fn open_at(
        place: Arc<dyn LogPlace>,
        settings: LogSettings,
        expected: Expected,
    ) -> Result<Self, LogOpenError> {
        let (file, log) = LogFile::open(place, settings, expected, &|_| Ok(()), |_| {
            Ok::<_, LogOpenError>(())
        })?;
        Ok(Self { file, log })
    }

    fn append(&mut self, entries: Vec<Entry>) -> std::io::Result<()> {
        let records = self.log.append(entries);
        self.file.append(&records)?;
        self.file.sync()?;
        self.rewrite_if_long()
    }

    fn purge(&mut self, upto: EntryId) -> std::io::Result<()> {
        let records = self.log.purge(upto);
        self.file.append(&records)?;
        self.rewrite_if_long()
    }

    fn rewrite_if_long(&mut self) -> std::io::Result<()> {
        match self.log.rewrite_if_long(self.file.bytes()) {
            Some(records) => self.file.rewrite(&records),
            None => Ok(()),
        }
    }

    fn vote(&mut self, vote: Vote) -> std::io::Result<()> {
        let record = self.log.vote_record(vote);
        self.file.append(&record.records)?;
        if record.is_awaited {
            self.file.sync()?;
            self.log.voted(vote);
        }
        Ok(())
    }

    fn indexes(&self) -> Vec<u64> {
        self.log.entries(..).map(|entry| entry.id().index).collect()
    }
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("raft.log")
}

fn open_file(file: &Path, expected: Expected) -> Result<Log, LogOpenError> {
    let place = Arc::new(RealPlace::new(file));
    Log::open_at(place, SETTINGS, expected)
}

fn open(directory: &TempDir) -> Result<Log, LogOpenError> {
    open_file(&path(directory), Expected::Perhaps)
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
fn three_frames() -> (TempDir, Vec<u8>) {
    let directory = TempDir::new().unwrap();
    let mut log = open(&directory).unwrap();
    for index in 1..=3 {
        log.append(vec![entry(1, index)]).unwrap();
    }
    drop(log);
    drop(open(&directory).unwrap());
    let bytes = fs::read(path(&directory)).unwrap();
    assert_eq!(frame_ends(&bytes).len(), 4);
    (directory, bytes)
}

fn replayed(bytes: &[u8]) -> Result<MapLog, LogOpenError> {
    let disk = SimDisk::new(0);
    disk.write_small("copy.log", bytes).unwrap();
    let place = disk.log_place("copy.log");
    Log::open_at(place, SETTINGS, Expected::Surely).map(|found| found.log)
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

#[test]
fn l05_votes_entries_and_commit_mark_survive_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut log = open(&directory).unwrap();
    log.vote(vote(3, 7, true)).unwrap();
    log.append(vec![entry(3, 1), entry(3, 2), entry(3, 3)])
        .unwrap();
    let records = log.log.commit(Some(id(3, 2)));
    log.file.append(&records).unwrap();
    let records = log.log.truncate_after(Some(id(3, 2)));
    log.file.append(&records).unwrap();
    log.append(vec![entry(4, 3)]).unwrap();
    log.purge(id(3, 1)).unwrap();
    drop(log);

    let log = open(&directory).unwrap();
    assert_eq!(log.log.vote(), Some(vote(3, 7, true)));
    assert_eq!(log.log.committed(), Some(id(3, 2)));
    assert_eq!(log.indexes(), [2, 3]);
    let ends = (log.log.purged(), log.log.last());
    assert_eq!(ends, (Some(id(3, 1)), Some(id(4, 3))));
}

#[test]
fn an_entry_carries_its_payload_through_the_file() {
    let directory = TempDir::new().unwrap();
    let mut log = open(&directory).unwrap();
    let payload = rmp_serde::to_vec(&(1, "two", [3.0])).unwrap();
    let entries = [
        Entry::new(id(1, 1), EntryKind::Normal, &payload),
        Entry::new(id(1, 2), EntryKind::Membership, &payload),
        entry(1, 3),
    ];
    log.append(entries.to_vec()).unwrap();
    let records = log.log.commit(Some(id(1, 3)));
    log.file.append(&records).unwrap();
    drop(log);
    let log = open(&directory).unwrap();
    let found: Vec<_> = log.log.entries(..).cloned().collect();
    assert_eq!(found, entries);
    assert_eq!(
        (found[0].payload(), found[2].payload()),
        (&*payload, &[][..])
    );
    let commands: Vec<_> = log.log.committed_from(0).cloned().collect();
    assert_eq!(commands, entries[..1]);
    assert!(Entry::decode(payload.into()).is_err());
}

#[test]
fn an_entry_that_its_reader_refuses_is_named_with_its_place() {
    let (directory, _) = three_frames();
    let place = Arc::new(RealPlace::new(path(&directory)));
    let readable = |entry: &Entry| match entry.id().index {
        2 => Err("it is odd".to_owned()),
        _ => Ok(()),
    };
    let refused = LogFile::open(place, SETTINGS, Expected::Surely, &readable, |_| {
        Ok::<_, LogOpenError>(())
    });
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("unreadable record: it is odd"), "{text}");
}

#[test]
fn a_log_in_use_is_not_opened_twice() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory).unwrap();
    let second = open(&directory);
    assert!(
        matches!(second, Err(LogOpenError::InUse { .. })),
        "{second:?}"
    );
    drop(log);
}

#[test]
fn l05_a_torn_last_write_is_dropped_wherever_it_is_torn() {
    let (_, whole) = three_frames();
    let ends = frame_ends(&whole);
    let whole = as_before_the_last_write(&whole);
    for cut in ends[2]..ends[3] {
        let mut torn = whole.clone();
        torn[cut..ends[3]].fill(0);
        let contents = replayed(&torn).unwrap();
        assert_eq!(contents.last(), Some(id(1, 2)), "cut at {cut}");
    }
}

#[test]
fn a_file_that_was_cut_is_refused_wherever_it_ends() {
    let (_, whole) = three_frames();
    let ends = frame_ends(&whole);
    assert_eq!(whole.len(), CHUNK);
    let mut cuts: Vec<usize> = (0..ends[3] + 64).step_by(7).collect();
    cuts.extend(ends.iter().copied());
    cuts.extend([1, CHUNK / 2, CHUNK - 1]);
    for cut in cuts {
        let refused = replayed(&whole[..cut]);
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

#[test]
fn a_file_that_was_cut_to_whole_chunks_is_refused() {
    let directory = TempDir::new().unwrap();
    let mut log = open(&directory).unwrap();
    for index in 1..=5 {
        log.append(vec![large_entry(index, CHUNK / 2)]).unwrap();
    }
    // As after a kill: nothing was closed.
    let bytes = fs::read(path(&directory)).unwrap();
    drop(log);
    assert!(replayed(&bytes).is_ok());
    for cut in (CHUNK..bytes.len()).step_by(CHUNK) {
        let refused = replayed(&bytes[..cut]);
        assert!(
            matches!(refused, Err(LogOpenError::Corrupt { offset, .. }) if offset == cut as u64),
            "cut at {cut}: {refused:?}"
        );
    }
}

#[test]
fn what_the_header_knows_to_be_durable_is_no_torn_write() {
    let (_, whole) = three_frames();
    let ends = frame_ends(&whole);
    for at in ends[2]..ends[3] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        let refused = replayed(&damaged);
        let due = ends[2] as u64;
        assert!(
            matches!(refused, Err(LogOpenError::Corrupt { offset, .. }) if offset == due),
            "byte {at}: {refused:?}"
        );
    }
}

#[test]
fn the_header_knows_everything_once_the_log_is_finished() {
    let directory = TempDir::new().unwrap();
    let mut log = open(&directory).unwrap();
    log.append(vec![entry(1, 1)]).unwrap();
    let records = log.log.commit(Some(id(1, 1)));
    log.file.append(&records).unwrap();
    log.file.finish().unwrap();
    let bytes = fs::read(path(&directory)).unwrap();
    let end = frame_ends(&bytes).pop().unwrap();
    assert_eq!(Extent::newest(&bytes).unwrap().durable, end as u64);
}

#[test]
fn a_log_that_must_be_there_is_not_founded_anew() {
    let directory = TempDir::new().unwrap();
    let refused = open_file(&path(&directory), Expected::Surely);
    assert!(
        matches!(&refused, Err(LogOpenError::Missing { .. })),
        "{refused:?}"
    );
    assert!(!path(&directory).exists());
}

#[test]
fn a_file_without_a_length_is_read_and_written_anew_with_one() {
    let (directory, whole) = three_frames();
    let ends = frame_ends(&whole);
    let mut old = whole[..12].to_vec();
    old[8..12].copy_from_slice(&1u32.to_le_bytes());
    old.extend_from_slice(&crc32c::crc32c(&old).to_le_bytes());
    old.extend_from_slice(&whole[ends[0]..ends[3]]);
    // Its frames speak of places in a shorter header, so only their order is kept.
    old.resize(CHUNK, 0);
    fs::write(path(&directory), &old).unwrap();
    assert_eq!(open(&directory).unwrap().indexes(), [1, 2, 3]);
    let bytes = fs::read(path(&directory)).unwrap();
    assert_eq!(frame::read_file_header(&bytes), Some(frame::FILE_FORMAT));
    assert_eq!(open(&directory).unwrap().indexes(), [1, 2, 3]);
}

#[test]
fn after_a_torn_write_the_log_goes_on_and_is_read_again() {
    let (directory, mut bytes) = three_frames();
    let ends = frame_ends(&bytes);
    bytes = as_before_the_last_write(&bytes);
    bytes[ends[3] - 3] ^= 1;
    fs::write(path(&directory), &bytes).unwrap();
    let mut log = open(&directory).unwrap();
    log.append(vec![entry(2, 3), entry(2, 4)]).unwrap();
    drop(log);
    assert_eq!(open(&directory).unwrap().indexes(), [1, 2, 3, 4]);
}

#[test]
fn damage_to_an_acknowledged_write_is_refused_with_the_name_of_the_file() {
    let (_, whole) = three_frames();
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
        let refused = replayed(&damaged);
        let Err(error @ LogOpenError::Corrupt { .. }) = refused else {
            panic!("byte {at}: {refused:?}");
        };
        assert!(error.to_string().contains("copy.log"), "{error}");
    }
}

#[test]
fn two_writes_torn_by_one_crash_are_no_damage() {
    // The commit mark is written without a sync; the next write may reach the disk and it not.
    let directory = TempDir::new().unwrap();
    let mut log = open(&directory).unwrap();
    log.append(vec![entry(1, 1)]).unwrap();
    drop(log);
    drop(open(&directory).unwrap());
    let mut bytes = fs::read(path(&directory)).unwrap();
    let end = frame_ends(&bytes)[1];
    let lost = frame::encode(1, end as u64, b"never reached the disk");
    let reached = frame::encode(2, end as u64, b"reached it, and was not acknowledged");
    let at = end + lost.len();
    bytes[at..at + reached.len()].copy_from_slice(&reached);
    let contents = replayed(&bytes).unwrap();
    assert_eq!(contents.last(), Some(id(1, 1)));
}

#[test]
fn a_newer_format_is_refused() {
    let (_, mut bytes) = three_frames();
    bytes[8..12].copy_from_slice(&3u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let refused = replayed(&bytes).map(|_| ());
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

#[test]
fn a_long_log_is_rewritten_to_what_is_alive() {
    let directory = TempDir::new().unwrap();
    let mut log = open(&directory).unwrap();
    log.vote(vote(5, 7, false)).unwrap();
    let mut index = 0;
    for _ in 0..3 * REWRITE_BYTES / CHUNK as u64 {
        index += 1;
        log.append(vec![large_entry(index, CHUNK)]).unwrap();
        log.purge(id(1, index)).unwrap();
    }
    log.append(vec![large_entry(index + 1, 10)]).unwrap();
    drop(log);
    let log = open(&directory).unwrap();
    assert!(fs::metadata(path(&directory)).unwrap().len() < 2 * REWRITE_BYTES);
    assert_eq!(log.indexes(), [index + 1]);
    assert_eq!(log.log.vote(), Some(vote(5, 7, false)));
    assert_eq!(log.log.purged(), Some(id(1, index)));
}
