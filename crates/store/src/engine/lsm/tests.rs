//! The LSM engine against the conformance suite, the oracle, and crashes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::engine::{MemoryEngine, checksum_of};

fn open(path: &Path) -> LsmEngine {
    LsmEngine::open(path, &LsmSettings::default()).unwrap()
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> RowWrite<'a> {
    RowWrite {
        key,
        value: Some(value),
    }
}

fn everything(engine: &dyn Engine, partition: u64) -> Rows {
    engine
        .scan(partition, &Scan::all(usize::MAX, usize::MAX))
        .unwrap()
        .rows
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn conforms() {
    let mut home = tempfile::tempdir().unwrap();
    crate::testing::engine_suite(&mut |crash| {
        if !crash {
            home = tempfile::tempdir().unwrap();
        }
        Arc::new(open(home.path())) as Arc<dyn Engine>
    });
}

#[test]
fn what_an_interrupted_replacement_or_removal_left_is_cleaned_up() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path());
    for partition in [1, 2] {
        engine.open_partition(partition).unwrap();
        engine.apply(partition, 5, &[put(b"old", b"1")]).unwrap();
        engine.checkpoint(partition, &[]).unwrap();
    }
    let mut replacement = engine.begin_replace(1).unwrap();
    replacement.put(&[put(b"new", b"1")]).unwrap();
    // Each stage of a replacement, as a crash would leave it.
    let unfinished: Vec<_> = names(home.path());
    assert!(
        unfinished.iter().any(|name| name.ends_with(".new")),
        "{unfinished:?}"
    );
    let saved = tempfile::tempdir().unwrap();
    copy_all(home.path(), saved.path());
    let after = open(saved.path());
    assert_eq!(after.applied(1), 5, "not finished: the old content");
    assert_eq!(names(saved.path()).len(), 2);
    drop(after);
    let snapshot = engine.snapshot(1).unwrap();
    replacement.finish(9).unwrap();
    // The old content is still there, since the snapshot reads it.
    let both = names(home.path());
    assert_eq!(both.len(), 3, "{both:?}");
    let saved = tempfile::tempdir().unwrap();
    copy_all(home.path(), saved.path());
    let after = open(saved.path());
    assert_eq!(after.applied(1), 9, "finished: the new content");
    assert_eq!(names(saved.path()).len(), 2);
    drop(snapshot);
    engine.maintain(1).unwrap();
    assert_eq!(names(home.path()).len(), 2, "gone once nobody reads it");
    drop(engine);
    let old = home.path().join("0000000000000002.00000000.old");
    fs::create_dir(&old).unwrap();
    let engine = open(home.path());
    assert!(!old.exists());
    assert_eq!(engine.partitions(), [1, 2]);
}

#[test]
fn what_was_sealed_before_there_were_files_comes_into_them_at_the_first_flush() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path());
    engine.open_partition(1).unwrap();
    engine
        .apply(1, 1, &[put(b"a", b"1"), put(b"b", b"1"), put(b"c", b"1")])
        .unwrap();
    let early = engine.snapshot(1).unwrap();
    engine.seal(1, &[put(b"side", b"1")]).unwrap();
    let gone = RowWrite {
        key: b"b",
        value: None,
    };
    engine.apply(1, 2, &[put(b"a", b"2"), gone]).unwrap();
    // Sealed again, as after a flush that failed.
    engine.seal(1, &[put(b"side", b"2")]).unwrap();
    engine.apply(1, 3, &[put(b"d", b"3")]).unwrap();
    let row = |key: &'static [u8], value: &'static [u8]| {
        (Bytes::from_static(key), Bytes::from_static(value))
    };
    let all = [row(b"a", b"2"), row(b"c", b"1"), row(b"d", b"3")];
    let check = |engine: &LsmEngine| {
        assert_eq!(everything(engine, 1), all);
        assert_eq!(engine.get(1, b"b").unwrap(), None);
        assert_eq!(engine.get(1, b"a").unwrap().unwrap(), "2");
        assert_eq!(engine.side_records(1).unwrap(), [row(b"side", b"2")]);
    };
    check(&engine);
    assert_eq!(names(home.path()), [""; 0]);
    assert_eq!(engine.flush(1).unwrap(), 2);
    check(&engine);
    let rows = early.scan(&Scan::all(usize::MAX, usize::MAX)).unwrap().rows;
    let then = [row(b"a", b"1"), row(b"b", b"1"), row(b"c", b"1")];
    assert_eq!(rows, then, "a snapshot from before the files");
    drop((early, engine));
    let engine = open(home.path());
    assert_eq!(
        engine.applied(1),
        2,
        "what came after the seal is not there"
    );
    engine.apply(1, 3, &[put(b"d", b"3")]).unwrap();
    check(&engine);
}

