//! The storage that all members of a cluster share: where in it a partition lies, and what is left
//! of tables that were dropped. Knows nothing of what is in a partition.

use std::path::Path;

use tablestore_owned::{OpenError, Owned, OwnedSettings, Storage, StorageError};
use tablestore_placement::{ClusterId, ClusterMap, PartitionId, Table, TableId};

/// The storage of one cluster; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SharedStorage(Storage);

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
    pub(crate) fn directory(path: &Path) -> Result<Self, StorageError> {
        Storage::directory(path).map(Self)
    }

    /// Opens a partition; makes it only if `may_found`.
    ///
    /// # Errors
    /// If the storage is not the cluster's, or the partition cannot be opened.
    pub(crate) async fn open<F>(
        &self,
        cluster: ClusterId,
        partition: PartitionId,
        may_found: bool,
        confirm: impl FnOnce() -> F,
    ) -> Result<Owned, OpenError>
    where
        F: Future<Output = bool>,
    {
        self.0.belongs_to(&cluster.to_string(), may_found).await?;
        let settings = OwnedSettings {
            may_found,
            ..OwnedSettings::default()
        };
        Owned::open(&self.0, &prefix(cluster, partition), settings, confirm).await
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
        for number in from..table.definition.partitions {
            let partition = PartitionId::new(table.id, number);
            if !self.0.has_database(&prefix(map.cluster, partition)).await? {
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
        let tables = tables(map.cluster);
        for name in self.0.names_under(&tables).await? {
            let Ok(number) = name.parse() else { continue };
            if number < map.next_table && !map.tables.contains_key(&TableId(number)) {
                self.0.delete(&format!("{tables}/{name}")).await?;
            }
        }
        Ok(())
    }
}
