//! A table becomes another one while it is served: the map says so, and the answer waits until the
//! primaries go by it. Knows nothing of how replicas come and go.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tablestore_dataplane::Operation;
use tablestore_placement::health::PartitionHealth;
use tablestore_placement::{Alteration, ClusterMap, Command, Epoch, PartitionId, Table, plan};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Node, wall_ms};
use crate::api::{RequestContext, RequestError, TableAltered};

/// Partitions that are asked at a time: enough that a thousand take seconds, few beside the
/// requests of clients.
const ASKED_AT_ONCE: usize = 32;
/// Pause before a primary that does not know the new map is asked again.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// No row has it, since keys begin with their type; what is asked for is the epoch of the answer.
const NO_KEY: &[u8] = &[u8::MAX];

impl Node {
    /// Alters a table. If its minimum of replicas in sync rises, every primary goes by it once this
    /// has answered.
    ///
    /// # Errors
    /// `UnknownTable`, `Invalid` with the field, `Unsupported` by its strategy, `NoController`.
    /// `OutcomeUnknown` also if the map has it and not all primaries have said so in time: the same
    /// may be asked for again.
    pub async fn alter_table(
        &self,
        name: &str,
        alteration: Alteration,
        deadline: Instant,
    ) -> Result<TableAltered, RequestError> {
        let mut map = self.map();
        if map.table_named(name).is_none() {
            map = self.fresh(deadline).await?;
        }
        let leaving = map.table_named(name).zip(alteration.replicas);
        let leaving =
            leaving.map(|(table, replicas)| plan::order_of_leaving(&map, table, replicas));
        let command = Command::AlterTable {
            name: name.to_owned(),
            alteration,
            leaving: leaving.unwrap_or_default(),
            at_ms: wall_ms(),
        };
        let consensus = &self.shared.consensus;
        let applied = consensus.propose_until(command, deadline).await?;
        let unknown = RequestError::unknown(None);
        let mut maps = consensus.watch_map();
        let seen = maps.wait_for(|map| map.version >= applied.map_version);
        let map = match timeout_at(deadline, seen).await {
            Ok(Ok(map)) => Arc::clone(&map),
            Ok(Err(_)) | Err(_) => return Err(unknown),
        };
        let table = applied.table.and_then(|id| map.tables.get(&id));
        let Some(table) = table else {
            // Dropped again since.
            let name = name.to_owned();
            return Err(RequestError::UnknownTable { name });
        };
        // What was so already may have become so a moment ago, by a request whose answer was lost.
        let mut decisions = map.decisions.iter();
        let decision = decisions.find(|decision| Some(decision.id) == applied.decision);
        let may_rise = alteration.min_in_sync.is_some_and(|minimum| minimum > 1);
        if may_rise && decision.is_none_or(|decision| decision.changes_total > 0) {
            self.primaries_follow(table, deadline).await?;
        }
        Ok(TableAltered {
            changed: applied.decision.is_some(),
            below_min_in_sync: below_min_in_sync(&map, table),
            table: table.clone(),
        })
    }

    /// Waits until the primary of each partition has answered in the epoch that the map shows, or a
    /// later one: it then goes by the minimum of that map.
    async fn primaries_follow(&self, table: &Table, deadline: Instant) -> Result<(), RequestError> {
        let epochs = table.partitions.iter().map(|assignment| assignment.epoch);
        let partitions: Vec<(PartitionId, Epoch)> = (0u32..)
            .zip(epochs)
            .map(|(number, epoch)| (PartitionId::new(table.id, number), epoch))
            .collect();
        let asked = partitions.into_iter().map(|(partition, epoch)| async move {
            let follows = timeout_at(deadline, self.primary_follows(partition, epoch, deadline));
            let unknown = RequestError::unknown(Some(partition));
            follows.await.map_err(|_| unknown)
        });
        let mut asked = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        while let Some(follows) = asked.next().await {
            follows?;
        }
        Ok(())
    }

    /// Ends when an answer comes in that epoch, or with the caller's deadline.
    async fn primary_follows(&self, partition: PartitionId, epoch: Epoch, deadline: Instant) {
        let context = RequestContext {
            deadline,
            request: None,
            quorum: None,
        };
        loop {
            let read = Operation::Get {
                key: Bytes::from_static(NO_KEY),
                strong: true,
            };
            match self.ask(partition, read, context).await {
                Ok((_, served)) if served.epoch >= epoch => return,
                _ => sleep(ASK_EVERY).await,
            }
        }
    }
}

/// How many partitions of the table have fewer live replicas in sync than a write needs.
fn below_min_in_sync(map: &ClusterMap, table: &Table) -> u32 {
    let below = table.partitions.iter().filter(|assignment| {
        let health = PartitionHealth::of(map, &table.definition, assignment);
        health.in_sync_live < health.min_in_sync
    });
    u32::try_from(below.count()).unwrap_or(u32::MAX)
}
