//! Tables of recent writes are merged when there are several, whoever wrote them, and nothing is
//! asked of the storage for that before; in a time of the test's own.

use std::time::Duration;

use slatedb::object_store::memory::InMemory;

use super::{Arc, Owned, OwnedSettings, PREFIX, Storage, put_row, row, yes};

/// Each flush leaves a table.
async fn open_with_many_tables(storage: &Storage) -> Owned {
    let settings = OwnedSettings {
        log_objects_max: 1,
        ..OwnedSettings::default()
    };
    Owned::open(storage, PREFIX, settings, yes).await.unwrap()
}

/// Waits for as many tables as a condition wants; a minute at most.
async fn until(owned: &Owned, is_so: impl Fn(usize) -> bool) -> usize {
    for _ in 0..600 {
        let tables = owned.db.manifest().l0().len();
        if is_so(tables) {
            return tables;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} tables are left", owned.db.manifest().l0().len());
}

async fn write_tables(owned: &Owned, rows: std::ops::Range<u32>) {
    for number in rows {
        put_row(owned, number, r#"{"n":1}"#).await.unwrap();
        // Each table is written before the next write.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tables_are_merged_when_several_have_come_together_and_not_before() {
    let storage = Storage::of(Arc::new(InMemory::new()));
    let owned = open_with_many_tables(&storage).await;
    write_tables(&owned, 0..4).await;
    let few = until(&owned, |tables| tables >= 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(owned.db.manifest().l0().len() >= few, "few tables stay");
    assert_eq!(owned.db.manifest().compactor_epoch(), 0, "nobody began");
    write_tables(&owned, 4..20).await;
    until(&owned, |tables| tables < 4).await;
    for number in 0..20 {
        assert!(row(&owned, number).await.is_some(), "{number}");
    }
    owned.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_merges_what_its_predecessor_left() {
    let storage = Storage::of(Arc::new(InMemory::new()));
    let former = open_with_many_tables(&storage).await;
    write_tables(&former, 0..16).await;
    let owner = open_with_many_tables(&storage).await;
    until(&owner, |tables| tables < 4).await;
    for number in 0..16 {
        assert!(row(&owner, number).await.is_some(), "{number}");
    }
    owner.close().await;
}
