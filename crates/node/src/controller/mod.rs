//! The driver of the controller: tells the core of `tablestore-controller` what happens, and does
//! what it wants done.
//!
//! Runs on the control thread of every node. Decides nothing: what is believed and what follows is
//! the core's. Knows nothing of rows.

mod decisions;
mod heartbeat;
mod service;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tablestore_consensus::{HeartbeatAnswer, LinkEvent};
use tablestore_controller::{
    Controller, ControllerSettings, Input, LinkNews, Notice, NoticeKind, Now, Output, Proposal,
};
use tablestore_placement::{ClusterMap, StorageId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub(crate) use service::Service;

use self::decisions::Decisions;

use crate::node::{Node, wall_ms};

/// Answers and results of proposals that may wait.
const REPORTS_MAX: usize = 4_096;

/// What comes back from tasks.
#[derive(Debug)]
enum Report {
    Answer {
        node: StorageId,
        sent: Duration,
        answer: HeartbeatAnswer,
    },
    Other(Input),
}

/// The core with what it needs to be run.
struct Driver {
    node: Node,
    origin: Instant,
    core: Controller,
    maps: watch::Receiver<Arc<ClusterMap>>,
    /// As the core knows them.
    voters: BTreeSet<StorageId>,
    decisions: Decisions,
    reports: mpsc::Sender<Report>,
}

/// Runs until the node ends.
pub(crate) async fn run(node: Node, mut links: mpsc::Receiver<LinkEvent>) {
    let (reports, mut reported) = mpsc::channel(REPORTS_MAX);
    let mut leadership = node.shared.consensus.watch_leadership();
    let mut maps = node.shared.consensus.watch_map();
    let mut driver = Driver::new(node, reports);
    loop {
        let due = driver.origin + driver.core.next_deadline();
        // Whatever has arrived comes before what is due: silence is told only when all is heard.
        tokio::select! {
            biased;
            Some(event) = links.recv() => driver.link(event),
            changed = leadership.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *leadership.borrow_and_update();
                let term = now.is_me_and_ready.then_some(now.term);
                driver.take(Input::Leadership { term });
            }
            Some(report) = reported.recv() => driver.report(report),
            changed = maps.changed() => {
                if changed.is_err() {
                    return;
                }
                maps.mark_unchanged();
                driver.look();
            }
            () = sleep_until(due) => driver.take(Input::Tick),
        }
    }
}

impl Driver {
    fn new(node: Node, reports: mpsc::Sender<Report>) -> Self {
        let settings = node.settings();
        let settings = ControllerSettings {
            heartbeat_every: settings.heartbeat_every,
            cold_start_wait: settings.cold_start_wait,
            rereplicate_after: settings.rereplicate_after,
        };
        let mut maps = node.shared.consensus.watch_map();
        maps.mark_changed();
        Self {
            origin: Instant::now(),
            core: Controller::new(
                node.shared.me,
                &settings,
                Arc::clone(&node.shared.strategies),
            ),
            maps,
            voters: BTreeSet::new(),
            decisions: Decisions::new(node.shared.me, &node.shared.metrics),
            reports,
            node,
        }
    }

    /// Tells the core what happened, with the newest map and voters, and does what it wants.
    fn take(&mut self, input: Input) {
        self.look();
        self.handle(input);
        self.carry_out();
    }

    /// The core decides by what this node has applied, not by what it was last told.
    fn look(&mut self) {
        let consensus = &self.node.shared.consensus;
        let voters: BTreeSet<StorageId> = consensus.voters().into_iter().collect();
        if voters != self.voters {
            self.voters.clone_from(&voters);
            self.handle(Input::Voters(voters));
        }
        if self.maps.has_changed().unwrap_or_default() {
            let map = Arc::clone(&self.maps.borrow_and_update());
            self.decisions.follow(&map);
            self.handle(Input::Map(map));
        }
        self.carry_out();
    }

    fn handle(&mut self, input: Input) {
        let now = Now {
            since_start: self.origin.elapsed(),
            wall_ms: wall_ms(),
        };
        self.core.handle(now, input);
    }

    fn link(&mut self, event: LinkEvent) {
        let news = match event {
            LinkEvent::Heard { storage, hears } => LinkNews::Heard {
                storage,
                incarnation: self.node.shared.consensus.peers().incarnation(storage),
                hears: hears.into_iter().collect(),
            },
            LinkEvent::Up {
                storage,
                incarnation,
            } => LinkNews::Up {
                storage,
                incarnation,
            },
            LinkEvent::Lost {
                storage,
                incarnation,
            } => LinkNews::Lost {
                storage,
                incarnation,
            },
            other => match other.sign() {
                Some((storage, sign)) => LinkNews::Seen { storage, sign },
                None => return,
            },
        };
        self.take(Input::Link(news));
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Answer { node, sent, answer } => {
                self.look();
                self.answered(node, sent, answer);
                self.carry_out();
            }
            Report::Other(input) => self.take(input),
        }
    }

    /// Does all that the core wants done.
    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Heartbeat { to } => self.heartbeat(to),
                Output::Probe {
                    by,
                    node,
                    incarnation,
                } => self.probe(by, node, incarnation),
                Output::Propose(proposal) => self.propose(*proposal),
                Output::HandOver { to, broken } => {
                    tracing::warn!(successor = %to, ?broken, "another voter hears more: it leads");
                    let consensus = self.node.shared.consensus.clone();
                    tokio::spawn(async move { consensus.hand_over_to(to).await });
                }
                Output::CrashHint {
                    storage,
                    incarnation,
                } => self.node.shared.consensus.crash_hint(storage, incarnation),
                Output::Notice(notice) => self.publish(notice),
            }
        }
    }

    fn propose(&self, proposal: Proposal) {
        let (job, term) = (proposal.job, proposal.term);
        let (consensus, reports) = (self.node.shared.consensus.clone(), self.reports.clone());
        let strategies = Arc::clone(&self.node.shared.strategies);
        tokio::spawn(async move {
            let decide = move |map: &ClusterMap| proposal.change(&strategies, map);
            let decided = consensus.decide(term, decide).await;
            if let Err(error) = &decided {
                tracing::warn!(?job, %error, "a change of the map was not made");
            }
            let done = matches!(decided, Ok(Some(_)));
            let proposed = Report::Other(Input::Proposed { job, done });
            let _ = reports.send(proposed).await;
        });
    }

    fn publish(&self, notice: Notice) {
        let Notice { kind, member, why } = notice;
        let timeline = &self.node.shared.timeline;
        let map = self.node.map();
        let name = member.and_then(|about| map.members.get(&about));
        let name = name.map(|member| member.name.clone());
        match (kind, &why) {
            (NoticeKind::ClockOff, Some(why)) => {
                let node = name.as_deref().unwrap_or_default();
                tracing::warn!(%why, node, "a clock is wrong");
            }
            (NoticeKind::CopyingRefused, Some(refused)) => {
                tracing::warn!(%refused, "nothing is copied: remove nodes that will not come back");
            }
            (NoticeKind::BalancingRefused, Some(why)) => {
                tracing::warn!(%why, "nothing is copied for an even spread");
            }
            _ => {}
        }
        let detail = match why {
            Some(why) => serde_json::json!({ "why": why }),
            None => serde_json::Value::Null,
        };
        match member {
            None => timeline.publish(kind.name(), None, detail),
            Some(_) => timeline.publish_about(name, kind.name(), None, detail),
        }
    }
}
