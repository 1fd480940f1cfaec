//! Tables on shared storage as they come and go. Knows nothing of how their partitions are served.

use std::time::Duration;

use tablestore_placement::{ClusterMap, PartitionId, Table};
use tokio::time::{Instant, sleep, timeout_at};

use super::Node;
use crate::api::RequestError;
use crate::data::SharedStorage;

/// Pause before the storage is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long owners may take to let go of a table that was dropped.
const CLEARED_AFTER: Duration = Duration::from_secs(5);
/// How long the map may take to be confirmed before what is left is deleted.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// Whether this node has its part of the storage that such a table needs.
    pub(super) fn has_shared_dir(&self, strategy: &str) -> Result<&SharedStorage, RequestError> {
        let storage = self.shared.storage.as_ref();
        storage.ok_or_else(|| RequestError::Conflict {
            reason: format!(
                "the strategy {strategy} needs the setting shared-dir on every node, and this \
                 node has none"
            ),
        })
    }

    /// Waits until every partition of a table can be seen in the storage of this node: from then
    /// on no owner is needed to find it.
    pub(super) async fn founded(
        &self,
        map: &ClusterMap,
        table: &Table,
        deadline: Instant,
    ) -> Result<(), RequestError> {
        let storage = self.has_shared_dir(&table.definition.strategy)?;
        let mut lacking = PartitionId::new(table.id, 0);
        let all = async {
            loop {
                match storage.lacks(map, table, lacking.partition).await {
                    Ok(None) => return,
                    Ok(Some(partition)) => lacking = partition,
                    Err(error) => tracing::warn!(%error, "the shared storage cannot be read"),
                }
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout_at(deadline, all).await.is_ok() {
            return Ok(());
        }
        let table = &table.name;
        tracing::warn!(
            table, partition = %lacking,
            "a partition is not in the shared-dir of this node: its owner has not opened it, or \
             has another directory"
        );
        let partition = Some(lacking);
        Err(RequestError::OutcomeUnknown { partition })
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
