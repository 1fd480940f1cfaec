//! The journal on the simulated disk: syncs that end late, crashes amid them, and disks that fail.

use super::super::*;
use super::model::{Random, Workload};
use super::{SMALL, read_all};
use crate::testing::{Failing, SimDisk};

fn open_on(disk: &SimDisk) -> Result<(JournalWriter, JournalReader), OpenError> {
    Journal::open_on(Arc::new(disk.clone()), "j", &SMALL, &mut |_| ())
}

/// Entries 1 to `count`, each a commit, all settled.
fn filled(disk: &SimDisk, count: u64) -> (JournalWriter, JournalReader) {
    let (mut writer, reader) = open_on(disk).unwrap();
    for index in 1..=count {
        writer.push_entry(1, 1, index, &[7; 3000]);
        writer.commit().unwrap();
        disk.settle();
    }
    (writer, reader)
}

/// Works and crashes in turn. Answers how often a crash took something that was not settled, or
/// why a disk was refused.
fn run_and_crash(seed: u64, is_garbled: bool) -> Result<usize, OpenError> {
    let mut disk = SimDisk::new(seed);
    disk.set_garbled(is_garbled);
    let mut workload = Workload::new(seed);
    let mut random = Random::new(seed ^ 0xD15C);
    let (mut settled, mut losses) = (0, 0);
    for _ in 0..5 {
        let (mut writer, reader) = open_on(&disk)?;
        workload.doubt_after(settled);
        workload.check_after_crash(&reader);
        settled = workload.acknowledged();
        disk.settle();
        for _ in 0..random.below(25) {
            workload.run(&mut writer, 1).unwrap();
            if random.below(3) == 0 {
                writer.prepare().unwrap();
            }
            if random.below(3) != 0 {
                disk.settle();
                settled = workload.acknowledged();
            }
        }
        losses += usize::from(settled < workload.acknowledged());
        disk = disk.crash();
    }
    let (_, reader) = open_on(&disk)?;
    workload.doubt_after(settled);
    workload.check_after_crash(&reader);
    Ok(losses)
}

