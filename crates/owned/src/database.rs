//! How the database of a partition is opened. Knows nothing of rows and of who may open it.
//!
//! **Marks of former owners are kept for ever.** Each owner begins with an empty object in the
//! log, where the former owner would write next. Were it deleted, a former owner that was
//! suspended for long enough would find the place free, and acknowledge a write that nobody reads.
//! By default 0.18 looks for such objects and says what it would delete, but deletes none
//! (`wal_fence_options` with `dry_run`); here it does not even look.

use std::sync::Arc;
use std::time::Duration;

use slatedb::config::{
    GarbageCollectorDirectoryOptions, GarbageCollectorOptions, GarbageCollectorScheduleOptions,
};
use slatedb::manifest::VersionedManifest;
use slatedb::{Db, Settings};

use crate::clock::StampClock;
use crate::error::{OpenError, StorageError};
use crate::settings::OwnedSettings;
use crate::storage::Storage;
use crate::unflushed::Recorder;

/// How many full tables of recent writes a read looks into at most, before writes wait.
const RECENT_TABLES_MAX: usize = 64;
/// How long an opener waits for what the storage says of the database.
const READ_FOR: Duration = Duration::from_secs(30);
/// How long an opener tries to claim its epoch.
pub(crate) const CLAIM_FOR: Duration = Duration::from_secs(30);

/// What the storage says of the database; nothing if there is none.
pub(crate) async fn manifest(
    storage: &Storage,
    prefix: &str,
) -> Result<Option<VersionedManifest>, OpenError> {
    let admin = slatedb::admin::Admin::builder(prefix, Arc::clone(&storage.objects)).build();
    // By itself it asks a silent storage for ever.
    let read = tokio::time::timeout(READ_FOR, Box::pin(admin.read_manifest(None))).await;
    match read {
        Ok(read) => Ok(read?),
        Err(_) => Err(StorageError::Silent { within: READ_FOR }.into()),
    }
}

/// Opens the database, and makes it if it is not there, as the successor of the writer that had
/// this epoch.
pub(crate) async fn open(
    storage: &Storage,
    prefix: &str,
    settings: &OwnedSettings,
    successor_of: u64,
    clock: Arc<StampClock>,
) -> Result<Db, slatedb::Error> {
    let recorder = Recorder {
        counts: Arc::clone(&storage.counts),
        bytes_max: settings.unflushed_bytes_max,
    };
    let builder = Db::builder(prefix, Arc::clone(&storage.objects))
        .with_settings(of_database(settings))
        .with_db_cache(Arc::clone(&storage.cache), cache_id(prefix))
        .with_system_clock(clock)
        .with_metrics_recorder(Arc::new(recorder))
        .with_expected_epoch(successor_of);
    Box::pin(builder.build()).await
}

fn of_database(settings: &OwnedSettings) -> Settings {
    let retries = Some(settings.storage_retries_max);
    let collected = Some(GarbageCollectorDirectoryOptions {
        interval: Some(settings.collect_every),
        ..GarbageCollectorDirectoryOptions::default()
    });
    Settings {
        // Groups are flushed by whoever made them; a ticker would only make objects in between.
        flush_interval: None,
        manifest_poll_interval: settings.look_every,
        manifest_update_timeout: CLAIM_FOR,
        max_unflushed_bytes: settings.unflushed_bytes_max,
        l0_sst_size_bytes: settings.table_bytes,
        l0_max_ssts: RECENT_TABLES_MAX,
        l0_max_ssts_per_key: RECENT_TABLES_MAX,
        // Tables are merged by whoever finds that there is something to merge.
        compactor_options: None,
        garbage_collector_options: Some(GarbageCollectorOptions {
            manifest_options: collected,
            wal_options: collected,
            compacted_options: collected,
            compactions_options: collected,
            detach_options: Some(GarbageCollectorScheduleOptions {
                interval: Some(settings.collect_every),
            }),
            wal_fence_options: None,
            object_store_max_retries: retries,
            ..GarbageCollectorOptions::default()
        }),
        object_store_max_retries: retries,
        ..Settings::default()
    }
}

/// Keeps the blocks of databases apart in the cache that they share.
fn cache_id(prefix: &str) -> u64 {
    let fold = |id: u64, byte: u8| (id ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    prefix.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_former_owners_are_never_collected() {
        let settings = of_database(&OwnedSettings::default());
        let collector = settings.garbage_collector_options.expect("a collector");
        assert!(collector.wal_fence_options.is_none());
        assert!(collector.wal_options.is_some());
        let default = GarbageCollectorOptions::default().wal_fence_options;
        assert!(default.is_none_or(|options| options.dry_run));
    }
}
