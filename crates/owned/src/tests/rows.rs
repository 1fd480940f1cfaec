//! Rows and requests with one owner at a time.

use futures_util::future::join_all;
use tablestore_store::engine::Scan;

use super::*;
use crate::ReadError;

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_put_patched_read_and_deleted() {
    let shared = Shared::new();
    let owned = shared.open().await;
    assert_eq!(row(&owned, 1).await, None);
    let written = put_row(&owned, 1, r#"{"a":1}"#).await.unwrap();
    assert_eq!(
        (effect(written), written.outcome.version),
        (Effect::Done, 1)
    );
    let patch = Mutation::Patch {
        key: key(1),
        set: item(r#"{"b":2}"#),
        remove: vec!["a".to_owned()],
        condition: Condition::IfVersion(1),
    };
    let written = owned.write(write(50, &patch)).await.unwrap();
    assert_eq!(
        (effect(written), written.outcome.version),
        (Effect::Done, 2)
    );
    assert_eq!(row(&owned, 1).await, Some((2, item(r#"{"b":2}"#))));
    let again = put(1, "{}", Condition::IfAbsent);
    let refused = owned.write(write(51, &again)).await.unwrap();
    assert_eq!(
        (effect(refused), refused.outcome.version),
        (Effect::ConditionFailed, 2)
    );
    let delete = Mutation::Delete {
        key: key(1),
        condition: Condition::None,
    };
    let deleted = owned.write(write(52, &delete)).await.unwrap();
    assert_eq!(effect(deleted), Effect::Done);
    assert_eq!(row(&owned, 1).await, None);
    let deleted = owned.write(write(53, &delete)).await.unwrap();
    assert_eq!(effect(deleted), Effect::Absent);
    owned.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_sees_rows_only_in_both_directions_and_within_its_limits() {
    let shared = Shared::new();
    let owned = shared.open().await;
    for number in 0..5 {
        put_row(&owned, number, "{}").await.unwrap();
    }
    let numbers = |page: &tablestore_store::engine::Page| -> Vec<u8> {
        page.rows.iter().map(|(key, _)| key[4]).collect()
    };
    let mut scan = Scan::all(3, usize::MAX);
    let page = owned.scan(&scan, yes).await.unwrap();
    assert_eq!((numbers(&page), page.more), (vec![0, 1, 2], true));
    scan.reverse = true;
    let page = owned.scan(&scan, yes).await.unwrap();
    assert_eq!((numbers(&page), page.more), (vec![4, 3, 2], true));
    scan = Scan::prefix(&key(3), 9, usize::MAX);
    let page = owned.scan(&scan, yes).await.unwrap();
    assert_eq!((numbers(&page), page.more), (vec![3], false));
    let page = owned.scan(&Scan::all(9, 1), yes).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (1, true));
    let records = owned.scan(&Scan::prefix(&[1], 9, 99), yes).await.unwrap();
    assert!(records.rows.is_empty());
    assert!(matches!(
        owned.get(&[0, b'h'], yes).await,
        Err(ReadError::Key)
    ));
    owned.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_takes_effect_once_also_at_the_next_owner() {
    let shared = Shared::new();
    let owned = shared.open().await;
    let first = write(9, &put(1, r#"{"a":1}"#, Condition::IfAbsent));
    // Twice in one group, and once more.
    let (one, two) = tokio::join!(owned.write(first.clone()), owned.write(first.clone()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.repeated, two.repeated), (false, true));
    assert_eq!((effect(one), one.outcome), (Effect::Done, two.outcome));
    owned.close().await;

    let next = shared.open().await;
    let again = next.write(first).await.unwrap();
    assert_eq!(
        (again.repeated, again.outcome, again.index),
        (true, one.outcome, 1)
    );
    let other = write(9, &put(1, r#"{"a":2}"#, Condition::None));
    let refused = next.write(other).await;
    assert!(matches!(refused, Err(WriteError::OtherRequest { request }) if request.0 == 9));
    assert_eq!(row(&next, 1).await, Some((1, item(r#"{"a":1}"#))));
    let written = put_row(&next, 2, "{}").await.unwrap();
    assert_eq!(written.index, 2, "versions go on");
    next.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_forgotten_beyond_their_time_and_their_records_deleted() {
    let shared = Shared::new();
    let settings = OwnedSettings {
        remember_for: std::time::Duration::ZERO,
        remembered_min: 2,
        ..OwnedSettings::default()
    };
    let storage = shared.storage();
    let owned = Owned::open(&storage, PREFIX, settings, yes).await.unwrap();
    for number in 0..20 {
        put_row(&owned, number, "{}").await.unwrap();
    }
    let mut records = owned
        .db
        .scan(crate::layout::remembered_keys())
        .await
        .unwrap();
    let mut stored = 0;
    while records.next().await.unwrap().is_some() {
        stored += 1;
    }
    assert!((2..=6).contains(&stored), "{stored} records");
    drop(records);
    owned.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_write_of_a_row_is_refused_and_harms_nobody() {
    let shared = Shared::new();
    let owned = shared.open().await;
    let nonsense = Write::new(RequestId(1), 1, Bytes::from_static(&[1, 0, 1, 9, 255]));
    assert!(matches!(nonsense, Err(WriteError::Mutation(_))));
    let record = Mutation::Delete {
        key: vec![1, 2],
        condition: Condition::None,
    };
    let record = Write::new(RequestId(1), 1, record.encode().into());
    assert!(matches!(record, Err(WriteError::Key)));
    put_row(&owned, 1, "{}").await.unwrap();
    owned.close().await;
    let late = put_row(&owned, 2, "{}").await;
    assert!(
        matches!(late, Err(WriteError::NotApplied(crate::Ended::Closed))),
        "{late:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_moment_share_a_flush() {
    let shared = Shared::new();
    let owned = shared.open().await;
    let writes = (0..500).map(|number| put_row(&owned, number, r#"{"a":1}"#));
    for written in join_all(writes).await {
        assert_eq!(effect(written.unwrap()), Effect::Done);
    }
    let wal = shared.directory.path().join(PREFIX).join("wal");
    let objects = std::fs::read_dir(wal).unwrap().count();
    assert!(objects < 20, "{objects} objects for 500 writes");
    owned.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_writes_than_may_wait_are_refused_before_anything_is_done() {
    let shared = Shared::new();
    let settings = OwnedSettings {
        queue_writes_max: 2,
        ..OwnedSettings::default()
    };
    let owned = Owned::open(&shared.storage(), PREFIX, settings, yes)
        .await
        .unwrap();
    let writes = (0..50).map(|number| put_row(&owned, number, "{}"));
    let answers = join_all(writes).await;
    let busy = answers
        .iter()
        .filter(|a| matches!(a, Err(WriteError::Busy)))
        .count();
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(
        busy > 0 && done > 0 && busy + done == 50,
        "{busy} busy, {done} done"
    );
    let rows = owned
        .scan(&Scan::all(99, usize::MAX), yes)
        .await
        .unwrap()
        .rows;
    assert_eq!(rows.len(), done);
    owned.close().await;
}
