//! What the journal promises, against a model, on disks that fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crashes;
mod damage;
mod golden;
mod model;
mod simulated;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::faulty::{Fault, FaultyDisk};
use super::*;
use model::Workload;

pub(super) const SMALL: JournalSettings = JournalSettings {
    segment_bytes: 64 * 1024,
    segments_max: 3,
    journal_id: 7,
};

pub(super) fn open_on(disk: &FaultyDisk) -> Result<(JournalWriter, JournalReader), OpenError> {
    Journal::open_on(Arc::new(disk.clone()), Path::new("j"), &SMALL, &mut |_| ())
}

fn meta(adopted: u64, end: u64, history: &[(u64, u64)], commit: u64) -> Meta {
    Meta {
        adopted,
        end,
        history: history.to_vec(),
        commit,
    }
}

fn read_all(reader: &JournalReader, partition: u64) -> Vec<(u64, u64, Vec<u8>)> {
    let mut all = Vec::new();
    let (mut from, end) = (
        reader.first_index(partition).unwrap(),
        reader.end(partition).unwrap(),
    );
    while from <= end {
        let entries = reader.read(partition, from, end, 1000).unwrap();
        from += entries.len() as u64;
        all.extend(
            entries
                .into_iter()
                .map(|entry| (entry.epoch, entry.index, entry.data.to_vec())),
        );
    }
    all
}

#[test]
fn a_replay_gives_the_wanted_entries_of_all_partitions_in_the_order_of_the_disk() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    for index in 1..=500 {
        for partition in [7, 3, 5] {
            writer.push_entry(partition, 1, index, &[partition as u8; 100]);
        }
        writer.commit().unwrap();
    }
    let wanted = [(3, 400..=402), (5, 500..=500), (7, 401..=402)].into();
    let mut seen = Vec::new();
    let replayed: Result<(), ReadError> = reader.replay(&wanted, &mut |partition, entry| {
        assert_eq!(entry.data, vec![partition as u8; 100]);
        seen.push((partition, entry.index));
        Ok(())
    });
    replayed.unwrap();
    assert_eq!(
        seen,
        [(3, 400), (7, 401), (3, 401), (7, 402), (3, 402), (5, 500)]
    );
    let dropped: Result<(), ReadError> = reader.replay(&[(9, 1..=2)].into(), &mut |_, _| Ok(()));
    assert!(matches!(
        dropped,
        Err(ReadError::Dropped { partition: 9, .. })
    ));
}

#[test]
fn entries_are_there_after_opening_again_on_a_real_disk() {
    let home = tempfile::tempdir().unwrap();
    let settings = JournalSettings {
        segment_bytes: 256 * 1024,
        ..JournalSettings::default()
    };
    let mut expected = Vec::new();
    {
        let (mut writer, reader) = Journal::open(home.path(), &settings, &mut |_| ()).unwrap();
        for index in 1..=500 {
            let data = vec![index as u8; (index as usize * 37) % 3000];
            writer.push_entry(3, 1 + index / 100, index, &data);
            expected.push((1 + index / 100, index, data));
            if index % 7 == 0 {
                writer.commit().unwrap();
                assert_eq!(reader.end(3), Some(index), "readable once committed");
            }
        }
        assert_eq!(reader.end(3), Some(497), "not before");
        writer.commit().unwrap();
        assert_eq!(read_all(&reader, 3), expected);
        assert!(writer.stats().rolls > 1);
        assert_eq!(writer.path(), home.path());
    }
    let mut replayed = 0;
    let mut count = |record: Replayed<'_>| {
        replayed += u64::from(matches!(record, Replayed::Entry { .. }));
    };
    let (mut writer, reader) = Journal::open(home.path(), &settings, &mut count).unwrap();
    assert_eq!(replayed, 500);
    assert_eq!(read_all(&reader, 3), expected);
    let history = [(1, 1), (2, 100), (3, 200), (4, 300), (5, 400), (6, 500)];
    assert_eq!(reader.meta(3), Some(meta(6, 500, &history, 0)));
    writer.push_entry(3, 6, 501, b"more");
    writer.commit().unwrap();
    drop(writer);
    let (_, reader) = Journal::open(home.path(), &settings, &mut |_| ()).unwrap();
    assert_eq!((reader.first_index(3), reader.end(3)), (Some(1), Some(501)));
}

