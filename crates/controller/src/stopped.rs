//! Replicas that live members say have stopped: they are not waited for and hold no office.
//!
//! Knows nothing of why a replica stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use tablestore_placement::{ClusterMap, Decision, DecisionKind, PartitionId, Reports, StorageId};

use crate::{Controller, Job, Planned, SignOfWork};

type Answers = BTreeMap<StorageId, SignOfWork>;

/// How far the logs of all members go; a stopped replica has nothing to offer, nor has a start
/// that has not registered: whether its disk is the one that the map knows is not yet said.
pub(crate) fn reports(map: &ClusterMap, answers: &Answers) -> Reports {
    answers
        .iter()
        .filter(|(node, answer)| is_registered(map, **node, answer))
        .map(|(node, answer)| {
            let working = answer.replicas.iter().filter(|r| r.stopped.is_none());
            let ends = working.map(|r| (r.partition, r.epoch, r.end));
            (*node, ends.collect())
        })
        .collect()
}

/// Whether the answer is of the start that the map shows.
fn is_registered(map: &ClusterMap, node: StorageId, answer: &SignOfWork) -> bool {
    let member = map.members.get(&node).filter(|member| member.is_live());
    member.is_some_and(|member| member.incarnation == answer.incarnation)
}

/// The replicas in in-sync sets that the present start of their member says have stopped, and why.
pub(crate) fn stopped(
    map: &ClusterMap,
    answers: &Answers,
) -> Vec<(PartitionId, StorageId, String)> {
    let mut found = Vec::new();
    let registered = answers
        .iter()
        .filter(|(node, answer)| is_registered(map, **node, answer));
    for (node, answer) in registered {
        for replica in &answer.replicas {
            let Some(why) = &replica.stopped else {
                continue;
            };
            let assignment = map.assignment(replica.partition);
            if assignment.is_some_and(|a| a.in_sync.contains(node)) {
                found.push((replica.partition, *node, why.clone()));
            }
        }
    }
    found
}

impl Controller {
    pub(crate) fn act_on_stopped(&mut self) {
        if self.jobs.contains(&Job::Stopped) {
            return;
        }
        let now = self.at();
        let map = Arc::clone(&self.map);
        let is_shared = |partition: &PartitionId| {
            let table = map.tables.get(&partition.table);
            table.is_some_and(|table| !table.definition.data_path().has_copies())
        };
        let mut stopped = stopped(&map, &self.answers);
        stopped.retain(|(partition, ..)| {
            !is_shared(partition) || self.rounds.may_move(*partition, now)
        });
        let Some((_, storage, why)) = stopped.first() else {
            return;
        };
        let decision = Decision::new(DecisionKind::ReplicasStopped, self.now.wall_ms)
            .about(*storage)
            .on_evidence(format!("{} replicas stopped; {why}", stopped.len()));
        let replicas = stopped.iter().map(|(p, s, _)| (*p, *s)).collect();
        let planned = Planned::ReplicasStopped { replicas };
        self.propose(Job::Stopped, planned, decision);
        if self.jobs.contains(&Job::Stopped) {
            let shared = || {
                stopped
                    .iter()
                    .filter(|(partition, ..)| is_shared(partition))
            };
            let start = |member: &StorageId| Some((*member, map.members.get(member)?.incarnation));
            let members = shared()
                .filter_map(|(_, member, _)| start(member))
                .collect();
            let partitions = shared().map(|(partition, ..)| *partition);
            self.rounds.moved(partitions, members, now);
        }
    }

    /// Members with a stopped replica that still counts.
    pub(crate) fn with_stopped(&self) -> Vec<StorageId> {
        let stopped = stopped(&self.map, &self.answers);
        stopped.into_iter().map(|(_, storage, _)| storage).collect()
    }
}
