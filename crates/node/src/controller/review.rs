//! From what is believed to what is proposed.
//!
//! Deaths first and at once, all partitions of a node in one entry; then restarts; then, when
//! all is calm, what makes the cluster whole and even again. Each proposal is computed from the
//! map as it is and compared when it is applied, so a late one does nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tablestore_health::Belief;
use tablestore_placement::plan::{self, CopyCaps, OfficeCaps, Plan};
use tablestore_placement::{ClusterMap, Command, Decision, DecisionKind, MemberState, StorageId};

use super::stopped::reports;

use super::{Controller, Job, Report};
use crate::node::wall_ms;

/// No balancing within this time after anything changed.
const CALM_FOR: Duration = Duration::from_millis(1_000);
/// Offices moved by one plan.
const MOVES_MAX: usize = 8;

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
            let plan = plan::on_member_down(map, storage, incarnation);
            self.propose(Job::Down(storage), plan, decision);
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
            let plan = plan::on_restart(map, storage);
            let decision = Decision::new(DecisionKind::MemberBack, wall_ms())
                .about(storage)
                .on_evidence("it registered a new start");
            self.propose(Job::Restart(storage), plan, decision);
        }
    }

    /// Looks the whole map over.
    pub(super) fn review(&mut self) {
        let Some(leads_since) = self.leads_since else {
            return;
        };
        let map = self.node.map();
        self.act_on_deaths(&map);
        self.act_on_restarts(&map);
        self.act_on_stalls(&map);
        self.act_on_stopped(&map);
        self.act_on_room(&map);
        if self.jobs.is_empty()
            && let Some((plan, decision)) = self.calm_plan(&map, leads_since)
        {
            self.propose(Job::Review, plan, decision);
        }
    }

    pub(super) fn act_on_stalls(&mut self, map: &Arc<ClusterMap>) {
        for member in map.live_members() {
            let belief = self.belief(member.storage, member.incarnation);
            if let Belief::Stalled { .. } = belief {
                let decision = Decision::new(DecisionKind::Stall, wall_ms())
                    .about(member.storage)
                    .on_evidence(belief.to_string());
                let plan = plan::on_stall(map, member.storage);
                self.propose(Job::Stall(member.storage), plan, decision);
            }
        }
    }

    /// The most urgent of what can wait.
    fn calm_plan(&self, map: &Arc<ClusterMap>, leads_since: Duration) -> Option<(Plan, Decision)> {
        let now = self.now();
        let made = |plan: Plan, kind, why: &str| {
            (!plan.is_empty()).then(|| (plan, Decision::new(kind, wall_ms()).because(why)))
        };
        if let Some(found) = made(
            plan::remove_dead(map),
            DecisionKind::InSync,
            "dead members leave the in-sync sets",
        ) {
            return Some(found);
        }
        let reports = reports(&self.log_ends);
        if now > leads_since + self.node.settings().cold_start_wait
            && let Some(found) = made(
                plan::cold_start(map, &reports),
                DecisionKind::ColdStart,
                "no primary is left",
            )
        {
            return Some(found);
        }
        if now < self.changed_at + CALM_FOR || now < leads_since + CALM_FOR {
            return None;
        }
        let caps = CopyCaps::DEFAULT;
        let missing = self.missing(map);
        let draining = map
            .members
            .values()
            .find(|m| m.state == MemberState::Draining);
        made(
            plan::fill(map, caps),
            DecisionKind::Rereplicate,
            "tables get their copies",
        )
        .or_else(|| {
            let plan = plan::rereplicate(map, &missing, caps);
            made(
                plan,
                DecisionKind::Rereplicate,
                "a replica was missing for too long",
            )
        })
        .or_else(|| {
            let plan = plan::drain(map, draining?.storage, caps);
            made(plan, DecisionKind::Drain, "the node is being drained")
        })
        .or_else(|| {
            made(
                plan::drop_surplus(map),
                DecisionKind::Rereplicate,
                "copies beyond the wanted",
            )
        })
        .or_else(|| {
            let caps = OfficeCaps {
                moves_max: MOVES_MAX,
                resting: BTreeSet::new(),
                unfit: self.unfit(map),
            };
            let plan = plan::balance_primaries(map, &caps);
            made(plan, DecisionKind::Rebalance, "primaries are spread evenly")
        })
    }

    /// Members that are down for longer than replicas may be missing.
    fn missing(&self, map: &ClusterMap) -> Vec<StorageId> {
        let patience = self.node.settings().rereplicate_after;
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        map.members
            .values()
            .filter(|m| m.state == MemberState::Down)
            .filter(|m| m.since_ms.saturating_add(patience_ms) < wall_ms())
            .map(|m| m.storage)
            .collect()
    }

    /// Members that should be given no office now.
    fn unfit(&self, map: &ClusterMap) -> BTreeSet<StorageId> {
        map.live_members()
            .filter(|m| !matches!(self.belief(m.storage, m.incarnation), Belief::Alive))
            .map(|m| m.storage)
            .chain(self.with_stopped(map))
            .chain(self.full())
            .collect()
    }

    pub(super) fn propose(&mut self, job: Job, plan: Plan, decision: Decision) {
        if plan.is_empty() || !self.jobs.insert(job) {
            return;
        }
        let command = Command::Change(plan.into_change(decision));
        let (control, reports) = (self.node.shared.control.clone(), self.reports.clone());
        tokio::spawn(async move {
            if let Err(error) = control.propose(command).await {
                tracing::warn!(?job, %error, "a change of the map was not made");
            }
            let _ = reports.send(Report::Proposed { job }).await;
        });
    }
}
