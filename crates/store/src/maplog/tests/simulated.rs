//! The raft log on the simulated disk: crashes amid its syncs, and disks that fail.

use super::*;
use crate::testing::{Failing, SimDisk};

/// Small, so that files grow and are rewritten all the time.
const SMALL: LogSettings = LogSettings {
    chunk_bytes: 4096,
    rewrite_bytes: 16 * 1024,
};

fn open(disk: &SimDisk) -> Result<Log, LogOpenError> {
    Log::open_at(disk.log_place("raft.log"), SMALL, Expected::Perhaps)
}

/// What a log promises of itself: its vote, and which entries it has.
type Promise = (Option<Vote>, Option<EntryId>, Vec<EntryId>);

fn promise(log: &MapLog) -> Promise {
    let ids = log.entries(..).map(Entry::id).collect();
    (log.vote(), log.purged(), ids)
}

/// One step, by number: mostly entries, and whatever else changes a log. Answers whether it
/// waits for a sync.
fn step(log: &mut Log, number: u64) -> bool {
    let last = log.log.last().map_or(0, |last| last.index);
    match number % 7 {
        1 => log.vote(vote(number, 1, false)).unwrap(),
        2 => {
            log.vote(vote(number - 1, 1, true)).unwrap();
            return false;
        }
        4 if last > 6 => {
            log.purge(id(1, last - 5)).unwrap();
            return false;
        }
        5 => {
            let records = log.log.commit(log.log.last());
            log.file.append(&records).unwrap();
            return false;
        }
        6 => {
            log.file.rest().unwrap();
            return false;
        }
        _ => {
            let bytes = (number % 900) as usize;
            log.append(vec![large_entry(last + 1, bytes)]).unwrap();
        }
    }
    true
}

/// Works and crashes in turn; nothing that was settled may be lost. Answers how often something
/// that was not settled was.
fn run_and_crash(seed: u64) -> usize {
    let mut disk = SimDisk::new(seed).folder("control");
    let mut past: Vec<Promise> = vec![(None, None, Vec::new())];
    let (mut settled, mut number, mut losses) = (0, seed, 0);
    for _ in 0..6 {
        let mut log = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = promise(&log.log);
        let kept = past.iter().rposition(|known| *known == found);
        assert!(kept >= Some(settled), "seed {seed}: {kept:?} of {settled}");
        let kept = kept.unwrap_or(0);
        losses += usize::from(kept + 1 < past.len());
        past.truncate(kept + 1);
        disk.settle();
        settled = kept;
        for _ in 0..seed % 40 {
            number += 1;
            let is_synced = step(&mut log, number);
            past.push(promise(&log.log));
            if is_synced && number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 0 {
                disk.settle();
                settled = past.len() - 1;
            }
        }
        disk = disk.crash();
    }
    losses
}

#[test]
fn l05_a_crash_amid_writes_keeps_every_promise_that_was_settled() {
    let losses: usize = (0..200).map(run_and_crash).sum();
    assert!(losses > 200, "{losses}");
}

#[test]
fn l05_after_a_failure_nothing_is_written_any_more() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap();
    log.append(vec![entry(1, 1)]).unwrap();
    disk.settle();
    disk.fail_next(Failing::Sync);
    assert!(log.append(vec![entry(1, 2)]).is_err());
    // A later sync that would succeed proves nothing about what was lost.
    let refused = log.append(vec![entry(1, 3)]).unwrap_err().to_string();
    assert!(refused.contains("failed before"), "{refused}");
    assert!(log.vote(vote(9, 9, false)).is_err());
    assert_eq!(log.log.vote(), None);
    disk.settle();
    assert_eq!(open(&disk.crash()).unwrap().indexes(), [1]);
}

#[test]
fn l05_only_a_vote_that_promises_nothing_new_waits_for_the_next_sync() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap();
    log.vote(vote(3, 7, false)).unwrap();
    assert!(!log.log.vote_record(vote(3, 7, true)).is_awaited);
    assert_eq!(log.log.vote(), Some(vote(3, 7, true)));
    for other in [vote(3, 8, true), vote(4, 7, true), vote(4, 7, false)] {
        assert!(log.log.vote_record(other).is_awaited, "{other:?}");
    }
    assert_eq!(log.log.vote(), Some(vote(3, 7, true)));
}

#[test]
fn a_full_disk_fails_the_log_where_it_grows_and_room_lets_it_open_again() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).unwrap();
    log.append(vec![large_entry(1, 100)]).unwrap();
    disk.set_full(true);
    let failed = log.append(vec![large_entry(2, 8000)]).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::StorageFull);
    disk.set_full(false);
    let mut log = open(&disk).unwrap();
    assert_eq!(log.indexes(), [1]);
    log.append(vec![large_entry(2, 8000)]).unwrap();
    disk.settle();
    let image = disk.image();
    log.append(vec![large_entry(3, 10)]).unwrap();
    disk.restore(&image);
    assert_eq!(
        open(&disk).unwrap().indexes(),
        [1, 2],
        "an older image opens"
    );
    assert!(disk.rot("raft.log", 4096 + 50));
    let refused = open(&disk);
    assert!(
        matches!(refused, Err(LogOpenError::Corrupt { .. })),
        "{refused:?}"
    );
}
