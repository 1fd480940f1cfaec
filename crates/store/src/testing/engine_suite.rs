//! What every engine must do. Run it with a factory; it panics at the first thing that is
//! wrong. Knows nothing of a particular engine.

mod durability;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Engine, EngineError, Page, RowWrite, Scan, checksum_of, checksum_of_rows};

/// Makes the engine under test. With `false` an empty one; with `true` the engine made last,
/// as it is after a crash: what was checkpointed is there, and nothing else.
pub type EngineFactory<'a> = dyn FnMut(bool) -> Arc<dyn Engine> + 'a;

const PARTITION: u64 = 0x0000_0003_0000_0011;
const OTHER: u64 = u64::MAX;

/// Runs the suite.
///
/// # Panics
/// If the engine does not conform.
pub fn engine_suite(factory: &mut EngineFactory<'_>) {
    rows_are_read_as_written(factory);
    scans_are_ordered(factory);
    scans_are_bounded(factory);
    wrong_use_is_refused(factory);
    partitions_are_apart(factory);
    durability::a_crash_keeps_exactly_the_checkpoint(factory);
    durability::a_checkpoint_is_of_the_moment_it_was_sealed(factory);
    durability::side_records_come_with_the_rows(factory);
    durability::a_snapshot_does_not_change(factory);
    durability::a_replacement_is_switched_in_whole(factory);
    checksums_are_of_the_rows_alone(factory);
    housekeeping_changes_nothing(factory);
}

/// A row write, from texts.
fn put<'a>(key: &'a str, value: &'a str) -> RowWrite<'a> {
    RowWrite {
        key: key.as_bytes(),
        value: Some(value.as_bytes()),
    }
}

fn delete(key: &str) -> RowWrite<'_> {
    RowWrite {
        key: key.as_bytes(),
        value: None,
    }
}

fn texts(page: &Page) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    page.rows
        .iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

fn keys(engine: &dyn Engine, scan: &Scan) -> Vec<String> {
    let page = engine.scan(PARTITION, scan).expect("scan");
    texts(&page).into_iter().map(|(key, _)| key).collect()
}

fn everything(engine: &dyn Engine, partition: u64) -> Vec<(String, String)> {
    texts(
        &engine
            .scan(partition, &Scan::all(usize::MAX, usize::MAX))
            .expect("scan"),
    )
}

