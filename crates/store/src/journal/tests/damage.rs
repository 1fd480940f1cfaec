//! Damage: what is not a torn end is refused, and the file is named.

use super::super::faulty::{Fault, FaultyDisk};
use super::super::*;
use super::{SMALL, open_on};

/// A journal of several segments, without recycling.
fn filled() -> (FaultyDisk, u64) {
    let disk = FaultyDisk::default();
    let (mut writer, _) = open_on(&disk).unwrap();
    for index in 1..=60 {
        writer.push_entry(1, 1, index, &[7; 3000]);
        writer.commit().unwrap();
    }
    drop(writer);
    (disk.after_crash(), 60)
}

fn segment_names(disk: &FaultyDisk) -> Vec<String> {
    let used = |(name, content): (&String, &Vec<u8>)| {
        (name.starts_with("segment") && content.iter().any(|byte| *byte != 0)).then(|| name.clone())
    };
    disk.edit(|files| files.iter().filter_map(used).collect())
}

fn refusal(disk: &FaultyDisk) -> OpenError {
    match open_on(disk) {
        Ok((_, reader)) => panic!("opened with an end of {:?}", reader.end(1)),
        Err(error) => error,
    }
}

#[test]
fn once_the_end_is_stated_no_acknowledged_group_passes_for_a_torn_one() {
    let disk = FaultyDisk::default();
    let (mut writer, _) = open_on(&disk).unwrap();
    for index in 1..=60 {
        writer.push_entry(1, 1, index, &[7; 3000]);
        writer.commit().unwrap();
    }
    writer.state_end().unwrap();
    drop(writer);
    let disk = disk.after_crash();
    let mut refused = 0;
    for name in segment_names(&disk) {
        let blocks = disk.edit(|files| files[&name].len() / 4096);
        for block in 1..blocks {
            let copy = disk.after_crash();
            copy.edit(|files| files.get_mut(&name).unwrap()[block * 4096 + 100] ^= 1);
            match open_on(&copy) {
                Ok((_, reader)) => assert_eq!(reader.end(1), Some(60), "{name} block {block}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused >= 60, "{refused}");
}

#[test]
fn a_damaged_group_with_others_after_it_is_refused_by_file_and_offset() {
    let (disk, end) = filled();
    let names = segment_names(&disk);
    assert!(names.len() > 2);
    for name in &names {
        let blocks = disk.edit(|files| files[name].len() / 4096);
        for block in 1..blocks {
            let copy = disk.after_crash();
            let changed = copy.edit(|files| {
                let content = files.get_mut(name).unwrap();
                let byte = &mut content[block * 4096 + 100];
                *byte ^= 1;
                *byte != 1
            });
            match open_on(&copy) {
                // The last group may be torn; and padding or free space may be anything.
                Ok((_, reader)) => {
                    let found = reader.end(1).unwrap();
                    assert!(
                        found >= end - 1,
                        "{name} block {block} changed: {changed} {found}"
                    );
                }
                Err(OpenError::Corrupt { file, offset, .. }) => {
                    assert!(
                        file.ends_with(name),
                        "{} is named, not {name}",
                        file.display()
                    );
                    assert!(
                        offset <= block as u64 * 4096,
                        "byte {offset}, block {block}"
                    );
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_lost_write_in_the_middle_is_refused() {
    let mut refused = 0;
    for write in 1..60 {
        let disk = FaultyDisk::failing(write, Fault::Lost);
        let (mut writer, _) = open_on(&disk).unwrap();
        for index in 1..=60 {
            writer.push_entry(1, 1, index, &[7; 3000]);
            writer.commit().unwrap();
        }
        match open_on(&disk.after_crash()) {
            Ok((_, reader)) => assert_eq!(reader.end(1), Some(60), "write {write}"),
            Err(OpenError::Corrupt { .. } | OpenError::Missing { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused >= 58, "{refused}");
}

#[test]
fn missing_truncated_and_foreign_files_are_named() {
    let (disk, _) = filled();
    for name in segment_names(&disk) {
        let copy = disk.after_crash();
        copy.edit(|files| files.remove(&name));
        let error = refusal(&copy);
        assert!(
            matches!(&error, OpenError::Missing { file } if file.ends_with(&name)),
            "{error}"
        );
        let copy = disk.after_crash();
        copy.edit(|files| files.get_mut(&name).unwrap().truncate(32 * 1024));
        let error = refusal(&copy);
        assert!(
            matches!(&error, OpenError::Truncated { file, .. } if file.ends_with(&name)),
            "{error}"
        );
        let copy = disk.after_crash();
        copy.edit(|files| files.get_mut(&name).unwrap()[20] ^= 1);
        let error = refusal(&copy);
        assert!(
            matches!(&error, OpenError::Corrupt { file, offset: 0, .. } if file.ends_with(&name)),
            "{error}"
        );
    }
    let copy = disk.after_crash();
    copy.edit(|files| files.insert("notes.txt".into(), vec![1]));
    assert!(matches!(refusal(&copy), OpenError::Foreign { file } if file.ends_with("notes.txt")));
    let copy = disk.after_crash();
    copy.edit(|files| files.remove("JOURNAL"));
    assert!(matches!(refusal(&copy), OpenError::Missing { file } if file.ends_with("JOURNAL")));
    let copy = disk.after_crash();
    copy.edit(|files| files.retain(|name, _| name == "JOURNAL"));
    assert!(matches!(refusal(&copy), OpenError::Missing { .. }));
}

#[test]
fn o12_a_journal_of_another_node_is_refused() {
    let (disk, _) = filled();
    let settings = JournalSettings {
        journal_id: 8,
        ..SMALL
    };
    let error = Journal::open_on(
        Arc::new(disk.clone()),
        Path::new("j"),
        &settings,
        &mut |_| (),
    );
    assert!(matches!(error, Err(OpenError::Foreign { .. })));
    // One file of another journal among ours.
    let other = FaultyDisk::default();
    drop(open_on(&other).unwrap());
    let settings = JournalSettings {
        journal_id: 8,
        ..SMALL
    };
    let foreign = FaultyDisk::default();
    drop(Journal::open_on(
        Arc::new(foreign.clone()),
        Path::new("j"),
        &settings,
        &mut |_| (),
    ));
    let file = foreign.edit(|files| files["segment-00000000"].clone());
    disk.edit(|files| files.insert("segment-00000001".into(), file));
    assert!(
        matches!(refusal(&disk), OpenError::Foreign { file } if file.ends_with("segment-00000001"))
    );
}

#[test]
fn a_newer_format_is_refused() {
    let (disk, _) = filled();
    let copy = disk.after_crash();
    copy.edit(|files| files.insert("JOURNAL".into(), b"tablestore journal 2 x\n".to_vec()));
    assert!(matches!(
        refusal(&copy),
        OpenError::NewerFormat {
            found: 2,
            supported: 1,
            ..
        }
    ));
    let copy = disk.after_crash();
    copy.edit(|files| files.get_mut("segment-00000000").unwrap()[8] = 9);
    assert!(matches!(
        refusal(&copy),
        OpenError::NewerFormat { found: 9, .. }
    ));
}

#[test]
fn impossible_sizes_are_refused() {
    let home = tempfile::tempdir().unwrap();
    for segment_bytes in [0, 1000, 1 << 31] {
        let settings = JournalSettings {
            segment_bytes,
            ..SMALL
        };
        let error = Journal::open(home.path(), &settings, &mut |_| ());
        assert!(matches!(error, Err(OpenError::Settings { .. })));
    }
}

#[test]
fn a_reader_notices_bytes_that_changed_under_it() {
    let disk = FaultyDisk::default();
    let (mut writer, reader) = open_on(&disk).unwrap();
    writer.push_entry(1, 1, 1, &[7; 3000]);
    writer.commit().unwrap();
    disk.edit(|files| files.get_mut("segment-00000000").unwrap()[5000] ^= 1);
    let error = reader.read(1, 1, 1, 99).unwrap_err();
    assert!(
        matches!(error, ReadError::Corrupt { offset: 4128, .. }),
        "{error}"
    );
}
