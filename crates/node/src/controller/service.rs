//! What this node answers to the controller.

use std::sync::OnceLock;

use tablestore_consensus::{
    Blob, HeartbeatAnswer, PartitionProgress, PeerIdentity, PeerReply, PeerRequest, PeerService,
    ReplyFuture, ShownStart,
};
use tablestore_placement::StorageId;
use tablestore_placement::identity::{Others, Remembered, SeenStart, judge};
use tokio::sync::oneshot;

use crate::data::DataEvent;
use crate::node::{Node, wall_ms};

/// A node whose journal has failed says that its oldest sync is this old: it does no work.
const FAILED_MS: u64 = 3_600_000;

/// Answers heartbeats; runs on the control thread and never blocks.
#[derive(Debug, Default)]
pub(crate) struct Service {
    node: OnceLock<Node>,
}

impl Service {
    /// From now on the node can be asked.
    pub(crate) fn set_node(&self, node: Node) {
        let _ = self.node.set(node);
    }
}

impl PeerService for Service {
    fn handle(&self, from: PeerIdentity, request: PeerRequest) -> ReplyFuture {
        if let (Some(node), PeerRequest::ShowStart(shown)) = (self.node.get(), &request)
            && shown.storage == from.storage
        {
            let (node, shown) = (node.clone(), shown.clone());
            return Box::pin(async move { PeerReply::StartSeen(node.judge(&shown).await) });
        }
        let reply = match (self.node.get(), request) {
            (None, _) => PeerReply::NotReady,
            (Some(node), PeerRequest::Heartbeat(request)) => {
                let full = request.full.into_iter().collect();
                node.shared.progress.room.set_full_members(full);
                node.shared.progress.set_clock_off_ms(request.clock_off_ms);
                PeerReply::Heartbeat(node.heartbeat_answer())
            }
            (Some(_), _) => PeerReply::Unsupported,
        };
        Box::pin(std::future::ready(reply))
    }
}

impl Node {
    /// What this node says about the directory of one that is about to start.
    async fn judge(&self, shown: &ShownStart) -> SeenStart {
        let (asker, remembered) = oneshot::channel();
        let asked = DataEvent::Remembered(shown.storage, asker);
        self.shared.data.send(asked).await;
        let consensus = &self.shared.consensus;
        let remembered = remembered.await.unwrap_or_default();
        let remembered = Remembered {
            commits: remembered.commits,
            acknowledged: remembered.acknowledged,
            matched: consensus.matched(shown.storage).map(|log| log.index),
        };
        let map = self.map();
        let others = map.members.keys().copied();
        let reached: Vec<StorageId> = others
            .filter(|other| *other == self.me() || consensus.peers().is_up(*other))
            .collect();
        let voters = consensus.voters();
        let others = Others {
            voters: &voters,
            reached: &reached,
        };
        judge(&map, others, &shown.directory(), &remembered)
    }

    /// This node's sign of work.
    pub(crate) fn heartbeat_answer(&self) -> HeartbeatAnswer {
        let progress = &self.shared.progress;
        let failed = progress.failed();
        let resources = {
            let all = self.shared.resources.lock();
            let all = all.unwrap_or_else(std::sync::PoisonError::into_inner);
            all.get(&self.me())
                .map(|own| serde_json::json!(own).to_string().into_bytes())
                .unwrap_or_default()
        };
        HeartbeatAnswer {
            incarnation: self.shared.me.incarnation,
            oldest_sync_ms: if failed {
                FAILED_MS
            } else {
                progress.oldest_sync_ms()
            },
            oldest_apply_ms: progress.turn_age_ms(),
            resources: Blob(resources),
            partitions: progress
                .replicas()
                .into_iter()
                .map(|(partition, replica)| PartitionProgress {
                    partition,
                    epoch: replica.epoch,
                    end: replica.end,
                    stopped: replica.stopped,
                })
                .collect(),
            full: progress.room.is_full(),
            leaving: progress.is_leaving(),
            wall_ms: wall_ms(),
        }
    }
}
