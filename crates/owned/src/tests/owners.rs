//! Two owners: one that was deposed without knowing it, and its successor.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use slatedb::config::{
    FlushOptions, FlushType, GarbageCollectorDirectoryOptions, GarbageCollectorOptions,
};
use slatedb_common::clock::{DefaultSystemClock, SystemClock, SystemClockTicker};

use super::gate::Gate;
use super::*;
use crate::clock::StampClock;
use crate::{Ended, OpenError, ReadError, StorageError};

const SOON: Duration = Duration::from_secs(1);

fn is_fenced(answer: &Result<Written, WriteError>) -> bool {
    matches!(
        answer,
        Err(WriteError::OutcomeUnknown(Ended::Fenced) | WriteError::NotApplied(Ended::Fenced))
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_owner_acknowledges_nothing() {
    let shared = Shared::new();
    let former = shared.open().await;
    for number in 0..50 {
        put_row(&former, number, r#"{"of":"former"}"#)
            .await
            .unwrap();
    }
    let owner = shared.open().await;
    assert_eq!(owner.writer_epoch(), former.writer_epoch() + 1);

    let late = put_row(&former, 1, r#"{"of":"former, too late"}"#).await;
    assert!(is_fenced(&late), "{late:?}");
    let later = put_row(&former, 2, r#"{"of":"former, later"}"#).await;
    assert!(
        matches!(later, Err(WriteError::NotApplied(Ended::Fenced))),
        "{later:?}"
    );
    assert!(matches!(former.ended().await, Ended::Fenced));
    assert!(!former.confirm_by_storage().await);

    for number in 0..50 {
        let (version, found) = row(&owner, number).await.unwrap();
        assert_eq!(
            (version, found),
            (u64::from(number) + 1, item(r#"{"of":"former"}"#))
        );
    }
    put_row(&owner, 1, r#"{"of":"owner"}"#).await.unwrap();
    assert_eq!(row(&owner, 1).await, Some((51, item(r#"{"of":"owner"}"#))));
    assert!(owner.confirm_by_storage().await);
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_owner_notices_without_writing() {
    let shared = Shared::new();
    let former = shared.open().await;
    put_row(&former, 1, "{}").await.unwrap();
    let owner = shared.open().await;
    let ended = tokio::time::timeout(Duration::from_secs(20), former.ended()).await;
    assert!(matches!(ended, Ok(Ended::Fenced)), "{ended:?}");
    let read = former.get(&key(1), yes).await;
    assert!(
        matches!(read, Err(ReadError::Ended(Ended::Fenced))),
        "{read:?}"
    );
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whose_wall_clock_is_behind_writes_all_the_same() {
    #[derive(Debug)]
    struct Ahead(DefaultSystemClock);
    impl SystemClock for Ahead {
        fn now(&self) -> DateTime<Utc> {
            self.0.now() + chrono::TimeDelta::hours(30)
        }
        fn sleep<'a>(&'a self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
            self.0.sleep(time)
        }
        fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
            SystemClockTicker::new(self, duration)
        }
    }
    let shared = Shared::new();
    let storage = shared.storage();
    let ahead = StampClock::over(Arc::new(Ahead(DefaultSystemClock::new())));
    let settings = OwnedSettings::default();
    let former = Owned::open_by(Arc::new(ahead), &storage, PREFIX, settings, yes).await;
    let former = former.unwrap();
    put_row(&former, 1, "{}").await.unwrap();
    for number in 2..4 {
        let owner = shared.open().await;
        let written = tokio::time::timeout(SOON, put_row(&owner, number, "{}")).await;
        written.expect("within a second").unwrap();
        // The next one finds the stamp in a table, not in the log.
        let tables = FlushOptions {
            flush_type: FlushType::MemTable,
        };
        owner.db.flush_with_options(tables).await.unwrap();
        owner.close().await;
    }
}

/// The former owner is suspended with an object of its log on the way, until its successors have
/// made tables of the log and collected it. What became of its write, and the owner after that.
async fn paused_until_collected(
    shared: &Shared,
    marks_too: bool,
) -> (Result<Written, WriteError>, Owned) {
    let (mut gate, gated) = Gate::before(shared.objects(), "/wal/");
    // A suspended process does not look either.
    let settings = OwnedSettings {
        look_every: Duration::from_secs(3600),
        ..OwnedSettings::default()
    };
    let storage = Storage::of(Arc::new(gated));
    let paused = Owned::open(&storage, PREFIX, settings, yes).await.unwrap();
    put_row(&paused, 1, r#"{"n":1}"#).await.unwrap();
    gate.shut();
    let late = put_row(&paused, 2, r#"{"of":"paused"}"#);
    let meanwhile = async {
        gate.somebody_waits().await;
        let owner = shared.open().await;
        for number in 3..9 {
            put_row(&owner, number, r#"{"n":2}"#).await.unwrap();
        }
        owner.close().await;
        let owner = shared.open().await;
        put_row(&owner, 9, r#"{"n":3}"#).await.unwrap();
        let tables = FlushOptions {
            flush_type: FlushType::MemTable,
        };
        owner.db.flush_with_options(tables).await.unwrap();
        collect(shared, marks_too).await;
        gate.release();
        owner
    };
    tokio::join!(late, meanwhile)
}

#[tokio::test(flavor = "multi_thread")]
async fn l14_an_owner_that_was_paused_until_the_log_was_collected_acknowledges_nothing() {
    let shared = Shared::new();
    let (late, owner) = paused_until_collected(&shared, false).await;
    assert!(is_fenced(&late), "{late:?}");
    assert_eq!(row(&owner, 2).await, None);
    for number in [1, 3, 8, 9] {
        assert!(row(&owner, number).await.is_some(), "row {number}");
    }
    owner.close().await;
    let again = shared.open().await;
    assert_eq!(row(&again, 2).await, None);
    again.close().await;
}

/// Why marks must not be collected, and that the test above would notice.
#[tokio::test(flavor = "multi_thread")]
async fn were_the_marks_collected_a_paused_owner_would_acknowledge_what_is_lost() {
    let shared = Shared::new();
    let (late, owner) = paused_until_collected(&shared, true).await;
    assert!(late.is_ok(), "the danger is gone? {late:?}");
    owner.close().await;
    let again = shared.open().await;
    assert_eq!(row(&again, 2).await, None);
    again.close().await;
}

/// Collects objects of the log of whatever age.
async fn collect(shared: &Shared, marks_too: bool) {
    let now = GarbageCollectorDirectoryOptions {
        min_age: Duration::ZERO,
        interval: None,
        dry_run: false,
    };
    let options = GarbageCollectorOptions {
        wal_options: Some(now),
        manifest_options: Some(now),
        wal_fence_options: marks_too.then_some(now),
        ..GarbageCollectorOptions::default()
    };
    let wal = shared.directory.path().join(PREFIX).join("wal");
    let before = std::fs::read_dir(&wal).unwrap().count();
    let admin = slatedb::admin::Admin::builder(PREFIX, shared.objects()).build();
    admin.run_gc_once(options).await.unwrap();
    let after = std::fs::read_dir(&wal).unwrap().count();
    assert!(after < before, "nothing was collected of {before} objects");
}

#[tokio::test(flavor = "multi_thread")]
async fn l14_an_opener_that_was_delayed_fences_nobody() {
    let shared = Shared::new();
    let first = shared.open().await;
    put_row(&first, 1, "{}").await.unwrap();
    let successor = tokio::sync::Mutex::new(None);
    // Its office was confirmed, and then everything happened before it went on.
    let delayed = || async {
        let owner = shared.open().await;
        put_row(&owner, 2, "{}").await.unwrap();
        *successor.lock().await = Some(owner);
        true
    };
    let storage = shared.storage();
    let opened = Owned::open(&storage, PREFIX, OwnedSettings::default(), delayed).await;
    assert!(matches!(opened, Err(OpenError::Fenced)), "{opened:?}");
    let owner = successor.into_inner().unwrap();
    put_row(&owner, 3, "{}").await.unwrap();
    assert!(row(&owner, 2).await.is_some());
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_make_the_database_at_once_one_is_refused() {
    let shared = Shared::new();
    let inner = tokio::sync::Mutex::new(None);
    let delayed = || async {
        *inner.lock().await = Some(shared.open().await);
        true
    };
    let storage = shared.storage();
    let opened = Owned::open(&storage, PREFIX, OwnedSettings::default(), delayed).await;
    assert!(matches!(opened, Err(OpenError::Fenced)), "{opened:?}");
    let owner = inner.into_inner().unwrap();
    put_row(&owner, 3, "{}").await.unwrap();
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_office_nothing_is_opened_and_nothing_strongly_read() {
    let shared = Shared::new();
    let owner = shared.open().await;
    put_row(&owner, 1, "{}").await.unwrap();
    let opened = Owned::open(&shared.storage(), PREFIX, OwnedSettings::default(), no).await;
    assert!(matches!(opened, Err(OpenError::NotConfirmed)), "{opened:?}");
    let read = owner.get(&key(1), no).await;
    assert!(matches!(read, Err(ReadError::NotConfirmed)));
    put_row(&owner, 2, "{}").await.unwrap();
    assert!(owner.get_eventual(&key(2)).await.unwrap().is_some());
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_changes_nothing_is_not_answered_by_a_former_owner_either() {
    let shared = Shared::new();
    let former = shared.open().await;
    put_row(&former, 1, "{}").await.unwrap();
    let owner = shared.open().await;
    let delete = Mutation::Delete {
        key: key(1),
        condition: Condition::None,
    };
    owner.write(write(70, &delete)).await.unwrap();
    let stale = put(1, "{}", Condition::IfAbsent);
    let answer = former.write(write(71, &stale)).await;
    assert!(is_fenced(&answer), "{answer:?}");
    owner.close().await;
}

/// Owners come and go while eight clients write; each asks whoever opened last, again with the same
/// id if it was not answered. What was acknowledged is there, once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_done_twice_while_owners_take_over_from_each_other() {
    const CLIENTS: u32 = 8;
    const WRITES: u32 = 60;
    let shared = Shared::new();
    let (last, seen) = tokio::sync::watch::channel(Arc::new(shared.open().await));
    let client = |number: u32| {
        let mut seen = seen.clone();
        async move {
            let mut versions = Vec::new();
            for count in 1..=WRITES {
                let condition = match versions.last() {
                    None => Condition::IfAbsent,
                    Some(version) => Condition::IfVersion(*version),
                };
                let text = format!(r#"{{"count":{count}}}"#);
                let asked = write(
                    u128::from(number) << 64 | u128::from(count),
                    &put(number, &text, condition),
                );
                // Ends: at each try an owner is asked that opened after the last try.
                let written = loop {
                    let owner = Arc::clone(&seen.borrow_and_update());
                    match owner.write(asked.clone()).await {
                        Ok(written) => break written,
                        Err(WriteError::NotApplied(_) | WriteError::OutcomeUnknown(_)) => {
                            seen.changed().await.unwrap();
                        }
                        Err(other) => panic!("{other}"),
                    }
                };
                assert_eq!(
                    effect(written),
                    Effect::Done,
                    "client {number}, write {count}"
                );
                versions.push(written.outcome.version);
            }
        }
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(client));
    let take_overs = async {
        let mut owners = 1;
        loop {
            last.send_replace(Arc::new(shared.open().await));
            owners += 1;
            tokio::task::yield_now().await;
            if owners > 30 {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = clients => {}
        () = take_overs => {}
    }
    let owner = shared.open().await;
    for number in 0..CLIENTS {
        let (_, found) = row(&owner, number).await.unwrap();
        assert_eq!(found, item(&format!(r#"{{"count":{WRITES}}}"#)));
    }
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_founded_where_a_database_must_be() {
    let shared = Shared::new();
    let later = OwnedSettings {
        may_found: false,
        ..OwnedSettings::default()
    };
    let storage = shared.storage();
    let opened = Owned::open(&storage, PREFIX, later.clone(), yes).await;
    assert!(matches!(opened, Err(OpenError::Missing)), "{opened:?}");
    assert!(!storage.has_database(PREFIX).await.unwrap());
    shared.open().await.close().await;
    assert!(storage.has_database(PREFIX).await.unwrap());
    Owned::open(&storage, PREFIX, later, yes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_belongs_to_the_cluster_that_used_it_first() {
    let shared = Shared::new();
    let storage = shared.storage();
    let unmarked = storage.belongs_to("c1", false).await;
    assert!(matches!(unmarked, Err(StorageError::Unmarked)));
    storage.belongs_to("c1", true).await.unwrap();
    shared.storage().belongs_to("c1", false).await.unwrap();
    let other = storage.belongs_to("c2", true).await;
    assert!(
        matches!(&other, Err(StorageError::OtherCluster { found, .. }) if found == "c1"),
        "{other:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_keeps_the_number_that_it_was_given_first() {
    let shared = Shared::new();
    let storage = shared.storage();
    assert_eq!(storage.number(None).await.unwrap(), None);
    assert_eq!(
        storage.number(Some(u64::MAX)).await.unwrap(),
        Some(u64::MAX)
    );
    let again = shared.storage();
    assert_eq!(again.number(Some(3)).await.unwrap(), Some(u64::MAX));
    assert_eq!(again.number(None).await.unwrap(), Some(u64::MAX));
    std::fs::write(shared.directory.path().join("storage-number"), "?").unwrap();
    let damaged = again.number(None).await;
    assert!(
        matches!(damaged, Err(StorageError::Damaged { .. })),
        "{damaged:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_reads_few_objects_of_the_log_again() {
    let shared = Shared::new();
    let settings = OwnedSettings {
        log_objects_max: 8,
        ..OwnedSettings::default()
    };
    let storage = shared.storage();
    let owned = Owned::open(&storage, PREFIX, settings, yes).await.unwrap();
    let mut last = (0, 0);
    // As many objects as writes, for each waits for its own.
    for number in 0..200 {
        put_row(&owned, number, r#"{"n":1}"#).await.unwrap();
        let manifest = crate::database::manifest(&storage, PREFIX).await.unwrap();
        last = (number, manifest.unwrap().replay_after_wal_id());
        if last.1 > 100 {
            break;
        }
    }
    assert!(last.1 > 0, "no table was written: {last:?}");
    owned.close().await;
    let next = shared.open().await;
    assert_eq!(row(&next, 0).await.unwrap().1, item(r#"{"n":1}"#));
    assert_eq!(row(&next, last.0).await.unwrap().1, item(r#"{"n":1}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_one_table_and_no_other() {
    let shared = Shared::new();
    let storage = shared.storage();
    for prefix in ["t/1/0", "t/1/1", "t/10/0"] {
        let owned = Owned::open(&storage, prefix, OwnedSettings::default(), yes).await;
        owned.unwrap().close().await;
    }
    assert_eq!(storage.names_under("t").await.unwrap(), ["1", "10"]);
    storage.delete("t/1").await.unwrap();
    storage.delete("t/1").await.unwrap();
    for (prefix, is_there) in [("t/1/0", false), ("t/1/1", false), ("t/10/0", true)] {
        assert_eq!(storage.has_database(prefix).await.unwrap(), is_there);
    }
}