#[test]
fn one_small_write_a_commit() {
    let disk = FaultyDisk::default();
    let (mut writer, _) = open_on(&disk).unwrap();
    let before = disk.writes();
    for index in 1..=5 {
        writer.push_entry(1, 1, index, b"x");
        writer.push_entry(2, 1, index, b"y");
    }
    writer.commit().unwrap();
    writer.commit().unwrap();
    assert_eq!(disk.writes() - before, 1);
    assert_eq!(writer.stats().bytes, 4096);
    assert_eq!((writer.stats().groups, writer.stats().records), (1, 10));
}

#[test]
fn a_meta_record_truncates_extends_and_replaces_the_log() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    for index in 1..=10 {
        writer.push_entry(1, 2, index, &[index as u8]);
    }
    let truncated = meta(3, 6, &[(2, 1)], 6);
    writer.push_meta(1, &truncated);
    assert_eq!(writer.pushed_end(1), 6);
    writer.push_entry(1, 3, 7, b"new");
    writer.commit().unwrap();
    let after = meta(3, 7, &[(2, 1), (3, 7)], 6);
    assert_eq!(reader.meta(1), Some(after.clone()));
    assert_eq!(reader.read(1, 6, 99, 99).unwrap().len(), 2);
    let (_, again) = open_on(&disk.after_crash()).unwrap();
    assert_eq!(again.meta(1), Some(after));
    assert_eq!(read_all(&again, 1)[6], (3, 7, b"new".to_vec()));
    // A snapshot at 100 takes the place of all entries.
    writer.push_meta(1, &meta(4, 100, &[(3, 7)], 100));
    writer.push_entry(1, 4, 101, b"x");
    writer.commit().unwrap();
    assert_eq!(
        (reader.first_index(1), reader.end(1)),
        (Some(101), Some(101))
    );
    assert!(matches!(
        reader.read(1, 100, 101, 9),
        Err(ReadError::Dropped { first: 101, .. })
    ));
    // One at 50, below the end, needs the old log forgotten first.
    writer.push_forget(1);
    writer.push_meta(1, &meta(5, 50, &[(5, 40)], 50));
    writer.push_entry(1, 5, 51, b"y");
    writer.push_forget(9);
    writer.commit().unwrap();
    let (_, again) = open_on(&disk.after_crash()).unwrap();
    for reader in [&reader, &again] {
        assert_eq!(read_all(reader, 1), [(5, 51, b"y".to_vec())]);
        assert_eq!(reader.partitions(), [1]);
    }
}

#[test]
fn segments_are_recycled_when_all_their_partitions_are_checkpointed() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    writer.push_entry(9, 1, 1, b"the slow one");
    let mut index = 0;
    let mut push = |writer: &mut JournalWriter, count: u64| {
        for _ in 0..count {
            index += 1;
            writer.push_entry(1, 1, index, &[7; 3000]);
            writer.commit().unwrap();
        }
        index
    };
    let end = push(&mut writer, 60);
    let live = writer.stats().segments_live;
    assert!(live > SMALL.segments_max, "{live} segments");
    let holds = writer.pressure();
    assert_eq!(
        holds[1],
        Pressure {
            partition: 9,
            index: 1
        }
    );
    assert_eq!(reader.pressure(), [1, 9], "other threads see it");
    let checkpoint = holds[0].index;
    assert_eq!(
        writer.recycle(|partition| (partition == 1).then_some(end)),
        []
    );
    let freed = writer.recycle(|partition| Some(if partition == 1 { checkpoint } else { 1 }));
    assert_eq!(freed, [(1, checkpoint + 1), (9, 2)]);
    assert_eq!(reader.first_index(1), Some(checkpoint + 1));
    assert_eq!(writer.stats().segments_live, live - 1);
    let files = || disk.edit(|files| files.keys().filter(|name| name.contains('-')).count());
    let end = push(&mut writer, 200);
    writer.recycle(|_| Some(u64::MAX));
    assert!(writer.pressure().is_empty() && writer.holders().is_empty());
    assert!(reader.pressure().is_empty());
    assert_eq!(writer.stats().segments_live, 1);
    let before = files();
    for _ in 0..10 {
        push(&mut writer, 20);
        writer.recycle(|_| Some(u64::MAX));
    }
    assert!(files() <= before.max(4), "files are used again");
    let (_, again) = open_on(&disk.after_crash()).unwrap();
    assert_eq!(again.end(1), Some(end + 200));
    assert_eq!(
        again.end(9),
        Some(1),
        "what is known of a partition outlives its entries"
    );
    assert!(again.first_index(1) >= reader.first_index(1).map(|first| first - 40));
    assert_eq!(read_all(&again, 1).last().unwrap().1, end + 200);
}

