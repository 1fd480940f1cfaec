//! Replicas that live members say have stopped: they are not waited for and hold no office.
//!
//! Knows nothing of why a replica stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use tablestore_placement::plan;
use tablestore_placement::{ClusterMap, Decision, DecisionKind, PartitionId, Reports, StorageId};

use super::{Controller, Job};
use crate::control::HeartbeatAnswer;
use crate::control::message::ReplicaRole;
use crate::node::wall_ms;

type Answers = BTreeMap<StorageId, HeartbeatAnswer>;

/// How far the logs of all members go; a stopped replica has nothing to offer, nor has a start
/// that has not registered: whether its disk is the one that the map knows is not yet said.
pub(super) fn reports(map: &ClusterMap, answers: &Answers) -> Reports {
    let works = |role: ReplicaRole| role != ReplicaRole::Stopped;
    answers
        .iter()
        .filter(|(node, answer)| is_registered(map, **node, answer))
        .map(|(node, answer)| {
            let working = answer.partitions.iter().filter(|p| works(p.role));
            let ends = working.map(|p| (p.partition, p.epoch, p.end));
            (*node, ends.collect())
        })
        .collect()
}

/// Whether the answer is of the start that the map shows.
fn is_registered(map: &ClusterMap, node: StorageId, answer: &HeartbeatAnswer) -> bool {
    let member = map.members.get(&node).filter(|member| member.is_live());
    member.is_some_and(|member| member.incarnation == answer.incarnation)
}

/// The replicas in in-sync sets that the present start of their member says have stopped, and why.
fn stopped(map: &ClusterMap, answers: &Answers) -> Vec<(PartitionId, StorageId, String)> {
    let mut found = Vec::new();
    let registered = answers
        .iter()
        .filter(|(node, answer)| is_registered(map, **node, answer));
    for (node, answer) in registered {
        for replica in &answer.partitions {
            let assignment = map.assignment(replica.partition);
            let counts = assignment.is_some_and(|a| a.in_sync.contains(node));
            if replica.role == ReplicaRole::Stopped && counts {
                let why = replica.stopped.clone().unwrap_or_default();
                found.push((replica.partition, *node, why));
            }
        }
    }
    found
}

impl Controller {
    pub(super) fn act_on_stopped(&mut self, map: &Arc<ClusterMap>) {
        let stopped = stopped(map, &self.log_ends);
        let Some((_, storage, why)) = stopped.first() else {
            return;
        };
        let decision = Decision::new(DecisionKind::Stall, wall_ms())
            .about(*storage)
            .on_evidence(format!("{} replicas stopped; {why}", stopped.len()));
        let stopped: Vec<_> = stopped.iter().map(|(p, s, _)| (*p, *s)).collect();
        self.propose(Job::Stopped, decision, move |map| {
            plan::on_replicas_stopped(map, &stopped)
        });
    }

    /// Members with a stopped replica that still counts.
    pub(super) fn with_stopped(&self, map: &ClusterMap) -> Vec<StorageId> {
        let stopped = stopped(map, &self.log_ends);
        stopped.into_iter().map(|(_, storage, _)| storage).collect()
    }
}
