//! How members are asked for a sign of work, and what they answer is told to the core.

use std::time::Duration;

use tablestore_consensus::{
    self as consensus, HeartbeatAnswer, HeartbeatRequest, PartitionProgress, PeerReply, PeerRequest,
};
use tablestore_controller::{Input, ReplicaProgress, SignOfWork};
use tablestore_health::{Probe, Work};
use tablestore_placement::{Incarnation, StorageId};

use super::{Driver, Report};

/// An answer after this long is no sign of life any more.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long another node may take to look at a suspect.
const PROBE_WITHIN: Duration = Duration::from_millis(100);

impl Driver {
    pub(super) fn heartbeat(&mut self, to: StorageId) {
        let sent = self.origin.elapsed();
        let clock_off_ms = self.core.clock_off_ms(to);
        if to == self.node.shared.me.member {
            let answer = self.node.heartbeat_answer();
            self.answered(to, sent, answer);
            let room = &self.node.shared.progress.room;
            room.set_full_members(self.core.full_members());
            self.node.shared.progress.set_clock_off_ms(clock_off_ms);
            return;
        }
        let request = PeerRequest::Heartbeat(HeartbeatRequest {
            full: self.core.full_members().into_iter().collect(),
            clock_off_ms,
        });
        let peers = self.node.shared.consensus.peers().clone();
        let reports = self.reports.clone();
        tokio::spawn(async move {
            if let Ok(PeerReply::Heartbeat(answer)) = peers.call(to, request, ANSWER_WITHIN).await {
                // Full means that newer answers are there already.
                let _ = reports.try_send(Report::Answer {
                    node: to,
                    sent,
                    answer,
                });
            }
        });
    }

    pub(super) fn answered(&mut self, node: StorageId, sent: Duration, answer: HeartbeatAnswer) {
        if let Ok(resources) = serde_json::from_slice(&answer.resources.0) {
            self.node.note_resources(node, resources);
        }
        let answer = seen(answer);
        self.handle(Input::Answered { node, sent, answer });
    }

    pub(super) fn probe(&self, by: StorageId, node: StorageId, incarnation: Incarnation) {
        let peers = self.node.shared.consensus.peers().clone();
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let request = PeerRequest::ProbeOther { storage: node };
            let Ok(PeerReply::Probed(found)) = peers.call(by, request, PROBE_WITHIN).await else {
                return;
            };
            let found = match found {
                consensus::ProbeReply::Refused => Probe::Refused,
                consensus::ProbeReply::Alive { .. } => Probe::Answered,
                consensus::ProbeReply::Unknown => Probe::Silent,
            };
            let _ = reports.try_send(Report::Other(Input::Probed {
                by,
                node,
                incarnation,
                found,
            }));
        });
    }
}

/// What the core needs of an answer.
fn seen(answer: HeartbeatAnswer) -> SignOfWork {
    let progress = |replica: PartitionProgress| ReplicaProgress {
        partition: replica.partition,
        epoch: replica.epoch,
        end: replica.end,
        stopped: replica.stopped,
    };
    SignOfWork {
        incarnation: answer.incarnation,
        work: Work {
            unfinished_sync_age: Duration::from_millis(answer.oldest_sync_ms),
            unapplied_age: Duration::from_millis(answer.oldest_apply_ms),
        },
        full: answer.full,
        leaving: answer.leaving,
        wall_ms: answer.wall_ms,
        replicas: answer.partitions.into_iter().map(progress).collect(),
    }
}
