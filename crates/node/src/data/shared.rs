//! The storage that all members of a cluster share: where in it a partition lies, and what is left
//! of tables that were dropped. Knows nothing of what is in a partition.

use std::path::Path;

use tablestore_owned::{
    BucketSettings, OpenError, Owned, OwnedSettings, Storage, StorageError, StorageFigures,
};
use tablestore_placement::{ClusterId, ClusterMap, PartitionId, Table, TableId};

/// The storage of one cluster; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SharedStorage {
    storage: Storage,
    /// Those of each partition.
    settings: OwnedSettings,
}

fn tables(cluster: ClusterId) -> String {
    format!("{cluster}/tables")
}

fn prefix(cluster: ClusterId, partition: PartitionId) -> String {
    let PartitionId { table, partition } = partition;
    format!("{}/{}/{partition}", tables(cluster), table.0)
}

impl SharedStorage {
    /// A directory that is there.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(crate) fn directory(path: &Path, settings: OwnedSettings) -> Result<Self, StorageError> {
        let storage = Storage::directory(path)?;
        Ok(Self { storage, settings })
    }

    /// A bucket that is tried first.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(crate) async fn bucket(
        bucket: &BucketSettings,
        settings: OwnedSettings,
    ) -> Result<Self, StorageError> {
        let storage = Storage::bucket(bucket, rand::random()).await?;
        Ok(Self { storage, settings })
    }

    /// What this node has asked of it, and what it holds back.
    pub(crate) fn figures(&self) -> StorageFigures {
        self.storage.figures()
    }

    /// The number that tells this storage from all others.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) async fn number(&self) -> Result<Option<u64>, StorageError> {
        self.storage.anew()?.number(None).await
    }

    /// Opens a partition of a table that is in the storage with this number; makes it, if it is
    /// not there, only of a table that is in none yet.
    ///
    /// # Errors
    /// If the storage is another one, or the partition cannot be opened.
    pub(crate) async fn open<F>(
        &self,
        cluster: ClusterId,
        partition: PartitionId,
        founded: Option<u64>,
        confirm: impl FnOnce() -> F,
    ) -> Result<Owned, OpenError>
    where
        F: Future<Output = bool>,
    {
        let may_found = founded.is_none();
        // The marks are those of the directory that is used from here on.
        let storage = self.storage.anew()?;
        storage.belongs_to(&cluster.to_string(), may_found).await?;
        let number = storage.number(may_found.then(rand::random)).await?;
        if !may_found && number != founded {
            return Err(StorageError::OtherStorage.into());
        }
        let settings = OwnedSettings {
            may_found,
            ..self.settings.clone()
        };
        Owned::open(&storage, &prefix(cluster, partition), settings, confirm).await
    }

    /// The first partition of a table, from this number on, that is not here: its owner has not
    /// opened it yet, or has another storage.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) async fn lacks(
        &self,
        map: &ClusterMap,
        table: &Table,
        from: u32,
    ) -> Result<Option<PartitionId>, OpenError> {
        let storage = self.storage.anew()?;
        for number in from..table.definition.partitions {
            let partition = PartitionId::new(table.id, number);
            if !storage
                .has_database(&prefix(map.shared_cluster(), partition))
                .await?
            {
                return Ok(Some(partition));
            }
        }
        Ok(None)
    }

    /// Deletes what is left of tables that were dropped. `map` must be confirmed: the number of a
    /// table below the next one that it does not show is never used again.
    ///
    /// # Errors
    /// If the storage fails; what is left is deleted by the next call.
    pub(crate) async fn clear(&self, map: &ClusterMap) -> Result<(), StorageError> {
        let tables = tables(map.shared_cluster());
        let storage = self.storage.anew()?;
        for name in storage.names_under(&tables).await? {
            let Ok(number) = name.parse() else { continue };
            if number < map.next_table && !map.tables.contains_key(&TableId(number)) {
                storage.delete(&format!("{tables}/{name}")).await?;
            }
        }
        Ok(())
    }
}
