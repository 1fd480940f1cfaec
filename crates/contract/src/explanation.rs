//! What would happen if nodes failed: `GET /v1/cluster/explain`.
//!
//! Members are given by their storage ids as numbers. Knows nothing of how it is found out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Document;

/// What would happen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Explanation {
    /// The members that are assumed to fail, by storage id.
    pub failed: Vec<String>,
    /// The affected partitions.
    pub partitions: Vec<PartitionOutcome>,
    /// How many partitions would get another primary.
    pub failovers: u32,
    /// By storage id: how many more offices a member would hold.
    pub offices_gained: BTreeMap<String, u32>,
    /// The numbers now.
    pub before: PartitionCounts,
    /// The numbers then.
    pub after: PartitionCounts,
    /// Why data would not be copied elsewhere by itself: too many would be missing.
    pub copying_refused: Option<String>,
    /// How many members vote on the cluster map.
    pub voters: u32,
    /// How many of them would be live.
    pub voters_left: u32,
    /// Whether those would be a majority: without one there is no failover, and nothing is served
    /// that misses a member of its in-sync set.
    pub majority: bool,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// What would become of one partition that is affected.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PartitionOutcome {
    /// The partition.
    pub partition: PartitionNumber,
    /// The name of its table.
    pub table: String,
    /// The storage id of who is primary now.
    pub primary: Option<String>,
    /// Of who would be primary; null if nobody could take over.
    pub next_primary: Option<String>,
    /// The epoch that it would be in.
    pub epoch: u64,
    /// The storage ids of those who would be in the in-sync set.
    pub in_sync: Vec<String>,
    /// How many live members have every acknowledged write now.
    pub copies_before: u32,
    /// How many would.
    pub copies_after: u32,
    /// How many more failures could then be survived without losing acknowledged writes.
    pub failures_left: u32,
    /// Whether strong reads would be answered.
    pub readable: bool,
    /// Whether writes would be taken.
    pub writable: bool,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}

/// One partition of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PartitionNumber {
    /// The id of the table.
    pub table: u32,
    /// Number within its table.
    pub partition: u32,
}

/// Numbers over all partitions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PartitionCounts {
    /// All partitions.
    pub partitions: u32,
    /// Without a live primary: neither strong reads nor writes.
    pub without_primary: u32,
    /// With a primary, but with fewer live in-sync members than a write needs: strong reads only.
    pub below_min_in_sync: u32,
    /// With fewer live in-sync members than the table asks for, those above included.
    pub under_replicated: u32,
    /// Replicas that are catching up.
    pub catching_up: u32,
    /// All members.
    pub members: u32,
    /// Members that are not live.
    pub members_down: u32,
    /// What this version does not know.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub more: Document,
}
