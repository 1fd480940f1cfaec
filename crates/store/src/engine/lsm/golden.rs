//! A directory of the engine as an older version left it. Its files are those of `lsm-tree`, with
//! times in them, so that they are read and not compared; what lies in a tree under which key is
//! the engine's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;
use crate::directory::DIRECTORY_FORMAT;
use crate::testing::golden::{Golden, dump, lay_out};

const GOLDEN: Golden<'_> = Golden {
    format: "the row engine's directory",
    number: "DIRECTORY_FORMAT",
    file: "engine-directory-2.txt",
    text: include_str!("../../../testdata/engine-directory-2.txt"),
};

fn open(path: &Path) -> LsmEngine {
    LsmEngine::open(path, &LsmSettings::default()).unwrap()
}

fn write<'a>(key: &'a [u8], value: Option<&'a [u8]>) -> RowWrite<'a> {
    RowWrite { key, value }
}

/// Two checkpoints of one partition, a replaced content of another, and one that has none.
fn fill(path: &Path) {
    let engine = open(path);
    for partition in [1, 1 << 40, 7] {
        engine.open_partition(partition).unwrap();
    }
    let rows = [
        write(b"\x02one", Some(b"1")),
        write(b"\x10two", Some(b"2")),
        write(b"\xff", Some(b"")),
    ];
    engine.apply(1, 5, &rows).unwrap();
    let side = [write(b"requests/", Some(b"side"))];
    engine.checkpoint(1, &side).unwrap();
    let rows = [write(b"\x10two", None), write(b"\x10three", Some(b"3"))];
    engine.apply(1, 9, &rows).unwrap();
    engine.checkpoint(1, &[]).unwrap();
    engine
        .apply(1, 10, &[write(b"\x10lost", Some(b"4"))])
        .unwrap();
    let mut replacement = engine.begin_replace(1 << 40).unwrap();
    replacement
        .put(&[write(b"\x10copied", Some(b"5"))])
        .unwrap();
    replacement.put_side(&[write(b"s", Some(b"6"))]).unwrap();
    replacement.finish(77).unwrap();
}

fn rows(engine: &dyn Engine, partition: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let page = engine.scan(partition, &Scan::all(100, 1 << 20)).unwrap();
    let pair = |(key, value): (Bytes, Bytes)| (key.to_vec(), value.to_vec());
    page.rows.into_iter().map(pair).collect()
}

fn check(path: &Path) {
    let engine = open(path);
    let what = format!("{} cannot be read: raise {}", GOLDEN.format, GOLDEN.number);
    assert!(engine.broken().is_empty(), "{what}: {:?}", engine.broken());
    assert_eq!(engine.partitions(), [1, 1 << 40], "{what}");
    assert_eq!(
        (engine.applied(1), engine.checkpointed(1)),
        (9, 9),
        "{what}"
    );
    let expected = [
        (b"\x02one".to_vec(), b"1".to_vec()),
        (b"\x10three".to_vec(), b"3".to_vec()),
        (b"\xff".to_vec(), Vec::new()),
    ];
    assert_eq!(rows(&engine, 1), expected, "{what}");
    let side = |name: &'static [u8], value: &'static [u8]| vec![(name.into(), value.into())];
    assert_eq!(engine.side_records(1).unwrap(), side(b"requests/", b"side"));
    assert_eq!(engine.applied(1 << 40), 77, "{what}");
    let copied = [(b"\x10copied".to_vec(), b"5".to_vec())];
    assert_eq!(rows(&engine, 1 << 40), copied, "{what}");
    assert_eq!(engine.side_records(1 << 40).unwrap(), side(b"s", b"6"));
    engine
        .apply(1, 10, &[write(b"\x10on", Some(b"7"))])
        .unwrap();
    assert_eq!(engine.checkpoint(1, &[]).unwrap(), 10, "{what}");
}

#[test]
fn a_directory_of_an_older_version_is_read_and_goes_on() {
    assert_eq!(
        DIRECTORY_FORMAT, 2,
        "a new format has a golden file of its own"
    );
    let home = tempfile::tempdir().unwrap();
    lay_out(GOLDEN.text, home.path()).unwrap();
    check(home.path());
}

#[test]
fn a_directory_of_today_is_read_as_the_older_one() {
    let home = tempfile::tempdir().unwrap();
    fill(home.path());
    assert!(dump(home.path()).unwrap().starts_with("0000000000000001."));
    check(home.path());
}
