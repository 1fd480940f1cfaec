//! What a data plane shows of its replicas; never read by anything that must be true.

use tablestore_placement::{Epoch, PartitionId};

/// One replica as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaProgress {
    /// The epoch that it adopted.
    pub epoch: Epoch,
    /// The last index of its log.
    pub end: u64,
    /// Why it stopped, if it did.
    pub stopped: Option<String>,
}

/// What this node's replicas remember, also of what a member has acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembers {
    /// What is known to be committed.
    pub commits: Vec<(PartitionId, u64)>,
    /// Up to where the member has acknowledged to primaries here, and in which epoch.
    pub acknowledged: Vec<(PartitionId, Epoch, u64)>,
}
