//! From what is believed to what is proposed.
//!
//! Deaths first and at once, all partitions of a node in one entry; then restarts; then, when
//! all is calm, what makes the cluster whole and even again (see `calm`). Each proposal is
//! computed from the map as it is and compared when it is applied, so a late one does nothing.

use std::sync::Arc;

use tablestore_health::Belief;
use tablestore_placement::{Decision, DecisionKind};

use crate::controller::Lead;
use crate::looked::Search;
use crate::{Controller, Job, Output, Planned, Proposal};

impl Controller {
    /// Proposes the failover of every member that is believed dead.
    pub(crate) fn act_on_deaths(&mut self) {
        if self.lead.is_none() {
            return;
        }
        let (map, now_ms) = (Arc::clone(&self.map), self.now.wall_ms);
        for member in map.members.values() {
            let (storage, incarnation) = (member.storage, member.incarnation);
            if !member.is_live() || storage == self.me {
                continue;
            }
            let hinted = self.gone.seen_at_ms(storage, incarnation);
            let (evidence, noticed) = match (hinted, self.belief(storage, incarnation)) {
                (Some(at_ms), _) => (
                    "its connection closed and its address refused twice".to_owned(),
                    at_ms,
                ),
                (None, belief @ Belief::Dead { .. }) => (belief.to_string(), now_ms),
                _ => continue,
            };
            let decision = Decision::new(DecisionKind::Failover, now_ms)
                .about(storage)
                .on_evidence(evidence)
                .phase("noticed", noticed)
                .phase("decided", now_ms);
            let planned = Planned::MemberDown {
                storage,
                incarnation,
            };
            self.propose(Job::Down(storage), planned, decision);
        }
    }

    /// Gives offices of an earlier start of a member to someone.
    pub(crate) fn act_on_restarts(&mut self) {
        let map = Arc::clone(&self.map);
        for storage in map.live_members().map(|m| m.storage) {
            let planned = Planned::Restart { storage };
            let search = Search::Restarted(storage);
            let plan = self.sought(search, &map, |own| planned.plan(&own.strategies, &map));
            if plan.is_empty() {
                continue;
            }
            let decision = Decision::new(DecisionKind::MemberBack, self.now.wall_ms)
                .about(storage)
                .on_evidence("it registered a new start");
            self.propose(Job::Restart(storage), planned, decision);
        }
    }

    /// Looks the whole map over.
    pub(crate) fn review(&mut self) {
        let Some(Lead { since, .. }) = self.lead else {
            return;
        };
        self.note_whole();
        self.act_on_deaths();
        self.act_on_restarts();
        self.act_on_stalls();
        self.act_on_stopped();
        self.act_on_room();
        if self.jobs.is_empty()
            && let Some((plan, decision)) = self.what_can_wait(since)
        {
            // On another map it is computed anew by the next review.
            let version = self.map.version;
            self.propose(Job::Review, Planned::Exactly { version, plan }, decision);
        }
    }

    pub(crate) fn act_on_stalls(&mut self) {
        let map = Arc::clone(&self.map);
        for member in map.live_members() {
            let belief = self.belief(member.storage, member.incarnation);
            if let Belief::Stalled { .. } = belief {
                let storage = member.storage;
                let decision = Decision::new(DecisionKind::Stall, self.now.wall_ms)
                    .about(storage)
                    .on_evidence(belief.to_string());
                self.propose(
                    Job::OfficesOff(storage),
                    Planned::Stall { storage },
                    decision,
                );
            }
        }
    }

    /// Proposes, if there is something to decide: the plan is asked about the map as it is now, and
    /// again about the map that the decision is applied to.
    pub(crate) fn propose(&mut self, job: Job, planned: Planned, decision: Decision) {
        let Some(term) = self.decides() else {
            return;
        };
        let proposal = Proposal {
            job,
            term,
            planned,
            trusted: self.trusted(),
            decision,
        };
        if proposal.change(&self.strategies, &self.map).is_none() || !self.jobs.insert(job) {
            return;
        }
        self.output(Output::Propose(Box::new(proposal)));
    }
}
