//! The files of consensus for a cluster of one node that begins with a map which another cluster
//! had. Knows nothing of why, and of what is in the map.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};
use openraft::vote::RaftLeaderId;
use openraft::{BasicNode, Membership};
use tablestore_placement::{ClusterMap, StorageId};

use super::handle::ConsensusError;
use super::machine;
use super::store::ConsensusStore;
use super::types::{LogId, SnapshotMeta, StoredMembership, Vote};

type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;

/// A place in the log behind everything that a node had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    term: u64,
    index: u64,
}

impl ConsensusStore {
    /// The first term and index that this node has seen nothing of.
    ///
    /// # Errors
    /// If its vote cannot be read.
    pub async fn behind(&mut self) -> io::Result<Behind> {
        let vote = self.log.read_vote().await?;
        let voted = vote.map_or(0, |vote| vote.leader_id.term);
        let last = self.last_log();
        let term = last.map_or(0, |last| last.committed_leader_id().term());
        let reached = self.machine.reached().unwrap_or(0);
        Ok(Behind {
            term: voted.max(term) + 1,
            index: last.map_or(0, |last| last.index).max(reached) + 1,
        })
    }

    /// Writes a log and a snapshot into an empty directory: of a cluster whose only voter is `me`,
    /// with this map. All is durable when this returns.
    ///
    /// # Errors
    /// If something cannot be written; then the directory is of no use.
    pub async fn refound(
        directory: &Path,
        me: StorageId,
        map: ClusterMap,
        behind: Behind,
    ) -> Result<(), ConsensusError> {
        let failed = |error: io::Error| ConsensusError::Raft(error.to_string());
        let mut store = Self::open(directory, false)?;
        let id = LogId::new(LeaderId::new(behind.term, me.0), behind.index);
        let address = map.members.get(&me).map(|me| me.peer_address.clone());
        let node = BasicNode {
            addr: address.unwrap_or_default(),
        };
        let voters = vec![[me.0].into()];
        let membership = Membership::new(voters, BTreeMap::from([(me.0, node)]));
        let membership = membership.map_err(|error| ConsensusError::Raft(error.to_string()))?;
        let meta = SnapshotMeta {
            last_log_id: Some(id),
            last_membership: StoredMembership::new(Some(id), membership),
        };
        let snapshot = machine::snapshot(&meta, map).map_err(failed)?;
        let (log, machine) = (&mut store.log, &mut store.machine);
        machine
            .install_snapshot(&meta, snapshot)
            .await
            .map_err(failed)?;
        let vote = Vote {
            leader_id: LeaderId::new(behind.term, me.0),
            committed: true,
        };
        log.save_vote(&vote).await.map_err(failed)?;
        log.purge(id).await.map_err(failed)?;
        log.finish().await.map_err(failed)
    }
}
