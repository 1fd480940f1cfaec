//! The storage that all members share, with the memory for blocks that one process keeps of it.
//! Knows nothing of partitions.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slatedb::db_cache::DbCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::object_store::ObjectStore;

use crate::bucket::BucketSettings;
use crate::counted::Counted;
use crate::counts::{Counts, Kind, StorageFigures};
use crate::error::StorageError;
use crate::probe::{self, BucketFault, Said};
use crate::rooted::Rooted;

/// Blocks of all partitions of a process together.
const CACHE_BYTES: u64 = 64 << 20;

/// An object storage and one process's cache of it; cheap to clone.
#[derive(Clone)]
pub struct Storage {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) cache: Arc<dyn DbCache>,
    pub(crate) counts: Arc<Counts>,
    /// Where it is, if it is a directory.
    path: Option<PathBuf>,
}

impl Storage {
    /// A directory that is there, can be written and that all members see. Used only as long as it
    /// is there; then it must be [looked at anew](Self::anew).
    ///
    /// # Errors
    /// If there is no such directory, or it cannot be written.
    pub fn directory(path: &Path) -> Result<Self, StorageError> {
        let files = Rooted::at(path).map_err(|source| unusable(path, source))?;
        Rooted::can_be_written(path).map_err(|source| unusable(path, source))?;
        let mut storage = Self::of(Arc::new(files));
        storage.path = Some(path.to_owned());
        Ok(storage)
    }

    /// A bucket of an S3-compatible service that all members use. It is tried whether it can be:
    /// an object with `number` in its name is created there twice, and deleted. `number` must be
    /// one that nobody else takes.
    ///
    /// # Errors
    /// If it cannot be used, or does not create an object only where there is none.
    pub async fn bucket(settings: &BucketSettings, number: u64) -> Result<Self, StorageError> {
        let client = || {
            settings.client().map_err(|source| StorageError::Bucket {
                place: settings.to_string(),
                fault: BucketFault::Unreachable,
                source: Some(Said(Arc::new(source))),
            })
        };
        probe::probe(settings, &client()?, number).await?;
        // A new one: the connections of the first belong to the threads that tried it.
        Ok(Self::of(client()?))
    }

    /// The same with the directory that is at its path now, of which nothing is known yet.
    ///
    /// # Errors
    /// If there is none.
    pub fn anew(&self) -> Result<Self, StorageError> {
        let mut storage = self.clone();
        if let Some(path) = &self.path {
            self.counts.asked(Kind::Look);
            let files = Rooted::at(path).map_err(|source| {
                self.counts.failed(Kind::Look);
                unusable(path, source)
            })?;
            storage.objects = Arc::new(Counted::new(Arc::new(files), Arc::clone(&self.counts)));
        }
        Ok(storage)
    }

    /// What this process has asked of it, and what it holds back.
    #[must_use]
    pub fn figures(&self) -> StorageFigures {
        self.counts.figures()
    }

    /// Any storage that creates an object only where there is none, and is durable once it says so.
    #[must_use]
    pub fn of(objects: Arc<dyn ObjectStore>) -> Self {
        let options = MokaCacheOptions {
            max_capacity: CACHE_BYTES,
            ..MokaCacheOptions::default()
        };
        let counts = Arc::new(Counts::new());
        Self {
            objects: Arc::new(Counted::new(objects, Arc::clone(&counts))),
            counts,
            cache: Arc::new(MokaCache::new_with_opts(options)),
            path: None,
        }
    }
}

fn unusable(path: &Path, source: io::Error) -> StorageError {
    StorageError::Directory {
        path: path.to_owned(),
        source: Arc::new(source),
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("objects", &format_args!("{}", self.objects))
            .finish_non_exhaustive()
    }
}
