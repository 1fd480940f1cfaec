//! What a storage says of itself: whose cluster's it is, which of all storages it is, and which
//! partitions it has. Knows nothing of what is in them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use slatedb::object_store::path::Path;
use slatedb::object_store::{self, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::database;
use crate::error::{OpenError, StorageError};
use crate::storage::Storage;

/// The object that names the cluster.
const MARK: &str = "cluster-id";
/// The object with the number of the storage.
const NUMBER: &str = "storage-number";
/// How long one answer of the storage is waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

impl Storage {
    /// Makes sure that the storage is this cluster's. One that has no mark yet is marked if
    /// `may_mark`, which must not be where it was used before.
    ///
    /// # Errors
    /// If it is another cluster's, has no mark though it must, or fails.
    pub async fn belongs_to(&self, cluster: &str, may_mark: bool) -> Result<(), StorageError> {
        let new = may_mark.then_some(cluster);
        let found = self.mark(MARK, new).await?.ok_or(StorageError::Unmarked)?;
        if found == cluster {
            return Ok(());
        }
        Err(StorageError::OtherCluster {
            found,
            own: cluster.to_owned(),
        })
    }

    /// The number that tells this storage from all others; it is made of `new` if there is none.
    ///
    /// # Errors
    /// If the storage fails, or bears what is no number.
    pub async fn number(&self, new: Option<u64>) -> Result<Option<u64>, StorageError> {
        let new = new.map(|number| format!("{number:016x}"));
        let Some(text) = self.mark(NUMBER, new.as_deref()).await? else {
            return Ok(None);
        };
        let number = u64::from_str_radix(&text, 16);
        number.map(Some).map_err(|_| StorageError::Damaged {
            what: format!("its {NUMBER} is {text:?}"),
        })
    }

    /// What a mark says, which is made if there is none and `new` is given.
    async fn mark(&self, name: &str, new: Option<&str>) -> Result<Option<String>, StorageError> {
        match (self.read_mark(name).await?, new) {
            (None, Some(new)) => {
                self.make_mark(name, new).await?;
                // Whoever was first has made it.
                self.read_mark(name).await
            }
            (found, _) => Ok(found),
        }
    }

    async fn read_mark(&self, name: &str) -> Result<Option<String>, StorageError> {
        let read = async { self.objects.get(&Path::from(name)).await?.bytes().await };
        match in_time(read).await {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn make_mark(&self, name: &str, text: &str) -> Result<(), StorageError> {
        let only_new = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(text.as_bytes().to_vec());
        let place = Path::from(name);
        let made = in_time(self.objects.put_opts(&place, payload, only_new)).await;
        match made {
            Err(StorageError::Object(error)) if is_there(&error) => Ok(()),
            made => made.map(drop),
        }
    }

    /// Whether there is a database under `prefix`.
    ///
    /// # Errors
    /// If the storage fails.
    pub async fn has_database(&self, prefix: &str) -> Result<bool, OpenError> {
        Ok(database::manifest(self, prefix).await?.is_some())
    }

    /// The names of what lies directly under `prefix` and has objects of its own.
    ///
    /// # Errors
    /// If the storage fails.
    pub async fn names_under(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let prefix = Path::from(prefix);
        let listed = in_time(self.objects.list_with_delimiter(Some(&prefix))).await?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        Ok(names.map(str::to_owned).collect())
    }

    /// Deletes every object under `prefix`. Whoever has a database there open fails soon; nobody
    /// may open it again.
    ///
    /// # Errors
    /// If the storage fails: what is left is deleted by the next call.
    pub async fn delete(&self, prefix: &str) -> Result<(), StorageError> {
        let prefix = Path::from(prefix);
        let listed = self.objects.list(Some(&prefix));
        let found: Vec<_> = in_time(listed.try_collect()).await?;
        for object in found {
            match in_time(self.objects.delete(&object.location)).await {
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What the storage answers, if it does so in time.
pub(crate) async fn in_time<T>(
    asked: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, StorageError> {
    match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
        Ok(answer) => answer.map_err(|error| StorageError::Object(Arc::new(error))),
        Err(_) => Err(StorageError::Silent {
            within: ANSWERS_WITHIN,
        }),
    }
}

fn is_absent(error: &StorageError) -> bool {
    match error {
        StorageError::Object(error) => matches!(**error, object_store::Error::NotFound { .. }),
        _ => false,
    }
}

fn is_there(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. })
}
