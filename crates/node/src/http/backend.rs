//! What the HTTP surface needs from a node, as traits, so that it is tested without one.
//!
//! Knows nothing of HTTP. The node implements it; tests implement it in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use tablestore_contract::Event;
use tablestore_contract::{Majority, Resources};
use tablestore_placement::explain::Explanation;
use tablestore_placement::{Alteration, ClusterMap, StorageId, TableDefinition};
use tablestore_store::Mutation;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::api::{
    BatchItem, Consistency, PartitionChecksums, RequestContext, RequestError, Row, RowKey,
    ScanPage, ScanRequest, Served, TableAltered, TableChange, TableTarget, WriteReply,
};
use crate::metrics::Metrics;

/// How a node stands to the others, as it knows itself.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The controller; none where no majority follows one.
    pub controller: Option<StorageId>,
    /// The members that vote on the map.
    pub voters: Vec<StorageId>,
    /// The voters as this node reaches them; none before it knows any.
    pub majority: Option<Majority>,
    /// Members that this node does not reach, where that reaches no majority either: nobody can
    /// say what they are. Each since when, in wall-clock milliseconds.
    pub unreachable: BTreeMap<StorageId, u64>,
}

/// A node as the HTTP surface sees it: a cheap handle, cloned for every connection.
///
/// The futures are not boxed: a row's way from socket to node has no allocation of ours.
pub trait Backend: Timeline + Administration + RowService + Clone + Send + Sync + 'static {
    /// The storage id of this node.
    fn me(&self) -> StorageId;

    /// The cluster map as this node has applied it.
    fn map(&self) -> Arc<ClusterMap>;

    /// How this node stands to the others.
    fn standing(&self) -> Standing;

    /// Health and resources of a member, where this node knows them.
    fn resources(&self, member: StorageId) -> Option<Resources>;

    /// Whether it can serve, or why not.
    ///
    /// # Errors
    /// The reason, for people.
    fn ready(&self) -> Result<(), String>;

    /// Where everything is counted.
    fn metrics(&self) -> &Metrics;

    /// Measures what is only counted when somebody asks.
    fn measure(&self) -> impl Future<Output = ()> + Send;
}

/// What has happened, for whoever follows it.
pub trait Timeline {
    /// Events from now on.
    fn events(&self) -> broadcast::Receiver<Arc<Event>>;

    /// Events with a greater id that are still remembered, oldest first.
    fn events_after(&self, id: u64) -> Vec<Arc<Event>>;
}

/// Tables and nodes: what is asked about them and changed.
pub trait Administration {
    /// What would happen if these nodes failed.
    ///
    /// # Errors
    /// `UnknownNode`.
    fn explain(&self, if_fails: &[String]) -> Result<Explanation, RequestError>;

    /// A linearizable read of the map: asked for when a table is not in [`map`](Backend::map),
    /// since another node may just have created it.
    fn fresh_map(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Arc<ClusterMap>, RequestError>> + Send;

    /// Creates a table.
    fn create_table(
        &self,
        name: &str,
        definition: TableDefinition,
        deadline: Instant,
    ) -> impl Future<Output = Result<TableChange, RequestError>> + Send;

    /// Alters a table.
    fn alter_table(
        &self,
        name: &str,
        alteration: Alteration,
        deadline: Instant,
    ) -> impl Future<Output = Result<TableAltered, RequestError>> + Send;

    /// Drops a table with its rows.
    fn drop_table(
        &self,
        name: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;

    /// Begins to move everything off a node.
    fn drain_node(
        &self,
        name: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;

    /// Calls the drain of a node off.
    fn undrain_node(
        &self,
        name: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;

    /// Removes a node for good.
    fn remove_node(
        &self,
        name: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;
}

/// The rows of tables. Whoever asks has looked the table up: it is not looked up again.
pub trait RowService {
    /// One write. The mutation holds the encoded form of `key`.
    fn write(
        &self,
        table: TableTarget,
        key: RowKey,
        mutation: Mutation,
        context: RequestContext,
    ) -> impl Future<Output = Result<WriteReply, RequestError>> + Send;

    /// One read.
    fn get(
        &self,
        table: TableTarget,
        key: RowKey,
        consistency: Consistency,
        context: RequestContext,
    ) -> impl Future<Output = Result<(Option<Row>, Served), RequestError>> + Send;

    /// One page.
    fn scan(
        &self,
        table: TableTarget,
        scan: ScanRequest,
        context: RequestContext,
    ) -> impl Future<Output = Result<ScanPage, RequestError>> + Send;

    /// Several writes; one answer each, in the same order. Writes of one row take effect in
    /// their order. The id of an item is (request id, position).
    fn batch(
        &self,
        table: TableTarget,
        items: Vec<BatchItem>,
        context: RequestContext,
    ) -> impl Future<Output = Vec<Result<WriteReply, RequestError>>> + Send;

    /// Checksums of all replicas of a table.
    fn checksums(
        &self,
        table: TableTarget,
        context: RequestContext,
    ) -> impl Future<Output = Result<Vec<PartitionChecksums>, RequestError>> + Send;
}