#[test]
fn a_flush_that_comes_after_the_drop_makes_no_files_again() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path());
    engine.open_partition(1).unwrap();
    engine.apply(1, 1, &[put(b"a", b"1")]).unwrap();
    engine.seal(1, &[]).unwrap();
    let live = engine.live(1).unwrap();
    engine.drop_partition(1).unwrap();
    live.flush(&engine.shared).unwrap_err();
    assert_eq!(names(home.path()), [""; 0]);
}

#[test]
fn a_partition_that_was_never_checkpointed_may_be_cut_short_by_a_crash() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path());
    engine.open_partition(1).unwrap();
    engine.apply(1, 1, &[put(b"a", b"1")]).unwrap();
    assert_eq!(
        names(home.path()),
        [""; 0],
        "no files before they are needed"
    );
    // As a crash in the first checkpoint leaves it.
    let directory = home.path().join("0000000000000001.00000009");
    let replacement = engine.begin_replace(2).unwrap();
    copy_all(&home.path().join(&names(home.path())[0]), &directory);
    drop((replacement, engine));
    // Nothing of it was synced, so anything may be missing.
    fs::write(directory.join("current"), b"").unwrap();
    assert_eq!(open(home.path()).partitions(), [0; 0]);
    assert!(!directory.exists());
    // One that was checkpointed is never taken for that.
    let engine = open(home.path());
    engine.open_partition(1).unwrap();
    engine.apply(1, 1, &[put(b"a", b"1")]).unwrap();
    engine.checkpoint(1, &[]).unwrap();
    let tables = home.path().join(&names(home.path())[0]).join("tables");
    drop(engine);
    for table in names(&tables) {
        fs::remove_file(tables.join(table)).unwrap();
    }
    let engine = open(home.path());
    let error = engine.open_partition(1).unwrap_err();
    assert!(matches!(error, EngineError::Corrupt { .. }), "{error}");
}

#[test]
fn a_foreign_file_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("notes.txt"), b"x").unwrap();
    let error = LsmEngine::open(home.path(), &LsmSettings::default()).unwrap_err();
    assert!(matches!(&error, EngineError::Corrupt { path, .. } if path.ends_with("notes.txt")));
}

#[test]
fn a_damaged_table_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path());
    engine.open_partition(1).unwrap();
    for index in 1..=200u64 {
        let key = [&[0x10][..], &index.to_be_bytes()].concat();
        engine
            .apply(1, index, &[put(&key, &index.to_be_bytes().repeat(20))])
            .unwrap();
    }
    engine.checkpoint(1, &[]).unwrap();
    drop(engine);
    let tables = home.path().join(&names(home.path())[0]).join("tables");
    let table = tables.join(&names(&tables)[0]);
    let mut content = fs::read(&table).unwrap();
    content[300] ^= 1;
    fs::write(&table, content).unwrap();
    let noticed = match LsmEngine::open(home.path(), &LsmSettings::default()) {
        Err(error) => error,
        Ok(engine) if engine.broken().contains_key(&1) => engine.open_partition(1).unwrap_err(),
        Ok(engine) => engine
            .scan(1, &Scan::all(usize::MAX, usize::MAX))
            .unwrap_err(),
    };
    assert!(matches!(noticed, EngineError::Corrupt { .. }), "{noticed}");
}

#[test]
fn reads_go_on_while_another_thread_flushes_and_compacts() {
    let home = tempfile::tempdir().unwrap();
    let engine = Arc::new(open(home.path()));
    engine.open_partition(1).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (other, stopped) = (Arc::clone(&engine), Arc::clone(&stop));
    let flushing = std::thread::spawn(move || {
        while !stopped.load(Ordering::Acquire) {
            other.checkpoint(1, &[]).unwrap();
            other.maintain(1).unwrap();
        }
    });
    let (other, stopped) = (Arc::clone(&engine), Arc::clone(&stop));
    let scanning = std::thread::spawn(move || {
        let mut scans = 0;
        while !stopped.load(Ordering::Acquire) {
            // Both rows are written by one batch, so a scan sees the same value twice.
            let rows = everything(&*other, 1);
            assert!(
                rows.is_empty() || (rows.len() == 2 && rows[0].1 == rows[1].1),
                "{rows:?}"
            );
            let snapshot = other.snapshot(1).unwrap();
            let page = snapshot.scan(&Scan::all(9, 99)).unwrap();
            if let Some((_, value)) = page.rows.first() {
                assert_eq!(&value[..], snapshot.index().to_be_bytes());
            }
            scans += 1;
        }
        scans
    });
    for index in 1..=20_000u64 {
        let value = index.to_be_bytes();
        engine
            .apply(1, index, &[put(b"a", &value), put(b"b", &value)])
            .unwrap();
        assert_eq!(engine.get(1, b"a").unwrap().unwrap(), value.as_slice());
    }
    stop.store(true, Ordering::Release);
    flushing.join().unwrap();
    assert!(scanning.join().unwrap() > 0);
}

