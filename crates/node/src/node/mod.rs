//! The handle of a running node: what the HTTP surface and an embedding program talk to.
//!
//! Turns a request for a table and a key into one for a partition, waits for the answer within
//! the deadline, and turns failures into errors that say whether anything changed. Knows nothing
//! of HTTP; the work is done by the data thread.

mod active;
mod alter;
mod backend;
mod events;
mod majority;
mod measure;
mod request_id;
mod shared;
mod tables;
mod target;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rand::RngExt;
use tablestore_consensus::Consensus;
use tablestore_contract::Resources;
use tablestore_dataplane::{Answer, Failure, Operation, Reply};
use tablestore_placement::{ClusterMap, DataPath, Office, PartitionId, StorageId, Strategies};
use tablestore_store::{Effect, Mutation};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use events::{Event, Events};

use crate::api::{
    BatchItem, Consistency, NotAppliedReason, RequestContext, RequestError, Row, RowKey, ScanPage,
    ScanRequest, Served, TableTarget, WriteReply,
};
use crate::data::{Asked, DataEvent, EventSender, Progress, SharedStorage};
use crate::metrics::Metrics;
use crate::settings::NodeSettings;

use self::request_id::request_of;
use self::target::{bounds, encoded};

/// Wall-clock milliseconds, for people and for stamps that nothing true rests on.
pub(crate) fn wall_ms() -> u64 {
    events::wall_us() / 1000
}

/// What the threads of a node share.
#[derive(Debug)]
pub(crate) struct SharedNode {
    pub(crate) me: Office,
    pub(crate) settings: NodeSettings,
    pub(crate) consensus: Consensus,
    pub(crate) data: EventSender,
    pub(crate) progress: Arc<Progress>,
    /// What all members share, if this node was given it.
    pub(crate) storage: Option<SharedStorage>,
    pub(crate) strategies: Arc<Strategies>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) timeline: Events,
    /// What each member last said of its resources.
    pub(crate) resources: Mutex<BTreeMap<StorageId, Resources>>,
    pub(crate) leaving: AtomicBool,
}

/// A handle to a running node; cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) shared: Arc<SharedNode>,
}

impl Node {
    /// The storage id of this node.
    #[must_use]
    pub fn me(&self) -> StorageId {
        self.shared.me.member
    }

