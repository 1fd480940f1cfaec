//! How an owner groups writes and how much it holds back. Plain data; knows nothing of storage.

use std::time::Duration;

use thiserror::Error;

/// How long a group waits for more writes before it is flushed. On local disks a flush takes
/// about this long; on a remote storage, where each flush costs money, more is better.
const GATHER_FOR: Duration = Duration::from_millis(1);
/// How many writes are flushed at once: what a flush of a few megabytes carries.
const GROUP_WRITES_MAX: usize = 1_024;
/// How many bytes are flushed at once, unless one write alone has more.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How many writes wait for their group: four groups.
const QUEUE_WRITES_MAX: usize = 4_096;
/// Longer than any client repeats a request.
const REMEMBER_FOR: Duration = Duration::from_secs(600);
/// As many as replicated partitions keep in any case.
const REMEMBERED_MIN: usize = 10_000;
/// Rows that are in the log but not in a table yet; beyond it writes wait.
const UNFLUSHED_BYTES_MAX: usize = 32 << 20;
/// A table is written when so much has come together; what a successor reads again is less.
const TABLE_BYTES: usize = 8 << 20;
/// A table is also written when so many flushes have come together: a successor reads the object
/// of each again, which takes most of the time in which nobody serves the partition.
const LOG_OBJECTS_MAX: u64 = 32;
/// An owner that writes nothing notices within this time that it was deposed. Nothing that must be
/// true rests on it; each look is a request to the storage.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often the database looks for tables to be merged and how far that is, while there are some.
const MERGE_EVERY: Duration = Duration::from_secs(1);
/// How often the database deletes objects that are not used any more.
const COLLECT_EVERY: Duration = Duration::from_secs(600);
/// About half a minute: retries wait at most a second.
const STORAGE_RETRIES_MAX: u32 = 30;
/// In a bucket: what a flush takes there, about.
const BUCKET_GATHER_FOR: Duration = Duration::from_millis(100);
/// In a bucket an idle partition asks seldom.
const BUCKET_LOOK_EVERY: Duration = Duration::from_secs(30);
/// Merging begins with the eighth of the tables; writes wait at the 64th, which no bucket takes in
/// less than minutes.
const BUCKET_MERGE_EVERY: Duration = Duration::from_secs(5);
const BUCKET_COLLECT_EVERY: Duration = Duration::from_secs(3_600);
/// About ten seconds; the client itself repeats what failed as well.
const BUCKET_RETRIES_MAX: u32 = 10;

/// The settings of one owned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedSettings {
    /// Whether a database that is not there is made. It must not be where the partition has been
    /// served before: then this is another storage than it was, and the rows are elsewhere.
    pub may_found: bool,
    /// How long a group of writes waits for more before it is flushed; zero for not at all.
    pub gather_for: Duration,
    /// How many writes one flush carries at most.
    pub group_writes_max: usize,
    /// How many bytes one flush carries at most, unless one write alone has more.
    pub group_bytes_max: usize,
    /// How many writes may wait; more are refused.
    pub queue_writes_max: usize,
    /// How long the answer to a request is remembered at least.
    pub remember_for: Duration,
    /// How many answers are remembered in any case.
    pub remembered_min: usize,
    /// How many bytes may be in memory that are only in the log of the database.
    pub unflushed_bytes_max: usize,
    /// How large the tables are that the database makes of its log.
    pub table_bytes: usize,
    /// How many objects of the log a successor has to read again, about.
    pub log_objects_max: u64,
    /// How often an owner that writes nothing looks whether it was deposed.
    pub look_every: Duration,
    /// How often the database looks for tables to be merged, while there are some.
    pub merge_every: Duration,
    /// How often the database looks for objects that are not used any more.
    pub collect_every: Duration,
    /// How often an operation on the storage is tried again before the owner gives up.
    pub storage_retries_max: u32,
}

impl Default for OwnedSettings {
    fn default() -> Self {
        Self {
            may_found: true,
            gather_for: GATHER_FOR,
            group_writes_max: GROUP_WRITES_MAX,
            group_bytes_max: GROUP_BYTES_MAX,
            queue_writes_max: QUEUE_WRITES_MAX,
            remember_for: REMEMBER_FOR,
            remembered_min: REMEMBERED_MIN,
            unflushed_bytes_max: UNFLUSHED_BYTES_MAX,
            table_bytes: TABLE_BYTES,
            log_objects_max: LOG_OBJECTS_MAX,
            look_every: LOOK_EVERY,
            merge_every: MERGE_EVERY,
            collect_every: COLLECT_EVERY,
            storage_retries_max: STORAGE_RETRIES_MAX,
        }
    }
}

impl OwnedSettings {
    /// Those for a bucket, where each request costs money and takes longer than on a disk.
    #[must_use]
    pub fn in_bucket() -> Self {
        Self {
            gather_for: BUCKET_GATHER_FOR,
            look_every: BUCKET_LOOK_EVERY,
            merge_every: BUCKET_MERGE_EVERY,
            collect_every: BUCKET_COLLECT_EVERY,
            storage_retries_max: BUCKET_RETRIES_MAX,
            ..Self::default()
        }
    }

    /// Whether a partition can work with them.
    ///
    /// # Errors
    /// If a limit is zero, or a table would not fit into what may be unflushed.
    pub fn check(&self) -> Result<(), SettingsError> {
        let limits = [
            ("group_writes_max", self.group_writes_max),
            ("group_bytes_max", self.group_bytes_max),
            ("queue_writes_max", self.queue_writes_max),
            ("table_bytes", self.table_bytes),
        ];
        if let Some((setting, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(SettingsError::Zero { setting });
        }
        let pauses = [
            ("look_every", self.look_every),
            ("merge_every", self.merge_every),
            ("collect_every", self.collect_every),
        ];
        if let Some((setting, _)) = pauses.iter().find(|(_, pause)| pause.is_zero()) {
            return Err(SettingsError::Zero { setting });
        }
        if self.log_objects_max == 0 {
            return Err(SettingsError::Zero {
                setting: "log_objects_max",
            });
        }
        if self.unflushed_bytes_max < self.table_bytes {
            return Err(SettingsError::TableTooLarge);
        }
        Ok(())
    }
}

/// Settings with which no partition can work; correct them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A limit is zero.
    #[error("{setting} is zero")]
    Zero {
        /// Which one.
        setting: &'static str,
    },
    /// Writes would wait for a table that never becomes full.
    #[error("unflushed_bytes_max is less than table_bytes")]
    TableTooLarge,
}
