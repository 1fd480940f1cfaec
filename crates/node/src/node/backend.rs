//! The node as the HTTP surface sees it.

use std::sync::{Arc, PoisonError};

use tablestore_contract::Resources;
use tablestore_placement::explain::{self, Explanation};
use tablestore_placement::{Alteration, ClusterMap, StorageId, TableDefinition};
use tablestore_store::Mutation;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::{Event, Node};
use crate::api::{
    BatchItem, Consistency, PartitionChecksums, RequestContext, RequestError, Row, RowKey,
    ScanPage, ScanRequest, Served, TableAltered, TableChange, TableTarget, WriteReply,
};
use crate::http::{Administration, Backend, RowService, Standing, Timeline};
use crate::metrics::Metrics;

/// A disk that takes longer for one sync hangs: nothing is acknowledged meanwhile.
const SYNC_MS_MAX: u64 = 2_000;

impl Backend for Node {
    fn me(&self) -> StorageId {
        Self::me(self)
    }

    fn map(&self) -> Arc<ClusterMap> {
        Self::map(self)
    }

    fn standing(&self) -> Standing {
        Self::standing(self)
    }

    fn resources(&self, member: StorageId) -> Option<Resources> {
        let all = self
            .shared
            .resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.get(&member).cloned()
    }

    fn ready(&self) -> Result<(), String> {
        if self.is_leaving() {
            return Err("the node is shutting down".to_owned());
        }
        if self.shared.progress.failed() {
            return Err("a sync of the journal failed; the node refuses everything".to_owned());
        }
        let sync_ms = self.shared.progress.oldest_sync_ms();
        if sync_ms > SYNC_MS_MAX {
            return Err(format!(
                "the disk has not finished a sync of the journal for {} s",
                sync_ms / 1_000
            ));
        }
        let map = self.map();
        match map.members.get(&self.me()) {
            None => Err("the node is not a member of the cluster yet".to_owned()),
            Some(member) if member.incarnation != self.shared.me.incarnation => {
                Err("the node has not registered this start yet".to_owned())
            }
            Some(_) => match self.shared.progress.to_open(&map, self.me()) {
                0 => self.no_majority().map_or(Ok(()), Err),
                left => Err(format!("{left} replicas of this node are being opened")),
            },
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    async fn measure(&self) {
        self.measure_now().await;
    }
}

impl Timeline for Node {
    fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.timeline.follow()
    }

    fn events_after(&self, id: u64) -> Vec<Arc<Event>> {
        self.shared.timeline.after(id)
    }
}

impl Administration for Node {
    fn explain(&self, if_fails: &[String]) -> Result<Explanation, RequestError> {
        let map = self.map();
        let mut failed = Vec::new();
        for name in if_fails {
            let member = map
                .member_named(name)
                .ok_or_else(|| RequestError::UnknownNode { name: name.clone() })?;
            failed.push(member.storage);
        }
        let voters = self.shared.consensus.voters();
        Ok(explain::if_fails(
            &self.shared.strategies,
            &map,
            &voters,
            &failed,
        ))
    }

    async fn fresh_map(&self, deadline: Instant) -> Result<Arc<ClusterMap>, RequestError> {
        let fresh = self.fresh(deadline).await;
        fresh.map_err(|error| self.with_cause(error))
    }

    async fn create_table(
        &self,
        name: &str,
        definition: TableDefinition,
        deadline: Instant,
    ) -> Result<TableChange, RequestError> {
        let done = Self::create_table(self, name, definition, deadline).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn alter_table(
        &self,
        name: &str,
        alteration: Alteration,
        deadline: Instant,
    ) -> Result<TableAltered, RequestError> {
        let done = Self::alter_table(self, name, alteration, deadline).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn drop_table(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        let done = Self::drop_table(self, name, deadline).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn drain_node(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        let done = Self::drain_node(self, name, deadline).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn undrain_node(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        let done = Self::undrain_node(self, name, deadline).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn remove_node(&self, name: &str, deadline: Instant) -> Result<(), RequestError> {
        let done = Self::remove_node(self, name, deadline).await;
        done.map_err(|error| self.with_cause(error))
    }
}

impl RowService for Node {
    async fn write(
        &self,
        table: TableTarget,
        key: RowKey,
        mutation: Mutation,
        context: RequestContext,
    ) -> Result<WriteReply, RequestError> {
        let done = Self::write(self, table, &key, &mutation, context).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn get(
        &self,
        table: TableTarget,
        key: RowKey,
        consistency: Consistency,
        context: RequestContext,
    ) -> Result<(Option<Row>, Served), RequestError> {
        let done = Self::get(self, table, &key, consistency, context).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn scan(
        &self,
        table: TableTarget,
        scan: ScanRequest,
        context: RequestContext,
    ) -> Result<ScanPage, RequestError> {
        let done = Self::scan(self, table, scan, context).await;
        done.map_err(|error| self.with_cause(error))
    }

    async fn batch(
        &self,
        table: TableTarget,
        items: Vec<BatchItem>,
        context: RequestContext,
    ) -> Vec<Result<WriteReply, RequestError>> {
        let done = Self::batch(self, table, items, context).await;
        let with_cause = |one: Result<_, _>| one.map_err(|error| self.with_cause(error));
        done.into_iter().map(with_cause).collect()
    }

    async fn checksums(
        &self,
        table: TableTarget,
        context: RequestContext,
    ) -> Result<Vec<PartitionChecksums>, RequestError> {
        let done = Self::checksums(self, table, context).await;
        done.map_err(|error| self.with_cause(error))
    }
}