    /// The settings it runs with.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.shared.settings
    }

    /// The cluster map as applied here.
    #[must_use]
    pub fn map(&self) -> Arc<ClusterMap> {
        self.shared.consensus.map()
    }

    /// Notes what a member says of its resources.
    pub(crate) fn note_resources(&self, member: StorageId, resources: Resources) {
        let all = self.shared.resources.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        all.insert(member, resources);
    }

    /// Whether the node is shutting down.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.leaving.load(Ordering::Acquire)
    }

    /// Looks a table up, once for a request; in a fresh map if this node does not know it, since
    /// another node may have created it a moment ago.
    ///
    /// # Errors
    /// `UnknownTable`, `NoController`.
    pub async fn table(&self, name: &str, deadline: Instant) -> Result<TableTarget, RequestError> {
        if let Some(table) = self.map().table_named(name) {
            return Ok(TableTarget::new(table.id, &table.definition));
        }
        match self.fresh(deadline).await?.table_named(name) {
            Some(table) => Ok(TableTarget::new(table.id, &table.definition)),
            None => Err(RequestError::UnknownTable {
                name: name.to_owned(),
            }),
        }
    }

    /// Hands a request to the data thread and waits for its reply.
    async fn ask(
        &self,
        partition: PartitionId,
        operation: Operation,
        context: RequestContext,
    ) -> Result<(Answer, Served), RequestError> {
        let (waiter, reply) = oneshot::channel();
        let asked = Asked {
            partition,
            operation,
            deadline: context.deadline,
            waiter,
        };
        self.offer(partition, DataEvent::Asked(asked))?;
        let unknown = RequestError::unknown(Some(partition));
        let (by, reply) = reply.await.map_err(|_| unknown)?;
        answer_of(partition, by, reply)
    }

    /// Hands a request to the data thread, if that takes one more.
    fn offer(&self, partition: PartitionId, asked: DataEvent) -> Result<(), RequestError> {
        let busy = RequestError::NotApplied {
            reason: NotAppliedReason::Busy,
            partition: Some(partition),
        };
        self.shared.data.offer(asked).map_err(|_| busy)
    }

    /// Carries out one mutation, once.
    ///
    /// # Errors
    /// See [`RequestError`]: each says whether anything changed.
    pub async fn write(
        &self,
        table: TableTarget,
        row: &RowKey,
        mutation: &Mutation,
        context: RequestContext,
    ) -> Result<WriteReply, RequestError> {
        if table.data_path == DataPath::Active {
            return self.write_active(table, row, mutation, context).await;
        }
        active::refuse_quorum("w", table, context)?;
        let payload = Bytes::from(mutation.encode());
        let id = context.request.unwrap_or_else(|| rand::rng().random());
        let request = request_of(id, mutation.key(), 0);
        self.write_to(
            table.partition_of(&row.partition),
            payload,
            request,
            context,
        )
        .await
    }

    async fn write_to(
        &self,
        partition: PartitionId,
        payload: Bytes,
        request: u128,
        context: RequestContext,
    ) -> Result<WriteReply, RequestError> {
        let digest = xxhash_rust::xxh3::xxh3_64(&payload);
        let operation = Operation::Write {
            request,
            digest,
            payload,
        };
        match self.ask(partition, operation, context).await? {
            (
                Answer::Written {
                    code,
                    version,
                    repeated,
                },
                served,
            ) => Ok(WriteReply {
                effect: Effect::of_number(code),
                version,
                repeated,
                served,
            }),
            _ => Err(unexpected()),
        }
    }

    /// Reads one row.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn get(
        &self,
        table: TableTarget,
        row: &RowKey,
        consistency: Consistency,
        context: RequestContext,
    ) -> Result<(Option<Row>, Served), RequestError> {
        if table.data_path == DataPath::Active {
            return self.get_active(table, row, consistency, context).await;
        }
        active::refuse_quorum("r", table, context)?;
        let partition = table.partition_of(&row.partition);
        let key = encoded(row).into();
        let operation = Operation::Get {
            key,
            strong: consistency == Consistency::Strong,
        };
        match self.ask(partition, operation, context).await? {
            (Answer::Row(row), served) => Ok((row.map(split).transpose()?, served)),
            _ => Err(unexpected()),
        }
    }

    /// Reads a page of a range or of the table.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn scan(
        &self,
        table: TableTarget,
        scan: ScanRequest,
        context: RequestContext,
    ) -> Result<ScanPage, RequestError> {
        table.needs_order("a scan")?;
        let (mut partition, last) = match &scan.partition_key {
            Some(key) => {
                let partition = table.partition_of(key).partition;
                (partition, partition)
            }
            None => (
                scan.cursor.as_ref().map_or(0, |(at, _)| *at),
                table.partitions - 1,
            ),
        };
        let mut after = scan.cursor.as_ref().map(|(_, key)| key.clone());
        let mut rows: Vec<(Vec<u8>, Row)> = Vec::new();
        loop {
            let left = scan.limit - rows.len();
            let (from, until) = bounds(&scan, after.take());
            let operation = Operation::Scan {
                from,
                until,
                limit: u32::try_from(left).unwrap_or(u32::MAX),
                reverse: scan.reverse,
                strong: scan.consistency == Consistency::Strong,
            };
            let id = PartitionId {
                table: table.id,
                partition,
            };
            let (Answer::Page { rows: page, more }, _) = self.ask(id, operation, context).await?
            else {
                return Err(unexpected());
            };
            for (key, value) in page {
                rows.push((key.to_vec(), split(value)?));
            }
            if more || (rows.len() >= scan.limit && partition < last) {
                let next = rows.last().map(|(key, _)| (partition, key.clone()));
                return Ok(ScanPage { rows, next });
            }
            if partition >= last {
                return Ok(ScanPage { rows, next: None });
            }
            partition += 1;
        }
    }

    /// Several writes, each answered for itself. Those of one row take effect in order.
    pub async fn batch(
        &self,
        table: TableTarget,
        items: Vec<BatchItem>,
        context: RequestContext,
    ) -> Vec<Result<WriteReply, RequestError>> {
        if let Err(refused) = table.needs_order("a batch") {
            return items.iter().map(|_| Err(refused.clone())).collect();
        }
        let id = context.request.unwrap_or_else(|| rand::rng().random());
        let mut of_row: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let writes = items.into_iter().map(|item| {
            let partition = table.partition_of(&item.key.partition);
            let payload = Bytes::from(item.mutation.encode());
            let row = item.mutation.key();
            let occurrence = of_row.entry(row.to_vec()).or_default();
            let request = request_of(id, row, *occurrence);
            *occurrence += 1;
            self.write_to(partition, payload, request, context)
        });
        futures_util::future::join_all(writes).await
    }
}

fn split(value: Bytes) -> Result<Row, RequestError> {
    let (version, item) = tablestore_store::item::codec::split_row(&value)
        .map_err(|error| RequestError::Internal(error.to_string()))?;
    let length = item.len();
    Ok(Row {
        version,
        item: value.slice(value.len() - length..),
    })
}

fn unexpected() -> RequestError {
    RequestError::Internal("an answer of another kind than was asked for".to_owned())
}

/// What a node answered about a partition, and who it was.
fn answer_of(
    partition: PartitionId,
    by: StorageId,
    reply: Reply,
) -> Result<(Answer, Served), RequestError> {
    let answer = reply
        .result
        .map_err(|failure| error_of(failure, partition))?;
    let served = Served {
        by,
        partition,
        epoch: reply.epoch,
    };
    Ok((answer, served))
}

fn error_of(failure: Failure, partition: PartitionId) -> RequestError {
    let partition = Some(partition);
    let not_applied = |reason| RequestError::NotApplied { reason, partition };
    match failure {
        Failure::NotHere | Failure::Unconfirmed => not_applied(NotAppliedReason::NoPrimary),
        Failure::NotEnoughReplicas => not_applied(NotAppliedReason::NotEnoughReplicas),
        Failure::RequestMismatch => RequestError::RequestMismatch,
        Failure::Unknown => RequestError::unknown(partition),
        Failure::Busy => not_applied(NotAppliedReason::Busy),
        Failure::Stopped => not_applied(NotAppliedReason::ReplicaStopped),
        Failure::NoStorage => not_applied(NotAppliedReason::NoStorage),
        Failure::ClockOff => not_applied(NotAppliedReason::ClockOff),
        Failure::Deadline => not_applied(NotAppliedReason::Deadline),
        Failure::Full => RequestError::StorageFull,
    }
}
