//! What the engine and the replacements under construction share: the partitions in use, those that
//! are broken, and how a tree is made. Knows nothing of keys and values.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use lsm_tree::compaction::Leveled;
use lsm_tree::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
};
use lsm_tree::{Cache, CompressionType, Config, DescriptorTable, Tree};

use super::blank::{self, Blank, check_current};
use super::files::{UNFINISHED, directory_name, sync_directory};
use super::live::Live;
use crate::engine::EngineError;

/// What the engine and the replacements under construction share.
pub(super) struct SharedEngine {
    pub(super) path: PathBuf,
    pub(super) cache: Arc<Cache>,
    pub(super) descriptors: Arc<DescriptorTable>,
    pub(super) compaction: Arc<Leveled>,
    /// The pattern of empty trees, once one was needed.
    pub(super) blank: Mutex<Option<Arc<Blank>>>,
    pub(super) partitions: RwLock<BTreeMap<u64, Arc<Live>>>,
    /// The next generation of a partition's directory; the greatest one counts.
    pub(super) generation: AtomicU32,
    /// Partitions whose files cannot be used: where they are, and why.
    pub(super) broken: Mutex<BTreeMap<u64, (PathBuf, String)>>,
    /// Replaced directories, to be deleted when nobody reads them any more.
    pub(super) retired: Mutex<Vec<(Weak<Live>, PathBuf)>>,
}

impl SharedEngine {
    pub(super) fn lock_broken(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<u64, (PathBuf, String)>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read_partitions<T>(
        &self,
        read: impl FnOnce(&BTreeMap<u64, Arc<Live>>) -> T,
    ) -> T {
        read(
            &self
                .partitions
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) fn live(&self, partition: u64) -> Option<Arc<Live>> {
        self.read_partitions(|partitions| partitions.get(&partition).cloned())
    }

    pub(super) fn forget(&self, partition: u64) -> Option<Arc<Live>> {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.remove(&partition)
    }

    /// A directory for a new content of the partition; it is not made.
    pub(super) fn next_directory(&self, partition: u64) -> PathBuf {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        self.path.join(directory_name(partition, generation))
    }

    /// An empty partition, in memory alone until its first checkpoint makes the files at `path`.
    pub(super) fn make_empty(&self, partition: u64, path: PathBuf) -> Result<Live, EngineError> {
        Ok(Live::empty(partition, path, self.pattern(partition)?))
    }

    fn pattern(&self, partition: u64) -> Result<Arc<Blank>, EngineError> {
        let mut blank = self.blank.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = &*blank {
            return Ok(Arc::clone(pattern));
        }
        let path = self
            .next_directory(partition)
            .with_added_extension(UNFINISHED);
        let pattern = Arc::new(Blank::make(&path, self.config(&path))?);
        *blank = Some(Arc::clone(&pattern));
        Ok(pattern)
    }

    /// Makes the files of an empty tree; nothing of them is synced before the first checkpoint.
    pub(super) fn make_files(&self, pattern: &Blank, path: &Path) -> Result<Tree, EngineError> {
        pattern.copy_to(path)?;
        blank::open(path, self.config(path))
    }

    pub(super) fn open_tree(&self, partition: u64, path: PathBuf) -> Result<Live, EngineError> {
        check_current(&path)?;
        let config = self.config(&path);
        Live::open(partition, path, config)
    }

    pub(super) fn config(&self, path: &Path) -> Config {
        let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
        Config::new(path, Default::default(), Default::default())
            .use_cache(Arc::clone(&self.cache))
            .use_descriptor_table(Some(Arc::clone(&self.descriptors)))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
            .filter_policy(FilterPolicy::all(bloom))
    }

    /// Puts a finished replacement into use; the old content goes when its readers are done.
    pub(super) fn switch(&self, partition: u64, live: Live) {
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
    pub(super) fn sweep(&self) {
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

    pub(super) fn sync_directory(&self) -> Result<(), EngineError> {
        sync_directory(&self.path)
    }
}

impl std::fmt::Debug for SharedEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedEngine")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
