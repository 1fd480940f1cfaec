//! What a data plane shows of its replicas; never read by anything that must be true.

use tablestore_placement::{Epoch, PartitionId};
use tablestore_replication::Role;

/// One replica as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaProgress {
    /// Its role.
    pub role: Role,
    /// The epoch of that.
    pub epoch: Epoch,
    /// Whether it serves.
    pub serving: bool,
    /// The last index of its log.
    pub end: u64,
    /// Its commit index.
    pub commit: u64,
    /// Why it stopped, if it did.
    pub stopped: Option<String>,
}

impl Default for ReplicaProgress {
    fn default() -> Self {
        Self {
            role: Role::Outsider,
            epoch: Epoch(0),
            serving: false,
            end: 0,
            commit: 0,
            stopped: None,
        }
    }
}

/// What this node's replicas remember, also of what a member has acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembers {
    /// What is known to be committed.
    pub commits: Vec<(PartitionId, u64)>,
    /// Up to where the member has acknowledged to primaries here, and in which epoch.
    pub acknowledged: Vec<(PartitionId, Epoch, u64)>,
}
