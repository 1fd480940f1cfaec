//! How much each member carries.

use std::collections::BTreeMap;

use crate::{ClusterMap, StorageId, TableId};

/// Numbers of replicas by member, and by table and member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads {
    all: BTreeMap<StorageId, u64>,
    tables: BTreeMap<(TableId, StorageId), u64>,
}

impl Loads {
    pub(crate) fn of(map: &ClusterMap) -> Self {
        let mut loads = Self::default();
        for (partition, _, assignment) in map.partitions() {
            for &storage in &assignment.replicas {
                loads.add(partition.table, storage);
            }
        }
        loads
    }

    pub(crate) fn add(&mut self, table: TableId, storage: StorageId) {
        *self.all.entry(storage).or_default() += 1;
        *self.tables.entry((table, storage)).or_default() += 1;
    }

    pub(crate) fn all(&self, storage: StorageId) -> u64 {
        self.all.get(&storage).copied().unwrap_or(0)
    }

    pub(crate) fn of_table(&self, table: TableId, storage: StorageId) -> u64 {
        self.tables.get(&(table, storage)).copied().unwrap_or(0)
    }

    /// What the member carries of all other tables.
    pub(crate) fn elsewhere(&self, table: TableId, storage: StorageId) -> u64 {
        self.all(storage)
            .saturating_sub(self.of_table(table, storage))
    }
}
