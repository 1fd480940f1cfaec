//! What survives a crash, what a snapshot and a replacement are. Knows nothing of a particular
//! engine.

use bytes::Bytes;

use super::{EngineFactory, OTHER, PARTITION, delete, everything, made, put, texts, value};
use crate::engine::{Engine, Page, Scan};

pub(super) fn a_crash_keeps_exactly_the_checkpoint(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    engine
        .apply(PARTITION, 1, &[put("a", "1"), put("b", "1")])
        .expect("apply");
    assert_eq!(engine.checkpointed(PARTITION), 0);
    assert_eq!(engine.checkpoint(PARTITION, &[]).expect("checkpoint"), 1);
    engine
        .apply(PARTITION, 2, &[put("a", "2"), delete("b"), put("c", "2")])
        .expect("apply");
    assert_eq!(
        (engine.applied(PARTITION), engine.checkpointed(PARTITION)),
        (2, 1)
    );
    drop(engine);
    let engine = factory(true);
    engine.open_partition(PARTITION).expect("open");
    assert_eq!(
        (engine.applied(PARTITION), engine.checkpointed(PARTITION)),
        (1, 1)
    );
    let expected = [("a".into(), "1".into()), ("b".into(), "1".into())];
    assert_eq!(everything(&*engine, PARTITION), expected);
    engine
        .apply(PARTITION, 2, &[put("a", "2"), delete("b"), put("c", "2")])
        .expect("replayed");
    assert_eq!(engine.checkpoint(PARTITION, &[]).expect("checkpoint"), 2);
    engine.apply(PARTITION, 3, &[]).expect("apply");
    assert_eq!(engine.checkpoint(PARTITION, &[]).expect("checkpoint"), 3);
    assert_eq!(
        engine.checkpoint(PARTITION, &[]).expect("checkpoint"),
        3,
        "nothing new"
    );
    drop(engine);
    let engine = factory(true);
    assert_eq!(engine.applied(PARTITION), 3);
    let expected = [("a".into(), "2".into()), ("c".into(), "2".into())];
    assert_eq!(everything(&*engine, PARTITION), expected);
}

pub(super) fn a_checkpoint_is_of_the_moment_it_was_sealed(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    engine.apply(PARTITION, 1, &[put("a", "1")]).expect("apply");
    engine.seal(PARTITION, &[put("side", "1")]).expect("seal");
    engine
        .apply(PARTITION, 2, &[put("a", "2"), put("b", "2")])
        .expect("apply");
    engine
        .put_side(PARTITION, &[put("side", "2")])
        .expect("put");
    assert_eq!(engine.checkpointed(PARTITION), 0);
    assert!(engine.memory_bytes_of(PARTITION) > 0);
    assert_eq!(value(&*engine, "a").as_deref(), Some("2"));
    assert_eq!(engine.flush(PARTITION).expect("flush"), 1);
    assert_eq!(engine.flush(PARTITION).expect("nothing is sealed"), 1);
    assert_eq!(value(&*engine, "a").as_deref(), Some("2"));
    drop(engine);
    let engine = factory(true);
    assert_eq!(engine.applied(PARTITION), 1);
    assert_eq!(everything(&*engine, PARTITION), [("a".into(), "1".into())]);
    let side = engine.side_records(PARTITION).expect("side records");
    assert_eq!(side, [(Bytes::from("side"), Bytes::from("1"))]);
    engine.apply(PARTITION, 2, &[put("a", "2")]).expect("apply");
    engine.seal(PARTITION, &[]).expect("seal");
    engine.apply(PARTITION, 3, &[put("a", "3")]).expect("apply");
    engine.seal(PARTITION, &[]).expect("seal twice");
    assert_eq!(value(&*engine, "a").as_deref(), Some("3"));
    assert_eq!(engine.flush(PARTITION).expect("flush"), 3);
    assert_eq!(engine.memory_bytes_of(PARTITION), 0);
}