#[test]
fn l05_a_crash_amid_commits_keeps_what_was_settled_and_misreads_nothing() {
    let losses: usize = (0..150)
        .map(|seed| {
            run_and_crash(seed, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"))
        })
        .sum();
    assert!(losses > 50, "{losses} crashes amid a sync");
}

#[test]
fn a_sector_of_garbage_is_never_taken_for_a_record() {
    let mut refused = 0;
    for seed in 0..150 {
        match run_and_crash(seed, true) {
            Ok(_) => {}
            // A header is one sector; where that is garbage nothing can be read.
            Err(OpenError::Corrupt { offset: 0, .. }) => refused += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!((1..20).contains(&refused), "{refused}");
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        let (mut writer, _) = open_on(&disk).unwrap();
        disk.settle();
        Workload::new(seed).run(&mut writer, 20).unwrap();
        let after = disk.crash();
        let (_, reader) = open_on(&after).unwrap();
        let ends: Vec<_> = reader
            .partitions()
            .into_iter()
            .map(|p| reader.end(p))
            .collect();
        (after.names(), after.bytes(), ends)
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn o14_a_full_disk_stops_the_journal_at_the_next_segment_and_room_lets_it_open_again() {
    let disk = SimDisk::new(1);
    let (mut writer, reader) = filled(&disk, 3);
    writer.prepare().unwrap();
    disk.set_full(true);
    let mut end = 3;
    while end < 100 {
        writer.push_entry(1, 1, end + 1, &[7; 3000]);
        if let Err(failed) = writer.commit() {
            assert!(failed.reason.contains("space"), "{failed}");
            break;
        }
        end += 1;
    }
    assert!(
        (20..30).contains(&end),
        "the prepared segment was used: {end}"
    );
    assert_eq!(reader.end(1), Some(end));
    assert!(writer.prepare().is_err());
    disk.set_full(false);
    let (mut writer, reader) = open_on(&disk).unwrap();
    assert_eq!(reader.end(1), Some(end));
    writer.push_entry(1, 1, end + 1, &[7; 3000]);
    writer.commit().unwrap();
}

#[test]
fn a_restored_older_image_opens_and_shows_the_older_end() {
    let disk = SimDisk::new(1);
    let (mut writer, _) = filled(&disk, 10);
    let image = disk.image();
    for index in 11..=60 {
        writer.push_entry(1, 1, index, &[8; 3000]);
        writer.commit().unwrap();
    }
    disk.settle();
    assert_eq!(open_on(&disk).unwrap().1.end(1), Some(60));
    disk.restore(&image);
    let (_, reader) = open_on(&disk).unwrap();
    assert_eq!(read_all(&reader, 1).len(), 10);
}

#[test]
fn l05_what_failed_to_be_written_is_never_acknowledged_and_stays_once_it_was_read() {
    for failing in [Failing::Write, Failing::Sync] {
        let disk = SimDisk::new(1);
        let (mut writer, reader) = filled(&disk, 2);
        disk.fail_next(failing);
        writer.push_entry(1, 1, 3, &[7; 3000]);
        assert!(writer.commit().is_err());
        assert!(writer.commit().is_err(), "although the disk works again");
        assert_eq!(reader.end(1), Some(2));
        let killed = open_on(&disk).unwrap().1.end(1);
        assert_eq!(killed, Some(3), "the page cache has it");
        disk.settle();
        let after = open_on(&disk.crash()).unwrap().1.end(1);
        assert_eq!(after, Some(3), "what the next start has read stays");
    }
}

#[test]
fn damage_on_the_disk_is_refused_or_shows_only_what_was_acknowledged() {
    let image = {
        let disk = SimDisk::new(1);
        filled(&disk, 60).0.state_end().unwrap();
        disk.settle();
        disk.image()
    };
    let mut refused = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        disk.restore(&image);
        let mut random = Random::new(seed);
        let names = disk.names();
        let name = &names[random.below(names.len() as u64) as usize];
        if seed % 10 == 0 {
            assert!(disk.remove_file(name));
        } else {
            disk.rot(name, random.below(64 * 1024));
        }
        match open_on(&disk) {
            Ok((_, reader)) => {
                assert_eq!(reader.end(1), Some(60), "seed {seed}");
                // Padding may rot unnoticed, but a record not.
                assert!(
                    read_all(&reader, 1)
                        .iter()
                        .all(|(_, _, data)| *data == [7; 3000])
                );
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn a_misdirected_write_is_refused_once_others_follow() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (mut writer, _) = filled(&disk, 3);
        disk.misdirect_next();
        for index in 4..=8 {
            writer.push_entry(1, 1, index, &[7; 3000]);
            writer.commit().unwrap();
        }
        disk.settle();
        let refused = open_on(&disk);
        assert!(
            matches!(refused, Err(OpenError::Corrupt { .. })),
            "seed {seed}"
        );
    }
}

#[test]
fn what_a_failed_sync_left_in_memory_is_durable_or_gone_for_the_next_start() {
    // With small and large entries, the failed sync is that of a group, of a seal or of a header.
    for (seed, entry) in (0..60).flat_map(|seed| [(seed, 100), (seed, 3_000), (seed, 9_000)]) {
        let disk = SimDisk::new(seed);
        let (mut writer, reader) = open_on(&disk).unwrap();
        let mut index = 0;
        let failed = loop {
            index += 1;
            if index == 5 + seed {
                disk.fail_next(Failing::Sync);
            }
            writer.push_entry(1, 1, index, &vec![7; entry]);
            if writer.commit().is_err() {
                break index;
            }
            disk.settle();
        };
        drop((writer, reader));
        // The next start of the process on the same machine goes on behind what it can read.
        let (mut writer, reader) = open_on(&disk).unwrap();
        disk.settle();
        let end = reader.end(1).unwrap_or(0);
        assert!(end + 1 == failed || end == failed, "{end} of {failed}");
        for index in end + 1..end + 4 {
            writer.push_entry(1, 1, index, &vec![7; entry]);
            writer.commit().unwrap();
            disk.settle();
        }
        drop((writer, reader));
        let (_, reader) = open_on(&disk.crash()).unwrap();
        assert_eq!(reader.end(1), Some(end + 3), "seed {seed}");
    }
}
