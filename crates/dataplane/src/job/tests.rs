//! What a job answers where the disk does not hold what was written.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::sync::Arc;

use tablestore_placement::{PartitionId, TableId};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::testing::SimDisk;
use tablestore_store::{Journal, JournalSettings, MemoryEngine, Meta};

use super::{Host, Job, Outcome, Work};

#[test]
fn a_log_that_is_damaged_is_told_apart_from_one_that_cannot_be_read_now() {
    let partition = PartitionId::new(TableId(1), 0);
    let number = partition.to_u64();
    let disk = SimDisk::new(1);
    let settings = JournalSettings::default();
    let opened = Journal::open_on(Arc::new(disk.clone()), "j", &settings, &mut |_| {});
    let (mut writer, reader) = opened.unwrap();
    writer.push_meta(number, &Meta::default());
    for index in 1..=3 {
        writer.push_entry(number, 1, index, &[7; 5_000]);
        writer.commit().unwrap();
    }
    let (engine, notes) = (
        MemoryEngine::new(),
        StoppedReplicas::on(Arc::new(disk.folder("stopped"))),
    );
    let read = |from| {
        let host = Host {
            engine: &engine,
            journal: &reader,
            notes: &notes,
        };
        let work = Work::ReadLog {
            partition,
            life: 1,
            from,
            to: 3,
            bytes_max: usize::MAX,
        };
        match Job(work).run(&host).outcome {
            Outcome::LogRead { entries, .. } => entries.map(|entries| entries.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(1), Ok(3));
    assert_eq!(read(9), Ok(0), "nothing is damaged");
    let segment = disk.names().into_iter().find(|n| n.starts_with("segment"));
    let segment = segment.unwrap();
    // Somewhere in the entries, whatever lies where.
    for at in (4_096..20_000).step_by(1_000) {
        disk.rot(&segment, at);
    }
    let damaged = read(1).unwrap_err();
    assert!(damaged.contains("is damaged at byte"), "{damaged}");
}