#[test]
fn an_entry_larger_than_a_segment_gets_one_of_its_own() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    for index in 1..=6 {
        writer.push_entry(1, 1, index, &vec![index as u8; 50_000 * index as usize]);
    }
    writer.commit().unwrap();
    let (_, again) = open_on(&disk.after_crash()).unwrap();
    for reader in [reader, again] {
        let entries = read_all(&reader, 1);
        assert_eq!(entries.len(), 6);
        assert_eq!(entries[5].2, vec![6; 300_000]);
    }
}

#[test]
fn reading_is_bounded_and_says_what_is_gone() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    for index in 1..=20 {
        writer.push_entry(1, 1, index, &[1; 100]);
    }
    writer.commit().unwrap();
    assert_eq!(
        reader.read(1, 3, 10, 250).unwrap().len(),
        3,
        "stops once the bytes are there"
    );
    assert_eq!(
        reader.read(1, 3, 10, 0).unwrap().len(),
        1,
        "one in any case"
    );
    assert_eq!(reader.read(1, 3, 10, 9999).unwrap().len(), 8);
    assert_eq!(reader.read(1, 21, 30, 9999).unwrap(), []);
    assert!(matches!(
        reader.read(2, 1, 1, 1),
        Err(ReadError::Dropped { .. })
    ));
}

#[test]
fn l05_after_a_failed_write_everything_is_refused() {
    for fault in [Fault::Error, Fault::Torn(0b101)] {
        let disk = FaultyDisk::failing(3, fault);
        let (mut writer, reader) = open_on(&disk).unwrap();
        for index in 1..=2 {
            writer.push_entry(1, 1, index, &[1; 9000]);
            writer.commit().unwrap();
        }
        writer.push_entry(1, 1, 3, &[1; 9000]);
        let failed = writer.commit().unwrap_err();
        assert!(failed.to_string().contains("segment-00000000"), "{failed}");
        writer.push_entry(1, 1, 4, b"x");
        assert!(writer.commit().is_err() && writer.commit().is_err());
        assert_eq!(reader.end(1), Some(2), "what failed is not readable");
        let (_, again) = open_on(&disk.after_crash()).unwrap();
        assert_eq!(again.end(1), Some(2));
    }
}

#[test]
fn a_segment_that_is_being_read_is_not_used_again() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    writer.push_entry(1, 1, 1, b"x");
    writer.commit().unwrap();
    let held = reader.locate(1, 1, 1).unwrap();
    let file = "segment-00000000".to_owned();
    let content = || disk.edit(|files| crc32c::crc32c(&files[&file][..8192]));
    let before = content();
    for index in 2..400 {
        writer.push_entry(1, 1, index, &[7; 2000]);
        writer.commit().unwrap();
        writer.recycle(|_| Some(u64::MAX));
    }
    assert_eq!(content(), before);
    drop(held);
    for index in 400..800 {
        writer.push_entry(1, 1, index, &[7; 2000]);
        writer.commit().unwrap();
        writer.recycle(|_| Some(u64::MAX));
    }
    assert_ne!(content(), before, "afterwards it is");
}

#[test]
fn readers_never_see_recycled_bytes() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let watching = std::thread::spawn(move || {
        let mut seen = 0u64;
        while !stopped.load(Ordering::Acquire) {
            let Some(first) = reader.first_index(1) else {
                continue;
            };
            match reader.read(1, first, u64::MAX, 100_000) {
                Ok(entries) => {
                    for (at, entry) in entries.iter().enumerate() {
                        assert_eq!(entry.index, first + at as u64);
                        assert!(entry.data.iter().all(|byte| *byte == entry.index as u8));
                        seen += 1;
                    }
                }
                Err(ReadError::Dropped { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        seen
    });
    for index in 1..=4000u64 {
        writer.push_entry(1, 1, index, &[index as u8; 2000]);
        writer.commit().unwrap();
        writer.recycle(|_| Some(index.saturating_sub(30)));
    }
    stop.store(true, Ordering::Release);
    assert!(watching.join().unwrap() > 0);
}

#[test]
fn random_work_ends_in_the_state_of_the_model() {
    for seed in 0..30 {
        let disk = FaultyDisk::default();
        let mut workload = Workload::new(seed);
        let (mut writer, reader) = open_on(&disk).unwrap();
        workload.run(&mut writer, 300).unwrap();
        workload.check_exact(&reader);
        drop(writer);
        let (mut writer, reader) = open_on(&disk.after_crash()).unwrap();
        workload.check_exact(&reader);
        workload.run(&mut writer, 50).unwrap();
        workload.check_exact(&reader);
    }
}
