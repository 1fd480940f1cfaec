//! What every part of consensus needs: a bundle of cheap handles.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use openraft::async_runtime::WatchReceiver;
use tablestore_placement::{ClusterMap, Incarnation, StorageId};
use tokio::sync::{RwLock, mpsc, watch};

use super::election::Sighting;
use super::leadership::Leadership;
use super::log::RaftLog;
use super::peers::Peers;
use super::reach::Reach;
use super::types::Raft;
use super::voting::HandOver;

#[derive(Clone)]
pub(super) struct Core {
    pub(super) me: StorageId,
    pub(super) raft: Raft,
    pub(super) peers: Peers,
    pub(super) log: RaftLog,
    pub(super) map: watch::Receiver<Arc<ClusterMap>>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) sightings: mpsc::Sender<Sighting>,
    pub(super) hand_over: Arc<watch::Sender<Option<HandOver>>>,
    /// Which voters this node hears.
    pub(super) reach: Reach,
    /// Whoever changes the map here shares it; a decision of the controller, which is bound to one
    /// version of the map, has it alone if it was overtaken once.
    pub(super) turn: Arc<RwLock<()>>,
    /// Whether the vote that this node remembers is its last is not confirmed yet.
    pub(super) votes_held: Arc<AtomicBool>,
}

impl Core {
    /// The voters; while they change, those before and those after it.
    pub(super) fn voter_configs(&self) -> Vec<BTreeSet<StorageId>> {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        let configs = now.membership_config.get_joint_config().iter();
        configs
            .map(|config| config.iter().copied().map(StorageId).collect())
            .collect()
    }

    /// The start of a member that the map knows.
    pub(super) fn incarnation_of(&self, storage: StorageId) -> Incarnation {
        let map = self.map.borrow();
        map.members
            .get(&storage)
            .map_or(Incarnation(0), |member| member.incarnation)
    }
}
