//! The files of a journal, byte by byte, and those of an older version.

use super::super::disk::RealDisk;
use super::super::format::JOURNAL_FORMAT;
use super::*;
use crate::testing::golden::{Golden, dump, lay_out};

/// What `write` leaves, as format 1 has it.
const GOLDEN: Golden<'_> = Golden {
    format: "the journal's files",
    number: "JOURNAL_FORMAT",
    file: "journal-format-1.txt",
    text: include_str!("../../../testdata/journal-format-1.txt"),
};

fn open(directory: &Path, replay: &mut dyn FnMut(Replayed<'_>)) -> (JournalWriter, JournalReader) {
    let disk = Arc::new(RealDisk::open(directory).unwrap());
    Journal::open_on(disk, directory, &SMALL, replay).unwrap()
}

/// Records of every kind, and a segment that is full.
fn write(directory: &Path) {
    let (mut writer, _) = open(directory, &mut |_| ());
    writer.push_meta(3, &meta(2, 0, &[], 0));
    writer.push_entry(3, 2, 1, b"first");
    writer.push_entry(3, 2, 2, b"taken back");
    writer.push_entry(1 << 40, 5, 1, b"of a partition that goes");
    writer.commit().unwrap();
    writer.push_meta(3, &meta(4, 1, &[(2, 1)], 1));
    writer.push_entry(3, 4, 2, &[0; 40_000]);
    writer.push_forget(1 << 40);
    writer.commit().unwrap();
    writer.push_entry(3, 4, 3, &[0; 30_000]);
    writer.commit().unwrap();
    writer.push_meta(9, &meta(1, 0, &[], 0));
    writer.commit().unwrap();
    writer.state_end().unwrap();
}

#[test]
fn the_bytes_of_the_files_do_not_change() {
    assert_eq!(
        JOURNAL_FORMAT, 1,
        "a new format has a golden file of its own"
    );
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    GOLDEN.check(&dump(directory.path()).unwrap());
}

#[test]
fn a_journal_of_format_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    lay_out(GOLDEN.text, directory.path()).unwrap();
    let mut replayed = Vec::new();
    let (mut writer, reader) = open(directory.path(), &mut |record| {
        replayed.push(match record {
            Replayed::Entry {
                partition,
                epoch,
                index,
                data,
            } => format!("{partition}: entry {epoch} {index}, {} bytes", data.len()),
            Replayed::Meta { partition, meta } => format!("{partition}: {meta:?}"),
            Replayed::Forget { partition } => format!("{partition}: forget"),
        });
    });
    let last = replayed.last().unwrap();
    let stated = "3: Meta { adopted: 4, end: 3, history: [(2, 1), (4, 2)], commit: 1 }";
    assert_eq!(last, stated, "{replayed:#?}");
    assert!(replayed.contains(&"3: entry 4 3, 30000 bytes".to_owned()));
    assert!(replayed.contains(&"1099511627776: forget".to_owned()));
    let expected = [
        (2, 1, b"first".to_vec()),
        (4, 2, vec![0; 40_000]),
        (4, 3, vec![0; 30_000]),
    ];
    assert_eq!(read_all(&reader, 3), expected);
    assert_eq!(reader.partitions(), [3, 9]);
    assert_eq!(reader.meta(3), Some(meta(4, 3, &[(2, 1), (4, 2)], 1)));
    assert_eq!(reader.meta(9), Some(meta(1, 0, &[], 0)));
    writer.push_entry(3, 4, 4, b"it goes on");
    writer.commit().unwrap();
}
