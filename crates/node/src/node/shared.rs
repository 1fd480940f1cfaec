//! Tables on shared storage as they come and go. Knows nothing of how their partitions are served.

use std::time::Duration;

use tablestore_placement::{ClusterMap, Table};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Node;
use crate::api::RequestError;
use crate::data::SharedStorage;

/// How long it may take to find out why a table was not made in time.
const LOOKS_FOR: Duration = Duration::from_millis(500);
/// Why a table that is there is not acknowledged.
const OTHER_STORAGE: &str = "the table is in another storage than the shared-dir or shared-url \
                             of this node; give all nodes the same";
/// How long owners may take to let go of a table that was dropped.
const CLEARED_AFTER: Duration = Duration::from_secs(5);
/// How long the map may take to be confirmed before what is left is deleted.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// Whether this node has its part of the storage that such a table needs.
    pub(super) fn has_shared(&self, strategy: &str) -> Result<&SharedStorage, RequestError> {
        let storage = self.shared.storage.as_ref();
        storage.ok_or_else(|| RequestError::Conflict {
            reason: format!(
                "the strategy {strategy} needs the setting shared-dir or shared-url on every \
                 node, and this node has neither"
            ),
        })
    }

    /// Waits until the map says that every partition of a table is in the storage of this node:
    /// from then on no owner is needed to find it, and none makes it anew.
    pub(super) async fn founded(
        &self,
        map: &ClusterMap,
        table: &Table,
        deadline: Instant,
    ) -> Result<(), RequestError> {
        let storage = self.has_shared(&table.definition.strategy)?;
        let mut maps = self.shared.consensus.watch_map();
        let in_storage = |map: &ClusterMap| match map.tables.get(&table.id) {
            Some(table) => table.founded,
            None => None,
        };
        let is_decided =
            |map: &ClusterMap| in_storage(map).is_some() || !map.tables.contains_key(&table.id);
        let decided = async {
            let map = maps.wait_for(|map| is_decided(map)).await;
            map.map_or(None, |map| in_storage(&map))
        };
        if let Ok(founded) = timeout_at(deadline, decided).await {
            return match storage.number().await {
                Ok(found) if founded.is_some() && found == founded => Ok(()),
                Ok(_) if founded.is_some() => Err(RequestError::Conflict {
                    reason: OTHER_STORAGE.to_owned(),
                }),
                _ => Err(RequestError::unknown(None)),
            };
        }
        let lacking = timeout(LOOKS_FOR, storage.lacks(map, table, 0)).await;
        let partition = match lacking {
            Ok(Ok(lacking)) => lacking,
            Ok(Err(_)) | Err(_) => None,
        };
        let table = &table.name;
        match partition {
            Some(partition) => tracing::warn!(
                table, %partition,
                "a partition is not in the shared storage of this node: its owner has not \
                 opened it, or has another storage"
            ),
            None => tracing::warn!(table, "the map does not have it yet that a table was made"),
        }
        Err(RequestError::unknown(partition))
    }

    /// Deletes, in a while, what tables that were dropped left in the shared storage.
    pub(super) fn clear_shared_soon(&self) {
        let Some(storage) = self.shared.storage.clone() else {
            return;
        };
        let node = self.clone();
        tokio::spawn(async move {
            sleep(CLEARED_AFTER).await;
            let Ok(map) = node.fresh(Instant::now() + CONFIRMED_WITHIN).await else {
                return;
            };
            if let Err(error) = storage.clear(&map).await {
                tracing::warn!(%error, "a table that was dropped is still on the shared storage");
            }
        });
    }
}