pub(super) fn side_records_come_with_the_rows(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    engine.apply(PARTITION, 1, &[put("a", "1")]).expect("apply");
    let long_ago = put("1", "x");
    engine
        .checkpoint(PARTITION, &[long_ago, put("2", "y")])
        .expect("checkpoint");
    engine
        .put_side(PARTITION, &[put("3", "z"), delete("1")])
        .expect("put");
    let side = |engine: &dyn Engine| {
        let rows = engine.side_records(PARTITION).expect("side records");
        texts(&Page { rows, more: false })
    };
    assert_eq!(
        side(&*engine),
        [("2".into(), "y".into()), ("3".into(), "z".into())]
    );
    assert_eq!(
        everything(&*engine, PARTITION),
        [("a".into(), "1".into())],
        "not among the rows"
    );
    let snapshot = engine.snapshot(PARTITION).expect("snapshot");
    let rows = snapshot.side_records().expect("side records");
    assert_eq!(rows.len(), 2, "a snapshot has them");
    drop((engine, snapshot));
    let engine = factory(true);
    assert_eq!(
        side(&*engine),
        [("1".into(), "x".into()), ("2".into(), "y".into())]
    );
    let new = [delete("1"), put("2", "w")];
    engine
        .checkpoint(PARTITION, &new)
        .expect("checkpoint at the same index");
    drop(engine);
    assert_eq!(side(&*factory(true)), [("2".into(), "w".into())]);
}

pub(super) fn a_snapshot_does_not_change(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    engine
        .apply(PARTITION, 1, &[put("a", "1"), put("b", "1"), put("c", "1")])
        .expect("apply");
    engine.checkpoint(PARTITION, &[]).expect("checkpoint");
    engine
        .apply(PARTITION, 2, &[put("a", "2"), delete("b")])
        .expect("apply");
    let snapshot = engine.snapshot(PARTITION).expect("snapshot");
    for index in 3..20 {
        engine
            .apply(
                PARTITION,
                index,
                &[put("a", "3"), put("d", "3"), delete("c")],
            )
            .expect("apply");
        engine.checkpoint(PARTITION, &[]).expect("checkpoint");
        while engine.maintain(PARTITION).expect("maintain") {}
    }
    let all = Scan::all(usize::MAX, usize::MAX);
    let expected = [("a".into(), "2".into()), ("c".into(), "1".into())];
    assert_eq!(texts(&snapshot.scan(&all).expect("scan")), expected);
    assert_eq!(snapshot.index(), 2);
    let last = Scan {
        reverse: true,
        limit: 1,
        ..all
    };
    assert_eq!(
        texts(&snapshot.scan(&last).expect("scan")),
        [("c".into(), "1".into())]
    );
    assert_eq!(everything(&*engine, PARTITION).len(), 2);
}

pub(super) fn a_replacement_is_switched_in_whole(factory: &mut EngineFactory<'_>) {
    let engine = made(factory);
    engine
        .apply(PARTITION, 1, &[put("old", "1")])
        .expect("apply");
    engine
        .checkpoint(PARTITION, &[put("side", "old")])
        .expect("checkpoint");
    let snapshot = engine.snapshot(PARTITION).expect("snapshot");
    let mut given_up = engine.begin_replace(PARTITION).expect("begin");
    given_up.put(&[put("never", "1")]).expect("put");
    drop(given_up);
    let mut replacement = engine.begin_replace(PARTITION).expect("begin");
    replacement
        .put(&[put("new", "1"), put("new2", "1")])
        .expect("put");
    replacement.put(&[put("new", "2")]).expect("put");
    assert!(replacement.put(&[put("", "2")]).is_err());
    replacement.put_side(&[put("other", "new")]).expect("put");
    assert_eq!(
        everything(&*engine, PARTITION),
        [("old".into(), "1".into())],
        "not yet"
    );
    replacement.finish(100).expect("finish");
    let expected = [("new".into(), "2".into()), ("new2".into(), "1".into())];
    assert_eq!(everything(&*engine, PARTITION), expected);
    assert_eq!(
        (engine.applied(PARTITION), engine.checkpointed(PARTITION)),
        (100, 100)
    );
    let all = Scan::all(usize::MAX, usize::MAX);
    assert_eq!(
        texts(&snapshot.scan(&all).expect("scan")),
        [("old".into(), "1".into())]
    );
    drop(snapshot);
    engine.maintain(PARTITION).expect("maintain");
    drop(engine);
    let engine = factory(true);
    assert_eq!(everything(&*engine, PARTITION), expected);
    assert_eq!(engine.applied(PARTITION), 100);
    assert_eq!(
        engine.side_records(PARTITION).expect("side records").len(),
        1
    );
    engine
        .apply(PARTITION, 101, &[delete("new")])
        .expect("apply");
    assert_eq!(engine.checkpoint(PARTITION, &[]).expect("checkpoint"), 101);
    let mut fresh = engine.begin_replace(OTHER).expect("begin");
    fresh.put(&[put("a", "1")]).expect("put");
    assert!(engine.get(OTHER, b"a").is_err(), "no such partition yet");
    fresh.finish(7).expect("finish");
    assert_eq!(everything(&*engine, OTHER), [("a".into(), "1".into())]);
    engine.drop_partition(OTHER).expect("drop");
}
