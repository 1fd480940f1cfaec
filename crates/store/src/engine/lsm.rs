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
mod late;
mod live;
mod replace;
mod shared;
mod snapshot;
mod view;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use lsm_tree::compaction::Leveled;
use lsm_tree::{Cache, DescriptorTable};

use self::files::{clean, io_at, move_aside, remove_all};
use self::live::Live;
use self::replace::LsmReplacement;
use self::shared::SharedEngine;
use self::snapshot::{LsmSnapshot, row_bounds};
use super::{
    Checkpoints, Copies, Engine, EngineError, Page, ReadRows, Replacement, RowWrite, Rows, Scan,
    Snapshot, check_row_key, is_empty_range, page,
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
    shared: Arc<SharedEngine>,
}

impl LsmEngine {
    /// Opens the engine with all partitions in the directory `path`, which is made if it is
    /// not there. What an interrupted replacement or removal left is cleaned up.
    ///
    /// A partition that is damaged is [`broken`](Self::broken), and the others can be used.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn open(path: impl Into<PathBuf>, settings: &LsmSettings) -> Result<Self, EngineError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|source| io_at(&path, source))?;
        let found = clean(&path)?;
        let greatest = found
            .values()
            .map(|(generation, _)| *generation)
            .max()
            .unwrap_or(0);
        let shared = SharedEngine {
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
            broken: Mutex::default(),
            path,
        };
        let (mut partitions, mut broken) = (BTreeMap::new(), BTreeMap::new());
        for (partition, (_, directory)) in found {
            match shared.open_tree(partition, directory.clone()) {
                Ok(live) => {
                    partitions.insert(partition, Arc::new(live));
                }
                // Good rows that cannot be read just now are not damaged.
                Err(error) if error.is_of_the_moment() => return Err(error),
                Err(error) => {
                    broken.insert(partition, (directory, error.to_string()));
                }
            }
        }
        let shared = SharedEngine {
            partitions: RwLock::new(partitions),
            broken: Mutex::new(broken),
            ..shared
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The partitions whose files cannot be used, and why: each names a file. They are not among
    /// [`partitions`](ReadRows::partitions) and are opened only after they were put aside or
    /// dropped.
    #[must_use]
    pub fn broken(&self) -> BTreeMap<u64, String> {
        let broken = self.shared.lock_broken();
        broken
            .iter()
            .map(|(partition, (_, why))| (*partition, why.clone()))
            .collect()
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
        if let Some((path, reason)) = self.shared.lock_broken().get(&partition) {
            let (path, reason) = (path.clone(), reason.clone());
            return Err(EngineError::Corrupt { path, reason });
        }
        let path = self.shared.next_directory(partition);
        let live = self.shared.make_empty(partition, path)?;
        partitions.insert(partition, Arc::new(live));
        Ok(())
    }

    fn apply(
        &self,
        partition: u64,
        index: u64,
        writes: &[RowWrite<'_>],
    ) -> Result<(), EngineError> {
        self.live(partition)?.apply(index, writes)
    }

    fn drop_partition(&self, partition: u64) -> Result<(), EngineError> {
        if self.shared.lock_broken().remove(&partition).is_some() {
            return remove_all(&self.shared.path, partition);
        }
        let Some(live) = self.shared.forget(partition) else {
            return Ok(());
        };
        let _housekeeping = live.lock_housekeeping();
        live.end();
        let result = remove_all(&self.shared.path, partition);
        self.shared.sweep();
        result
    }

    fn put_aside(&self, partition: u64) -> Result<Option<PathBuf>, EngineError> {
        let mut broken = self.shared.lock_broken();
        if let Some((path, _)) = broken.get(&partition) {
            let place = move_aside(&self.shared.path, partition, path)?;
            remove_all(&self.shared.path, partition)?;
            broken.remove(&partition);
            return Ok(Some(place));
        }
        drop(broken);
        let Some(live) = self.shared.forget(partition) else {
            return Ok(None);
        };
        let _housekeeping = live.lock_housekeeping();
        live.made(&self.shared)?;
        live.end();
        let place = move_aside(&self.shared.path, partition, &live.path)?;
        remove_all(&self.shared.path, partition)?;
        self.shared.sweep();
        Ok(Some(place))
    }
}

impl ReadRows for LsmEngine {
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

    fn side_records(&self, partition: u64) -> Result<Rows, EngineError> {
        self.snapshot(partition)?.side_records()
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
}

impl Checkpoints for LsmEngine {
    fn put_side(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.live(partition)?.put_side(side)
    }

    fn seal(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.live(partition)?.seal(side)
    }

    fn flush(&self, partition: u64) -> Result<u64, EngineError> {
        self.live(partition)?.flush(&self.shared)
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

impl Copies for LsmEngine {
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
}

impl std::fmt::Debug for LsmEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LsmEngine")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
