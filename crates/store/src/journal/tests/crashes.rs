//! Crashes: at every write, with whatever of it arrives.

use super::super::faulty::{Fault, FaultyDisk};
use super::model::Workload;
use super::open_on;

/// Enough commits that segments roll and are recycled.
const COMMITS: u64 = 60;

fn crash_at(seed: u64, write: u64, fault: Fault) {
    let disk = FaultyDisk::failing(write, fault);
    let mut workload = Workload::new(seed);
    if let Ok((mut writer, _)) = open_on(&disk) {
        let _ = workload.run(&mut writer, COMMITS);
    }
    let disk = disk.after_crash();
    // Twice, since opening itself may write.
    for _ in 0..2 {
        let (_, reader) = open_on(&disk)
            .unwrap_or_else(|error| panic!("seed {seed}, write {write}, {fault:?}: {error}"));
        workload.check_after_crash(&reader);
    }
}

#[test]
fn l05_a_crash_at_any_write_keeps_what_was_acknowledged() {
    for seed in 0..6 {
        let probe = FaultyDisk::default();
        let mut workload = Workload::new(seed);
        let (mut writer, _) = open_on(&probe).unwrap();
        workload.run(&mut writer, COMMITS).unwrap();
        for write in 0..probe.writes() {
            for fault in [
                Fault::Error,
                Fault::Torn(1),
                Fault::Torn(!1),
                Fault::Torn(0b1010),
            ] {
                // A header block is one block: it arrives or it does not.
                crash_at(seed, write, fault);
            }
        }
    }
}

#[test]
fn l05_work_goes_on_after_a_crash_and_survives_the_next() {
    for seed in 0..40u64 {
        let mut workload = Workload::new(seed);
        let mut disk = FaultyDisk::default();
        for round in 0..6 {
            let fault = match (seed + round) % 3 {
                0 => Fault::Error,
                1 => Fault::Torn(seed),
                _ => Fault::Torn(!seed),
            };
            let failing = FaultyDisk::failing((seed * 7 + round * 13) % 50, fault);
            failing.edit(|files| *files = disk.edit(|old| old.clone()));
            if let Ok((mut writer, reader)) = open_on(&failing) {
                workload.check_after_crash(&reader);
                let _ = workload.run(&mut writer, COMMITS);
            }
            disk = failing.after_crash();
        }
        let (_, reader) = open_on(&disk).unwrap();
        workload.check_after_crash(&reader);
    }
}

#[test]
fn l05_a_lost_suffix_leaves_a_state_of_the_past() {
    for seed in 0..10 {
        let mut workload = Workload::new(seed);
        let disk = FaultyDisk::default();
        let (mut writer, _) = open_on(&disk).unwrap();
        workload.run(&mut writer, COMMITS).unwrap();
        let before = disk.after_crash();
        let pushed = {
            let (_, reader) = open_on(&before).unwrap();
            workload.check_prefix(&reader)
        };
        workload.run(&mut writer, 3).unwrap();
        // The disk reported the last writes and never made them.
        let (_, reader) = open_on(&before).unwrap();
        assert!(workload.check_prefix(&reader) >= pushed);
    }
}
