//! Asking every node for a sign of work, and one node about another. Knows nothing of how they are
//! asked.

use std::sync::Arc;
use std::time::Duration;

use tablestore_health::{Detector, Evidence};
use tablestore_placement::{ClusterMap, Member, MemberState, StorageId};

use crate::controller::seen;
use crate::{Controller, Output, SignOfWork};

/// Nodes asked about one suspect.
const OBSERVERS: usize = 2;

impl Controller {
    /// Tells the detector the time and acts on what it then believes.
    pub(crate) fn tick(&mut self) {
        let now = self.at();
        if now > self.ticked + self.detector.settings().own_gap_max {
            // A pause of our own: nobody's silence can be told.
            self.hearing.clear();
        }
        self.ticked = now;
        self.tell_time();
        if self.lead.is_some() {
            self.act_on_deaths();
            self.act_on_stalls();
            self.act_on_broken_links();
        }
    }

    /// One round of heartbeats, and probes through others for those who are suspected.
    pub(crate) fn beat(&mut self) {
        if self.lead.is_none() {
            return;
        }
        self.output(Output::Heartbeat { to: self.me });
        let here = |state: MemberState| state != MemberState::Left;
        let others: Vec<StorageId> = self
            .map
            .members
            .values()
            .filter(|member| member.storage != self.me && here(member.state))
            .map(|member| member.storage)
            .collect();
        for to in others {
            self.output(Output::Heartbeat { to });
        }
        self.probe_suspects();
    }

    pub(crate) fn answered(&mut self, node: StorageId, sent: Duration, answer: SignOfWork) {
        let now = self.at();
        let (incarnation, work) = (seen(answer.incarnation), answer.work);
        if node == self.me {
            let evidence = Evidence::NewIncarnation { node, incarnation };
            self.detector.take(now, evidence);
        }
        let evidence = Evidence::HeartbeatAnswered {
            node,
            incarnation,
            sent,
            work,
        };
        self.detector.take(now, evidence);
        self.clocks.note(node, sent, now, answer.wall_ms);
        let start = answer.incarnation;
        self.lost.remove(&node);
        let before = self.answers.insert(node, answer);
        // What waited for a word of this start need not wait longer.
        if before.is_none_or(|before| before.incarnation != start) {
            if node == self.me && self.lead.is_some() {
                self.begin_to_lead();
            }
            self.review();
        }
    }

    /// Asks members that have registered a new start for a first word of it.
    pub(crate) fn ask_new_starts(&mut self, before: &ClusterMap) {
        let map = Arc::clone(&self.map);
        let known = |member: &Member| {
            let before = before.members.get(&member.storage);
            before.map(|before| before.incarnation) == Some(member.incarnation)
        };
        for member in map.live_members().filter(|member| !known(member)) {
            let to = member.storage;
            self.output(Output::Heartbeat { to });
        }
    }

    pub(crate) fn probe_suspects(&mut self) {
        let mut probes = Vec::new();
        for wanted in self.detector.probes_wanted() {
            let node = *wanted.node;
            let Some(incarnation) = self.map.members.get(&node).map(|m| m.incarnation) else {
                continue;
            };
            let others = self.map.live_members().map(|member| member.storage);
            let observers = others
                .filter(|by| *by != node && *by != self.me)
                .take(OBSERVERS);
            probes.extend(observers.map(|by| Output::Probe {
                by,
                node,
                incarnation,
            }));
        }
        for probe in probes {
            self.output(probe);
        }
    }
}