#[test]
fn many_partitions_are_opened_again() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path());
    for partition in 0..64 {
        engine.open_partition(partition).unwrap();
        engine
            .apply(partition, partition + 1, &[put(b"a", b"1")])
            .unwrap();
        engine.checkpoint(partition, &[]).unwrap();
    }
    drop(engine);
    let engine = open(home.path());
    assert_eq!(engine.partitions().len(), 64);
    assert!((0..64).all(|partition| engine.applied(partition) == partition + 1));
    assert_eq!(engine.memory_bytes(), 0);
    assert!(engine.disk_bytes_of(1) > 0);
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<(u8, Option<u8>)>),
    Side(u8, Option<u8>),
    Checkpoint,
    Maintain,
    Crash,
    Replace(Vec<(u8, u8)>),
    Scan {
        from: u8,
        to: u8,
        reverse: bool,
        limit: usize,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let writes = proptest::collection::vec((0u8..20, proptest::option::of(any::<u8>())), 0..8);
    prop_oneof![
        12 => writes.prop_map(Step::Apply),
        2 => (0u8..4, proptest::option::of(any::<u8>())).prop_map(|(k, v)| Step::Side(k, v)),
        3 => Just(Step::Checkpoint),
        2 => Just(Step::Maintain),
        2 => Just(Step::Crash),
        1 => proptest::collection::vec((0u8..20, any::<u8>()), 0..8).prop_map(Step::Replace),
        6 => (0u8..20, 0u8..20, any::<bool>(), 0usize..6)
            .prop_map(|(from, to, reverse, limit)| Step::Scan { from, to, reverse, limit }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn l06_the_engine_agrees_with_ordered_maps(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let home = tempfile::tempdir().unwrap();
        let mut engine = open(home.path());
        let mut oracle = MemoryEngine::new();
        engine.open_partition(1).unwrap();
        oracle.open_partition(1).unwrap();
        oracle.checkpoint(1, &[]).unwrap();
        for step in steps {
            if let Step::Crash = step {
                drop(engine);
                engine = open(home.path());
                engine.open_partition(1).unwrap();
                oracle = oracle.after_crash();
            } else {
                run(&engine, &step);
                run(&oracle, &step);
            }
            prop_assert_eq!(engine.applied(1), oracle.applied(1));
            prop_assert_eq!(engine.checkpointed(1), oracle.checkpointed(1));
            prop_assert_eq!(everything(&engine, 1), everything(&oracle, 1));
            prop_assert_eq!(engine.side_records(1).unwrap(), oracle.side_records(1).unwrap());
            if let Step::Scan { from, to, reverse, limit } = step {
                let from = Bound::Included(Bytes::from(vec![0x10, from]));
                let to = Bound::Excluded(Bytes::from(vec![0x10, to]));
                let scan = Scan { from, to, reverse, limit, bytes_max: 9 };
                prop_assert_eq!(engine.scan(1, &scan).unwrap(), oracle.scan(1, &scan).unwrap());
            }
        }
        let (ours, theirs) = (engine.snapshot(1).unwrap(), oracle.snapshot(1).unwrap());
        prop_assert_eq!(checksum_of(&*ours).unwrap(), checksum_of(&*theirs).unwrap());
    }
}

fn run(engine: &dyn Engine, step: &Step) {
    match step {
        Step::Apply(rows) => {
            let rows: Vec<_> = rows
                .iter()
                .map(|(key, value)| ([0x10, *key], value.map(|value| [value])))
                .collect();
            let writes: Vec<_> = rows
                .iter()
                .map(|(key, value)| RowWrite {
                    key,
                    value: value.as_ref().map(|v| &v[..]),
                })
                .collect();
            engine.apply(1, engine.applied(1) + 1, &writes).unwrap();
        }
        Step::Side(key, value) => {
            let value = value.map(|value| [value]);
            let side = RowWrite {
                key: &[*key],
                value: value.as_ref().map(|v| &v[..]),
            };
            engine.put_side(1, &[side]).unwrap();
        }
        Step::Checkpoint => {
            engine.checkpoint(1, &[]).unwrap();
        }
        Step::Maintain => while engine.maintain(1).unwrap() {},
        Step::Replace(rows) => {
            let mut replacement = engine.begin_replace(1).unwrap();
            for (key, value) in rows {
                replacement.put(&[put(&[0x10, *key], &[*value])]).unwrap();
            }
            replacement.finish(engine.applied(1) + 10).unwrap();
        }
        Step::Crash | Step::Scan { .. } => {}
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