fn value(engine: &dyn Engine, key: &str) -> Option<String> {
    let value = engine.get(PARTITION, key.as_bytes()).expect("get")?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

fn made(factory: &mut EngineFactory<'_>) -> Arc<dyn Engine> {
    let engine = factory(false);
    engine.open_partition(PARTITION).expect("open");
    engine
}

fn rows_are_read_as_written(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    assert_eq!(engine.applied(PARTITION), 0);
    assert_eq!(value(&*engine, "a"), None);
    engine
        .apply(PARTITION, 1, &[put("a", "1"), put("b", ""), put("a", "2")])
        .expect("apply");
    assert_eq!(
        value(&*engine, "a").as_deref(),
        Some("2"),
        "the last write of a key counts"
    );
    assert_eq!(value(&*engine, "b").as_deref(), Some(""));
    engine
        .apply(PARTITION, 5, &[delete("a"), delete("never")])
        .expect("apply");
    assert_eq!(value(&*engine, "a"), None);
    engine
        .apply(PARTITION, 6, &[delete("b"), put("b", "3")])
        .expect("apply");
    assert_eq!(value(&*engine, "b").as_deref(), Some("3"));
    engine
        .apply(PARTITION, 7, &[])
        .expect("an entry without rows");
    assert_eq!(engine.applied(PARTITION), 7);
    assert!(engine.memory_bytes_of(PARTITION) > 0);
    engine
        .open_partition(PARTITION)
        .expect("opening again does nothing");
    assert_eq!(engine.applied(PARTITION), 7);
}

/// Ten rows without the fourth, some of them flushed.
fn ten_rows(factory: &mut EngineFactory<'_>) -> Arc<dyn Engine> {
    let engine = made(factory);
    let names: Vec<String> = (0..10).map(|row| format!("k{row}")).collect();
    let writes: Vec<_> = names.iter().map(|name| put(name, "0123456789")).collect();
    engine.apply(PARTITION, 1, &writes[..5]).expect("apply");
    engine.checkpoint(PARTITION, &[]).expect("checkpoint");
    engine.apply(PARTITION, 2, &writes[5..]).expect("apply");
    engine.apply(PARTITION, 3, &[delete("k3")]).expect("apply");
    engine
}

fn scans_are_ordered(factory: &mut EngineFactory<'_>) {
    let engine = ten_rows(factory);
    let mut scan = Scan::all(usize::MAX, usize::MAX);
    let mut present = ["k0", "k1", "k2", "k4", "k5", "k6", "k7", "k8", "k9"];
    assert_eq!(keys(&*engine, &scan), present);
    scan.reverse = true;
    present.reverse();
    assert_eq!(keys(&*engine, &scan), present);
    scan.reverse = false;
    scan.from = Bound::Excluded("k1".into());
    scan.to = Bound::Included("k6".into());
    assert_eq!(keys(&*engine, &scan), ["k2", "k4", "k5", "k6"]);
    for (from, to) in [("k5", "k5"), ("k6", "k2")] {
        scan.from = Bound::Included(from.into());
        scan.to = Bound::Excluded(to.into());
        assert_eq!(keys(&*engine, &scan), [""; 0]);
    }
    assert_eq!(keys(&*engine, &Scan::prefix(b"k4", 9, 99)), ["k4"]);
}

fn scans_are_bounded(factory: &mut EngineFactory<'_>) {
    let engine = ten_rows(factory);
    let page = |scan: &Scan| engine.scan(PARTITION, scan).expect("scan");
    let mut scan = Scan::all(4, usize::MAX);
    scan.from = Bound::Excluded("k1".into());
    scan.to = Bound::Included("k6".into());
    assert!(!page(&scan).more, "all four fit");
    scan.limit = 3;
    scan.reverse = true;
    let found = page(&scan);
    assert!(found.more && found.rows.len() == 3 && found.rows[0].0 == "k6");
    let found = page(&Scan::all(usize::MAX, 13));
    assert!(
        found.more && found.rows.len() == 2,
        "stops once the bytes are there"
    );
    let found = page(&Scan::all(usize::MAX, 0));
    assert!(found.more && found.rows.len() == 1, "one row in any case");
}

fn wrong_use_is_refused(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    engine.apply(PARTITION, 3, &[put("a", "1")]).expect("apply");
    let again = engine.apply(PARTITION, 3, &[put("a", "2")]);
    assert!(
        matches!(
            again,
            Err(EngineError::Index {
                index: 3,
                applied: 3
            })
        ),
        "{again:?}"
    );
    for key in ["", "\u{0}a", "\u{1}a"] {
        let refused = engine.apply(PARTITION, 4, &[put(key, "2")]);
        assert!(
            matches!(refused, Err(EngineError::InvalidKey { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(engine.applied(PARTITION), 3);
    let refused = engine.apply(OTHER, 1, &[]);
    assert!(
        matches!(refused, Err(EngineError::NoPartition { partition: OTHER })),
        "{refused:?}"
    );
    assert!(engine.get(OTHER, b"a").is_err());
    assert!(engine.snapshot(OTHER).is_err());
    assert_eq!((engine.applied(OTHER), engine.checkpointed(OTHER)), (0, 0));
}

fn partitions_are_apart(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    engine.open_partition(OTHER).expect("open");
    assert_eq!(engine.partitions(), [PARTITION, OTHER]);
    engine.apply(PARTITION, 1, &[put("a", "1")]).expect("apply");
    engine.apply(OTHER, 9, &[put("b", "2")]).expect("apply");
    assert_eq!(everything(&*engine, OTHER), [("b".into(), "2".into())]);
    engine.checkpoint(OTHER, &[]).expect("checkpoint");
    engine.drop_partition(PARTITION).expect("drop");
    engine
        .drop_partition(PARTITION)
        .expect("dropping again does nothing");
    assert_eq!(engine.partitions(), [OTHER]);
    engine.open_partition(PARTITION).expect("open");
    assert_eq!(
        everything(&*engine, PARTITION),
        [],
        "a partition made again is empty"
    );
    assert_eq!((engine.applied(PARTITION), engine.applied(OTHER)), (0, 9));
    drop(engine);
    let engine = factory(true);
    assert_eq!(engine.checkpointed(OTHER), 9);
    engine.drop_partition(OTHER).expect("drop");
    drop(engine);
    assert!(
        !factory(true).partitions().contains(&OTHER),
        "dropped for good"
    );
}

fn checksums_are_of_the_rows_alone(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    let names: Vec<String> = (0..200).map(|row| format!("k{row:03}")).collect();
    let writes: Vec<_> = names.iter().map(|name| put(name, "value")).collect();
    engine.apply(PARTITION, 1, &writes[..100]).expect("apply");
    engine
        .checkpoint(PARTITION, &[put("side", "1")])
        .expect("checkpoint");
    engine.apply(PARTITION, 2, &writes[100..]).expect("apply");
    let rows: BTreeMap<Bytes, Bytes> = names
        .iter()
        .map(|name| (Bytes::from(name.clone()), Bytes::from("value")))
        .collect();
    let snapshot = engine.snapshot(PARTITION).expect("snapshot");
    let found = checksum_of(&*snapshot).expect("checksum");
    assert_eq!(found, checksum_of_rows(2, rows.iter()));
    assert_eq!(found.to_words().len(), 1 + 4 * found.ranges.len());
}

fn housekeeping_changes_nothing(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    let mut expected = BTreeMap::new();
    for index in 1..40u64 {
        let (name, text) = (format!("k{}", index % 7), format!("v{index}"));
        engine
            .apply(PARTITION, index, &[put(&name, &text)])
            .expect("apply");
        expected.insert(name, text);
        engine.checkpoint(PARTITION, &[]).expect("checkpoint");
        if index.is_multiple_of(5) {
            while engine.maintain(PARTITION).expect("maintain") {}
        }
        let rows: Vec<_> = expected.clone().into_iter().collect();
        assert_eq!(everything(&*engine, PARTITION), rows);
    }
}
