//! What the simulated disk itself promises.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::journal::buffer::AlignedBuffer;

fn block(byte: u8) -> AlignedBuffer {
    let mut block = AlignedBuffer::zeroed(BLOCK);
    block.bytes_mut().fill(byte);
    block
}

fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    disk.read_small(name).unwrap()
}

fn write(disk: &SimDisk, byte: u8, at: u64) -> io::Result<()> {
    Disk::open(disk, "f")?.write_durable(block(byte).bytes(), at)
}

/// A file of two settled blocks of ones.
fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create("f", 2 * BLOCK as u64, &|| ()).unwrap();
    write(&disk, 1, 0).unwrap();
    write(&disk, 1, BLOCK as u64).unwrap();
    disk.settle();
    disk
}

#[test]
fn a_crash_tears_the_last_write_by_sectors_and_leaves_earlier_ones_whole() {
    let (mut torn, mut none, mut all) = (0, 0, 0);
    for seed in 0..200 {
        let disk = disk(seed);
        write(&disk, 2, 0).unwrap();
        write(&disk, 3, BLOCK as u64).unwrap();
        let found = content(&disk.crash(), "f").unwrap();
        let (first, second) = found.split_at(BLOCK);
        let whole = |block: &[u8], byte: u8| block.iter().all(|b| *b == byte);
        for sector in found.chunks(512) {
            assert!(whole(sector, sector[0]), "a sector is whole");
        }
        if !whole(second, 1) {
            assert!(whole(first, 2), "a sync came between");
        }
        torn += usize::from([first, second].iter().any(|block| !whole(block, block[0])));
        none += usize::from(whole(&found, 1));
        all += usize::from(whole(first, 2) && whole(second, 3));
    }
    assert!(torn > 50 && none > 15 && all > 15, "{torn} {none} {all}");
}

#[test]
fn names_are_lost_or_kept_as_a_whole_until_they_are_settled() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        disk.write_small("note", b"new").unwrap();
        disk.write_small("note", b"newer").unwrap();
        Disk::remove(&disk, "f").unwrap();
        let after = disk.crash();
        seen.insert((
            content(&after, "note"),
            after.names().contains(&"f".to_owned()),
        ));
        disk.settle();
        assert_eq!(disk.crash().names(), ["note"]);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn folders_settle_by_themselves_and_marks_settle_what_came_before() {
    let disk = SimDisk::new(3);
    let (journal, control) = (disk.folder("journal"), disk.folder("control"));
    journal.write_small("a", b"1").unwrap();
    let mark = journal.mark();
    journal.write_small("b", b"2").unwrap();
    control.write_small("c", b"3").unwrap();
    journal.settle_to(mark);
    assert!(journal.is_unsettled() && control.is_unsettled());
    let image = disk.image();
    control.settle();
    assert!(!control.is_unsettled());
    assert_eq!(
        (journal.names(), disk.names()),
        (vec!["a".into(), "b".into()], vec![])
    );
    disk.restore(&image);
    assert_eq!(
        (journal.names(), control.names()),
        (vec!["a".to_owned()], vec![])
    );
    assert_eq!((disk.bytes(), journal.bytes(), control.bytes()), (1, 1, 0));
}

#[test]
fn failures_happen_once_and_rot_stays() {
    let disk = disk(5);
    disk.fail_next(Failing::Sync);
    assert!(write(&disk, 2, 0).is_err());
    assert_eq!(content(&disk, "f").unwrap()[0], 2);
    write(&disk, 3, BLOCK as u64).unwrap();
    disk.settle();
    assert_eq!(
        (
            content(&disk, "f").unwrap()[0],
            content(&disk.crash(), "f").unwrap()[0]
        ),
        (2, 1)
    );
    disk.fail_next(Failing::Name);
    assert!(disk.write_small("note", b"x").is_err());
    assert_eq!(content(&disk, "note"), None);
    disk.set_full(true);
    let full = disk.write_small("note", b"x").unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    write(&disk, 3, 0).unwrap();
    assert!(disk.rot("f", 9) && !disk.rot("f", 1 << 20) && !disk.rot("none", 0));
    for _ in 0..10 {
        let found = content(&disk.crash(), "f").unwrap();
        assert!(
            ![1, 3].contains(&found[9]),
            "rotten before and after the write"
        );
    }
}

#[test]
fn a_prompt_disk_loses_nothing_that_was_synced() {
    let disk = disk(7);
    disk.set_prompt(true);
    write(&disk, 2, 0).unwrap();
    disk.write_small("note", b"x").unwrap();
    assert!(!disk.is_unsettled());
    assert_eq!(disk.crash().names(), ["f", "note"]);
}

#[test]
fn what_was_written_without_a_sync_is_never_durable() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let mut file = disk.log_place("log").replace(&[1; 600]).unwrap();
        file.write(&[2; 10], 5).unwrap();
        file.write(&[3; 10], 600).unwrap();
        disk.settle();
        assert!(!disk.is_unsettled());
        let after = content(&disk.crash(), "log").unwrap();
        seen.insert((after[5], after.get(600).copied()));
        file.sync().unwrap();
        disk.settle();
        assert_eq!(content(&disk.crash(), "log"), Some(file.read().unwrap()));
    }
    let old_and_new = [(1, None), (2, Some(3)), (1, Some(3)), (2, None)];
    assert!(
        old_and_new.iter().all(|kind| seen.contains(kind)),
        "{seen:?}"
    );
}
