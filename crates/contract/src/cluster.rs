//! The cluster as a node shows it: members, partitions, decisions, events, checksums.
//!
//! Members are named; where a name was taken over by another member, and beside every name, stands
//! the storage id in hexadecimal. A view keeps what this version does not know in `more`, and what
//! an older node leaves out is empty.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Document, Resources, TableView};

/// Members and tables: `GET /v1/cluster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ClusterView {
    /// The id of the cluster.
    pub cluster: String,
    /// Grows with every change.
    pub map_version: u64,
    /// The node that decides at the moment; null while there is none.
    pub controller: Option<String>,
    /// Its storage id.
    pub controller_id: Option<String>,
    /// The voters as the node that answers reaches them; null before it is a member.
    pub majority: Option<Majority>,
    /// All members.
    pub nodes: Vec<NodeView>,
    /// All tables.
    pub tables: Vec<TableView>,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// Whether a node reaches a majority of the voters. Without one nothing that it says of others can
/// be confirmed, no failover happens and nothing can be changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Majority {
    /// Whether it does.
    pub reached: bool,
    /// How many members vote.
    pub voters: u32,
    /// How many of them answer, the node itself included if it votes.
    pub answering: u32,
    /// Those that do not.
    pub missing: Vec<MissingVoter>,
    /// How many milliseconds ago a majority answered last; null while one does.
    pub lost_ms: Option<u64>,
}

/// A voter that does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MissingVoter {
    /// Its name.
    pub node: String,
    /// Its storage id.
    pub id: String,
    /// How many milliseconds ago it answered last; null if it has not since the node started that
    /// says so.
    pub silent_ms: Option<u64>,
}

/// One member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct NodeView {
    /// Storage id.
    pub id: String,
    /// For people.
    pub name: String,
    /// `up`, `suspect`, `down`, `draining`, `drained` (it drains and holds nothing any more),
    /// `left`; `unreachable` where a node that reaches no
    /// majority does not reach this one either, so that nobody can say what it is.
    pub state: String,
    /// Wall-clock milliseconds since when it has this state.
    pub since_ms: u64,
    /// Where it serves HTTP.
    pub address: String,
    /// Where it serves other nodes.
    pub peer_address: String,
    /// `region/zone`, or empty.
    pub zone: Option<String>,
    /// How much it takes compared with others; 0 takes nothing new.
    pub weight: u32,
    /// Grows with every start.
    pub incarnation: u64,
    /// Whether it votes on the cluster map, as the node that answers knows; the others follow it.
    pub voter: bool,
    /// What is left on it; null while it does not drain.
    pub drain: Option<Drain>,
    /// Health and resources as the node that answers knows them; null while it knows nothing.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub resources: Option<Resources>,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// How far the drain of a member is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Drain {
    /// Partitions of which it still has a copy.
    pub copies_left: u32,
    /// Partitions of which it still is the primary or owner.
    pub primaries_left: u32,
    /// What cannot move, why, and what would help: one sentence each.
    pub blocked: Vec<String>,
}

/// The partitions of a table: `GET /v1/cluster/partitions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Partitions {
    /// The table.
    pub table: String,
    /// One entry a partition, in order.
    pub partitions: Vec<PartitionView>,
}

/// Who holds one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PartitionView {
    /// Number within its table.
    pub partition: u32,
    /// Who holds it now.
    #[serde(flatten)]
    pub assignment: AssignmentView,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// Who holds a partition: now, or before or after a change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct AssignmentView {
    /// Grows when the primary changes.
    pub epoch: u64,
    /// Grows when anything here changes.
    pub version: u64,
    /// The node that serves it; null while nobody does.
    #[serde(alias = "owner")]
    pub primary: Option<String>,
    /// Its storage id.
    pub primary_id: Option<String>,
    /// Whether that office is filled now: its holder lives and has not been started anew.
    pub primary_live: bool,
    /// All nodes that keep it.
    pub replicas: Vec<String>,
    /// Their storage ids.
    pub replica_ids: Vec<String>,
    /// Those that have every acknowledged write.
    pub in_sync: Vec<String>,
    /// Their storage ids.
    pub in_sync_ids: Vec<String>,
}

impl AssignmentView {
    /// The same as the view of a partition.
    #[must_use]
    pub fn of_partition(self, partition: u32) -> PartitionView {
        PartitionView {
            partition,
            assignment: self,
            more: Document::new(),
        }
    }
}

/// The last decisions: `GET /v1/cluster/decisions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Decisions {
    /// Newest first.
    pub decisions: Vec<Decision>,
}

/// One decision of the controller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Decision {
    /// Its number.
    pub id: u64,
    /// Wall-clock milliseconds.
    pub at_ms: u64,
    /// What sort of decision: one of [`DECISION_KINDS`](crate::DECISION_KINDS), or a newer one.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::decision::kind_schema))]
    pub kind: String,
    /// The member it is about.
    pub subject: Option<String>,
    /// Its storage id.
    pub subject_id: Option<String>,
    /// What was observed.
    pub evidence: String,
    /// Why that led to the decision.
    pub reason: String,
    /// When each step was reached.
    pub phases: Vec<Phase>,
    /// The first partitions that changed.
    pub changes: Vec<Change>,
    /// How many partitions changed in all.
    pub changes_total: u32,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// A step of a decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Wall-clock milliseconds.
    pub at_ms: u64,
}

/// How a decision changed one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Change {
    /// The table; null when it has been dropped since.
    pub table: Option<String>,
    /// Number within its table.
    pub partition: u32,
    /// Who held it; null for a new table.
    pub before: Option<AssignmentView>,
    /// Who holds it then.
    pub after: AssignmentView,
}

/// Something that happened, as the data of one server-sent event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Grows on one node; what `Last-Event-ID` names.
    pub id: u64,
    /// Wall-clock milliseconds.
    pub at_ms: u64,
    /// The same in microseconds, so that what follows quickly can be told apart.
    pub at_us: u64,
    /// What sort of event, for example `failover`.
    pub kind: String,
    /// The name of the node it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The id of the table it is about: a name may be used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The number of the partition it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The rest.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// The checksums of a table: `GET /v1/cluster/checksums`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Checksums {
    /// The table.
    pub table: String,
    /// Whether all partitions are equal.
    pub equal: bool,
    /// One entry a partition.
    pub partitions: Vec<PartitionChecksum>,
}

/// One partition's checksums, all taken at the same log index.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PartitionChecksum {
    /// Number within its table.
    pub partition: u32,
    /// The log index.
    pub index: u64,
    /// Whether all in-sync replicas answered and agree.
    pub equal: bool,
    /// One entry a replica.
    pub replicas: Vec<ReplicaChecksum>,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// The checksum of one replica, or why there is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ReplicaChecksum {
    /// The node that keeps it.
    pub node: String,
    /// Its storage id.
    pub id: String,
    /// In hexadecimal.
    pub checksum: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

/// The answer to the drain, the end of a drain, or the removal of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct NodeLeaves {
    /// The node.
    pub node: String,
    /// `draining`, `up` or `left`.
    pub state: String,
    /// Of a drain: what cannot move, why, and what would help, one sentence each.
    pub blocked: Vec<String>,
}

/// The answer of a node that lives, or is ready.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Health {
    /// `alive` or `ready`.
    pub status: String,
}
