//! The row engine: one `lsm-tree` per partition, without a journal. Knows nothing of items
//! and of who replays what came after the last checkpoint.
//!
//! Rows, side records and the applied index share a tree, and only a checkpoint flushes it.
//! So one manifest update makes all three durable, and a crash never finds one without the
//! others. `lsm-tree` syncs table files, manifest and their directories by itself.
//!
//! Sequence numbers are the engine's own, one for each write. They begin above any number
//! that the tree gives its own versions, so that every read finds the newest version; a
//! snapshot holds the version it was taken from, which keeps its files and memtables.

mod blank;
mod files;
mod live;
mod replace;
mod snapshot;
mod view;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use bytes::Bytes;
use lsm_tree::compaction::Leveled;
use lsm_tree::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
};
use lsm_tree::{Cache, CompressionType, Config, DescriptorTable};

use self::blank::{Blank, check_current};
use self::files::{
    UNFINISHED, clean, directory_name, io_at, move_aside, remove_all, sync_directory,
};
use self::live::Live;
use self::replace::LsmReplacement;
use self::snapshot::{LsmSnapshot, row_bounds};
use super::{
    Engine, EngineError, Page, Replacement, RowWrite, Rows, Scan, Snapshot, check_row_key,
    is_empty_range, page,
};

/// Settings of the engine. The defaults keep an idle node small.
#[derive(Clone, Debug)]
pub struct LsmSettings {
    /// The most memory for cached blocks, shared by all partitions.
    pub cache_bytes_max: u64,
    /// The most table files kept open, shared by all partitions.
    pub open_files_max: usize,
    /// The size of a table file at which the next one is begun.
    pub table_bytes: u64,
    /// How many flushes are merged at a time; reads look through fewer files than this.
    pub flushes_merged: u8,
}

impl Default for LsmSettings {
    fn default() -> Self {
        Self {
            cache_bytes_max: 16 * 1024 * 1024,
            open_files_max: 256,
            table_bytes: 32 * 1024 * 1024,
            flushes_merged: 4,
        }
    }
}

/// Rows in log-structured merge trees, one directory a partition.
pub struct LsmEngine {
    shared: Arc<Shared>,
}

/// What the engine and the replacements under construction share.
struct Shared {
    path: PathBuf,
    cache: Arc<Cache>,
    descriptors: Arc<DescriptorTable>,
    compaction: Arc<Leveled>,
    /// The pattern of empty trees, once one was needed.
    blank: Mutex<Option<Blank>>,
    partitions: RwLock<BTreeMap<u64, Arc<Live>>>,
    /// The next generation of a partition's directory; the greatest one counts.
    generation: AtomicU32,
    /// Replaced directories, to be deleted when nobody reads them any more.
    retired: Mutex<Vec<(Weak<Live>, PathBuf)>>,
}

impl LsmEngine {
    /// Opens the engine with all partitions in the directory `path`, which is made if it is
    /// not there. What an interrupted replacement or removal left is cleaned up.
    ///
    /// # Errors
    /// If a partition is damaged or the directory cannot be used.
    pub fn open(path: impl Into<PathBuf>, settings: &LsmSettings) -> Result<Self, EngineError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|source| io_at(&path, source))?;
        let found = clean(&path)?;
        let greatest = found
            .values()
            .map(|(generation, _)| *generation)
            .max()
            .unwrap_or(0);
        let shared = Shared {
            cache: Arc::new(Cache::with_capacity_bytes(settings.cache_bytes_max)),
            descriptors: Arc::new(DescriptorTable::new(settings.open_files_max)),
            compaction: Arc::new(
                Leveled::default()
                    .with_l0_threshold(settings.flushes_merged)
                    .with_table_target_size(settings.table_bytes),
            ),
            blank: Mutex::default(),
            partitions: RwLock::default(),
            generation: AtomicU32::new(greatest + 1),
            retired: Mutex::default(),
            path,
        };
        let mut partitions = BTreeMap::new();
        for (partition, (_, directory)) in found {
            partitions.insert(partition, Arc::new(shared.open_tree(partition, directory)?));
        }
        let shared = Shared {
            partitions: RwLock::new(partitions),
            ..shared
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    fn live(&self, partition: u64) -> Result<Arc<Live>, EngineError> {
        self.shared
            .live(partition)
            .ok_or(EngineError::NoPartition { partition })
    }
}

impl Engine for LsmEngine {
    fn open_partition(&self, partition: u64) -> Result<(), EngineError> {
        let mut partitions = self
            .shared
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if partitions.contains_key(&partition) {
            return Ok(());
        }
        let path = self.shared.next_directory(partition);
        let live = self.shared.make_tree(partition, path)?;
        partitions.insert(partition, Arc::new(live));
        Ok(())
    }

    fn partitions(&self) -> Vec<u64> {
        self.shared
            .read_partitions(|partitions| partitions.keys().copied().collect())
    }

    fn get(&self, partition: u64, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        check_row_key(key)?;
        self.live(partition)?.get(key)
    }

    fn scan(&self, partition: u64, scan: &Scan) -> Result<Page, EngineError> {
        let live = self.live(partition)?;
        let (from, to) = row_bounds(scan);
        if is_empty_range(&from, &to) {
            return Ok(Page::default());
        }
        // Between the batches of the applying thread, so that the scan sees whole ones.
        let write = live.lock_write();
        let (view, sequence) = (live.view(), write.sequence_next);
        drop(write);
        let rows = view.range((from, to), sequence);
        let page = if scan.reverse {
            page(rows.rev(), scan)
        } else {
            page(rows, scan)
        };
        page.map_err(|error| live.error(error))
    }

