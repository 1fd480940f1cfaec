//! What a node shows of its directory before it begins a start, as it goes over the wire.
//!
//! What a member makes of it is said by `tablestore_placement::identity`.

use serde::{Deserialize, Serialize};
use tablestore_placement::identity::ShownDirectory;
use tablestore_placement::{PartitionId, StorageId};

use super::types::LogId;

/// What a node found in its directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShownStart {
    /// The id of the directory.
    pub storage: StorageId,
    /// The start that the cluster took last, as far as the directory knows, and those begun since.
    pub begun: Vec<u64>,
    /// The end of its raft log.
    pub last_log: Option<LogId>,
    /// Where the log of each replica ends; of one that is not to be used, and says so, nothing.
    pub ends: Vec<(PartitionId, Option<u64>)>,
}

impl ShownStart {
    /// What it says about the directory.
    #[must_use]
    pub fn directory(&self) -> ShownDirectory {
        ShownDirectory {
            storage: self.storage,
            begun: self.begun.clone(),
            last_log_index: self.last_log.map(|log| log.index),
            ends: self.ends.clone(),
        }
    }
}
