//! Asking every node for a sign of work, and one node about another.

use std::time::Duration;

use tablestore_health::{Detector, Evidence, Probe, Work};
use tablestore_placement::{MemberState, StorageId};

use super::{Controller, Report, seen};
use crate::control::{ControlReply, ControlRequest, HeartbeatAnswer, HeartbeatRequest};

/// An answer after this long is no sign of life any more.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long another node may take to look at a suspect.
const PROBE_WITHIN: Duration = Duration::from_millis(100);
/// Nodes asked about one suspect.
const OBSERVERS: usize = 2;

impl Controller {
    /// Tells the detector the time and acts on what it then believes.
    pub(super) fn tick(&mut self) {
        let now = self.now();
        if now > self.ticked + self.detector.settings().own_gap_max {
            // A pause of our own: nobody's silence can be told.
            self.hearing.clear();
        }
        self.ticked = now;
        self.tell_time(now);
        if self.leads() {
            let map = self.node.map();
            self.act_on_deaths(&map);
            self.act_on_stalls(&map);
            self.act_on_broken_links();
        }
    }

    /// One round of heartbeats, and probes through others for those who are suspected.
    pub(super) fn beat(&mut self) {
        let now = self.now();
        if !self.leads() {
            return;
        }
        self.hear_myself(now);
        let map = self.node.map();
        let me = self.node.shared.me;
        let full = self.full();
        let room = &self.node.shared.progress.room;
        room.set_full_members(full.clone());
        for member in map.members.values() {
            if member.storage == me.member || member.state == MemberState::Left {
                continue;
            }
            let request = ControlRequest::Heartbeat(HeartbeatRequest {
                from: me.member,
                incarnation: me.incarnation,
                sent_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
                map_version: map.version,
                full: full.iter().copied().collect(),
            });
            let (peers, reports) = (
                self.node.shared.control.peers().clone(),
                self.reports.clone(),
            );
            let node = member.storage;
            tokio::spawn(async move {
                if let Ok(ControlReply::Heartbeat(answer)) =
                    peers.call(node, request, ANSWER_WITHIN).await
                {
                    // Full means that newer answers are there already.
                    let _ = reports.try_send(Report::Answer {
                        node,
                        sent: now,
                        answer,
                    });
                }
            });
        }
        self.probe_suspects();
    }

    fn hear_myself(&mut self, now: Duration) {
        let answer = self.node.heartbeat_answer();
        self.answered(self.node.me(), now, answer);
    }

    pub(super) fn answered(&mut self, node: StorageId, sent: Duration, answer: HeartbeatAnswer) {
        let now = self.now();
        let work = Work {
            unfinished_sync_age: Duration::from_millis(answer.oldest_sync_ms),
            unapplied_age: Duration::from_millis(answer.oldest_apply_ms),
        };
        let incarnation = seen(answer.incarnation);
        if node == self.node.me() {
            self.detector
                .take(now, Evidence::NewIncarnation { node, incarnation });
        }
        self.detector.take(
            now,
            Evidence::HeartbeatAnswered {
                node,
                incarnation,
                sent,
                work,
            },
        );
        if let Ok(resources) = serde_json::from_slice(&answer.resources.0) {
            self.node.note_resources(node, resources);
        }
        self.log_ends.insert(node, answer);
    }

    pub(super) fn probe_suspects(&self) {
        let map = self.node.map();
        for wanted in self.detector.probes_wanted() {
            let node = *wanted.node;
            let Some(incarnation) = map.members.get(&node).map(|m| m.incarnation) else {
                continue;
            };
            let observers = map
                .live_members()
                .map(|member| member.storage)
                .filter(|by| *by != node && *by != self.node.me())
                .take(OBSERVERS);
            for by in observers {
                let peers = self.node.shared.control.peers().clone();
                let reports = self.reports.clone();
                tokio::spawn(async move {
                    let request = ControlRequest::ProbeOther { storage: node };
                    let Ok(ControlReply::Probed(found)) =
                        peers.call(by, request, PROBE_WITHIN).await
                    else {
                        return;
                    };
                    let found = match found {
                        crate::control::Probe::Refused => Probe::Refused,
                        crate::control::Probe::Alive { .. } => Probe::Answered,
                        crate::control::Probe::Unknown => Probe::Silent,
                    };
                    let _ = reports.try_send(Report::Probed {
                        by,
                        node,
                        incarnation,
                        found,
                    });
                });
            }
        }
    }
}
