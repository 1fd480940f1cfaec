//! Who leads, as this node knows, and whether this node leads and may act.

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::vote::RaftLeaderId;
use tablestore_placement::StorageId;
use tokio::sync::watch;

use super::handle::Consensus;
use super::membership;
use super::types::Raft;

/// Who leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term that this node knows.
    pub term: u64,
    /// The leader of that term, once a majority chose it.
    pub leader: Option<StorageId>,
    /// This node leads, and an entry of its own term is committed: its map has everything that
    /// was ever acknowledged.
    pub is_me_and_ready: bool,
}

impl Consensus {
    /// Up to which index of its log the map is agreed on, as far as this node knows.
    #[must_use]
    pub fn commit_index(&self) -> Option<u64> {
        let committed = self.inner.core.raft.watch_commit_progress();
        committed.get().map(|id| id.index)
    }

    /// Gives the leadership, if this node has it, to one voter that can do more with it.
    pub async fn hand_over_to(&self, successor: StorageId) {
        let core = self.inner.core.clone();
        let handing = async move { membership::hand_over_to(&core, successor).await };
        if let Some(Err(error)) = self.on_runtime(handing).await {
            tracing::info!(%successor, error, "no hand-over");
        }
    }
}

/// Publishes every change until raft ends; then the reason, if it ended by a failure.
pub(super) async fn publish(
    raft: Raft,
    changes: watch::Sender<Leadership>,
    failure: watch::Sender<Option<String>>,
) {
    let mut server = raft.server_metrics();
    // Not the general metrics: those change with every refused write.
    let mut commits = raft.watch_commit_progress();
    loop {
        let (leadership, settled) = {
            let now = server.borrow_watched();
            let leads = now.state == ServerState::Leader;
            let own = commits
                .get()
                .is_some_and(|id| *id.committed_leader_id() == now.vote.leader_id);
            let leadership = Leadership {
                term: now.vote.leader_id.term(),
                leader: now.current_leader.map(StorageId),
                is_me_and_ready: leads && own,
            };
            (leadership, !leads || own)
        };
        changes.send_if_modified(|before| {
            let modified = *before != leadership;
            *before = leadership;
            modified
        });
        let alive = tokio::select! {
            changed = server.changed() => changed.is_ok(),
            changed = commits.changed(), if !settled => changed.is_ok(),
        };
        if !alive {
            break;
        }
    }
    changes.send_modify(|leadership| {
        leadership.leader = None;
        leadership.is_me_and_ready = false;
    });
    let ended = raft.metrics().borrow_watched().running_state.clone();
    if let Err(fatal) = ended {
        failure.send_replace(Some(fatal.to_string()));
    }
}
