//! The storage that all members share, with the memory for blocks that one process keeps of it.
//! Knows nothing of partitions.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use slatedb::db_cache::DbCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::local::LocalFileSystem;

use crate::error::StorageError;

/// Blocks of all partitions of a process together.
const CACHE_BYTES: u64 = 64 << 20;

/// An object storage and one process's cache of it; cheap to clone.
#[derive(Clone)]
pub struct Storage {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) cache: Arc<dyn DbCache>,
}

impl Storage {
    /// A directory that is there and that all members see. Files and their directories are synced
    /// before a write counts as done: the storage does not do so by itself.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn directory(path: &Path) -> Result<Self, StorageError> {
        let files = LocalFileSystem::new_with_prefix(path)
            .map_err(|source| StorageError::Directory {
                path: path.to_owned(),
                source: Arc::new(source),
            })?
            .with_fsync(true);
        Ok(Self::of(Arc::new(files)))
    }

    /// Any storage that creates an object only where there is none, and is durable once it says so.
    #[must_use]
    pub fn of(objects: Arc<dyn ObjectStore>) -> Self {
        let options = MokaCacheOptions {
            max_capacity: CACHE_BYTES,
            ..MokaCacheOptions::default()
        };
        Self {
            objects,
            cache: Arc::new(MokaCache::new_with_opts(options)),
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("objects", &format_args!("{}", self.objects))
            .finish_non_exhaustive()
    }
}
