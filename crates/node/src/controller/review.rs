//! From what is believed to what is proposed.
//!
//! Deaths first and at once, all partitions of a node in one entry; then restarts; then, when
//! all is calm, what makes the cluster whole and even again (see `calm`). Each proposal is
//! computed from the map as it is and compared when it is applied, so a late one does nothing.

use std::sync::Arc;

use tablestore_health::Belief;
use tablestore_placement::plan::{self, Plan};
use tablestore_placement::{ClusterMap, Decision, DecisionKind, StorageId};

use super::{Controller, Job, Lead, Report};
use crate::node::wall_ms;

impl Controller {
    /// Proposes the fail-over of every member that is believed dead.
    pub(super) fn act_on_deaths(&mut self, map: &Arc<ClusterMap>) {
        if !self.leads() {
            return;
        }
        for member in map.members.values() {
            let (storage, incarnation) = (member.storage, member.incarnation);
            if !member.is_live() || storage == self.node.me() {
                continue;
            }
            let hinted = self
                .gone
                .get(&storage)
                .filter(|(gone, _)| *gone >= incarnation);
            let (evidence, noticed) = match (hinted, self.belief(storage, incarnation)) {
                (Some((_, at_ms)), _) => (
                    "its connection closed and its address refused twice".to_owned(),
                    *at_ms,
                ),
                (None, belief @ Belief::Dead { .. }) => (belief.to_string(), wall_ms()),
                _ => continue,
            };
            let decision = Decision::new(DecisionKind::Failover, wall_ms())
                .about(storage)
                .on_evidence(evidence)
                .phase("noticed", noticed)
                .phase("decided", wall_ms());
            self.propose(Job::Down(storage), decision, move |map| {
                plan::on_member_down(map, storage, incarnation)
            });
        }
    }

    /// Gives offices of an earlier start of a member to someone.
    pub(super) fn act_on_restarts(&mut self, map: &Arc<ClusterMap>) {
        let members: Vec<StorageId> = map
            .members
            .values()
            .filter(|m| m.is_live())
            .map(|m| m.storage)
            .collect();
        for storage in members {
            let decision = Decision::new(DecisionKind::MemberBack, wall_ms())
                .about(storage)
                .on_evidence("it registered a new start");
            self.propose(Job::Restart(storage), decision, move |map| {
                plan::on_restart(map, storage)
            });
        }
    }

    /// Looks the whole map over.
    pub(super) fn review(&mut self) {
        let Some(Lead { since, .. }) = self.lead else {
            return;
        };
        let map = self.node.map();
        self.note_whole(&map);
        self.act_on_deaths(&map);
        self.act_on_restarts(&map);
        self.act_on_stalls(&map);
        self.act_on_stopped(&map);
        self.act_on_room(&map);
        if self.jobs.is_empty()
            && let Some((plan, decision)) = self.what_can_wait(&map, since)
        {
            // On another map it is computed anew by the next review.
            let version = map.version;
            self.propose(Job::Review, decision, move |map| {
                if map.version == version {
                    plan.clone()
                } else {
                    Plan::default()
                }
            });
        }
    }

    pub(super) fn act_on_stalls(&mut self, map: &Arc<ClusterMap>) {
        for member in map.live_members() {
            let belief = self.belief(member.storage, member.incarnation);
            if let Belief::Stalled { .. } = belief {
                let decision = Decision::new(DecisionKind::Stall, wall_ms())
                    .about(member.storage)
                    .on_evidence(belief.to_string());
                let storage = member.storage;
                self.propose(Job::Stall(storage), decision, move |map| {
                    plan::on_stall(map, storage)
                });
            }
        }
    }

    /// Decides, if there is something to decide: `plan` is asked about the map as it is now, and
    /// again if the map has changed by the time at which the decision is applied.
    pub(super) fn propose(
        &mut self,
        job: Job,
        decision: Decision,
        plan: impl Fn(&ClusterMap) -> Plan + Send + Sync + 'static,
    ) {
        let Some(term) = self.decides() else {
            return;
        };
        if plan(&self.node.map()).is_empty() || !self.jobs.insert(job) {
            return;
        }
        let decide = move |map: &ClusterMap| {
            let plan = plan(map);
            (!plan.is_empty()).then(|| plan.into_change(decision.clone()))
        };
        let (control, reports) = (self.node.shared.control.clone(), self.reports.clone());
        tokio::spawn(async move {
            let decided = control.decide(term, decide).await;
            if let Err(error) = &decided {
                tracing::warn!(?job, %error, "a change of the map was not made");
            }
            let done = matches!(decided, Ok(Some(_)));
            let _ = reports.send(Report::Proposed { job, done }).await;
        });
    }
}