    fn apply(
        &self,
        partition: u64,
        index: u64,
        writes: &[RowWrite<'_>],
    ) -> Result<(), EngineError> {
        self.live(partition)?.apply(index, writes)
    }

    fn applied(&self, partition: u64) -> u64 {
        self.shared
            .live(partition)
            .map_or(0, |live| live.applied.load(Ordering::Acquire))
    }

    fn checkpointed(&self, partition: u64) -> u64 {
        self.shared
            .live(partition)
            .map_or(0, |live| live.checkpointed.load(Ordering::Acquire))
    }

    fn put_side(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.live(partition)?.put_side(side)
    }

    fn seal(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.live(partition)?.seal(side)
    }

    fn flush(&self, partition: u64) -> Result<u64, EngineError> {
        self.live(partition)?.flush(&self.shared.path)
    }

    fn side_records(&self, partition: u64) -> Result<Rows, EngineError> {
        self.snapshot(partition)?.side_records()
    }

    fn snapshot(&self, partition: u64) -> Result<Box<dyn Snapshot>, EngineError> {
        let live = self.live(partition)?;
        let write = live.lock_write();
        let (view, sequence) = (live.view(), write.sequence_next);
        let index = live.applied.load(Ordering::Acquire);
        drop(write);
        Ok(Box::new(LsmSnapshot {
            index,
            sequence,
            view,
            live,
        }))
    }

    fn begin_replace(&self, partition: u64) -> Result<Box<dyn Replacement>, EngineError> {
        Ok(Box::new(LsmReplacement::begin(
            partition,
            Arc::clone(&self.shared),
        )?))
    }

    fn drop_partition(&self, partition: u64) -> Result<(), EngineError> {
        let Some(live) = self.shared.forget(partition) else {
            return Ok(());
        };
        let _housekeeping = live.lock_housekeeping();
        let result = remove_all(&self.shared.path, partition);
        self.shared.sweep();
        result
    }

    fn put_aside(&self, partition: u64) -> Result<Option<PathBuf>, EngineError> {
        let Some(live) = self.shared.forget(partition) else {
            return Ok(None);
        };
        let _housekeeping = live.lock_housekeeping();
        let place = move_aside(&self.shared.path, partition, &live.path)?;
        remove_all(&self.shared.path, partition)?;
        self.shared.sweep();
        Ok(Some(place))
    }

    fn maintain(&self, partition: u64) -> Result<bool, EngineError> {
        self.shared.sweep();
        self.live(partition)?.compact(&self.shared.compaction)
    }

    fn memory_bytes_of(&self, partition: u64) -> u64 {
        self.shared
            .live(partition)
            .map_or(0, |live| live.view().unflushed_bytes())
    }

    fn disk_bytes_of(&self, partition: u64) -> u64 {
        self.shared
            .live(partition)
            .map_or(0, |live| live.disk_bytes())
    }
}

impl Shared {
    fn read_partitions<T>(&self, read: impl FnOnce(&BTreeMap<u64, Arc<Live>>) -> T) -> T {
        read(
            &self
                .partitions
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn live(&self, partition: u64) -> Option<Arc<Live>> {
        self.read_partitions(|partitions| partitions.get(&partition).cloned())
    }

    fn forget(&self, partition: u64) -> Option<Arc<Live>> {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.remove(&partition)
    }

    /// A directory for a new content of the partition; it is not made.
    fn next_directory(&self, partition: u64) -> PathBuf {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        self.path.join(directory_name(partition, generation))
    }

    /// Makes an empty tree; nothing of it is synced before its first checkpoint.
    fn make_tree(&self, partition: u64, path: PathBuf) -> Result<Live, EngineError> {
        let mut blank = self.blank.lock().unwrap_or_else(PoisonError::into_inner);
        let pattern = match blank.take() {
            Some(pattern) => pattern,
            None => {
                let pattern = self
                    .next_directory(partition)
                    .with_added_extension(UNFINISHED);
                Blank::make(&pattern, self.config(&pattern))?
            }
        };
        let copied = pattern.copy_to(&path);
        *blank = Some(pattern);
        drop(blank);
        copied?;
        let config = self.config(&path);
        Live::open(partition, path, config, true)
    }

    fn open_tree(&self, partition: u64, path: PathBuf) -> Result<Live, EngineError> {
        check_current(&path)?;
        let config = self.config(&path);
        Live::open(partition, path, config, false)
    }

    fn config(&self, path: &Path) -> Config {
        let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
        Config::new(path, Default::default(), Default::default())
            .use_cache(Arc::clone(&self.cache))
            .use_descriptor_table(Some(Arc::clone(&self.descriptors)))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
            .filter_policy(FilterPolicy::all(bloom))
    }

    /// Puts a finished replacement into use; the old content goes when its readers are done.
    fn switch(&self, partition: u64, live: Live) {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = partitions.insert(partition, Arc::new(live)) {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.push((Arc::downgrade(&old), old.path.clone()));
        }
        drop(partitions);
        self.sweep();
    }

    /// Deletes replaced directories that nobody reads any more.
    fn sweep(&self) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|(live, path)| {
            live.strong_count() > 0
                || match fs::remove_dir_all(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(path = %path.display(), %error, "replaced rows stay");
                        // The next start removes them: there is a greater generation.
                        false
                    }
                    _ => false,
                }
        });
    }

    fn sync_directory(&self) -> Result<(), EngineError> {
        sync_directory(&self.path)
    }
}

impl std::fmt::Debug for LsmEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LsmEngine")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
