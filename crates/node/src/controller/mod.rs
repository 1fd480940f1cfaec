//! The controller: notices who fails, decides what follows, and proposes it to the map.
//!
//! Runs on the control thread of every node and acts only on the one that leads. What it decides
//! comes from the pure planners of `tablestore-placement`; what it believes comes from the
//! detector of `tablestore-health`. A wrong belief costs a fail-over, never data: every change is
//! checked and compared when it is applied. Knows nothing of rows.

mod calm;
mod heartbeat;
mod reach;
mod review;
mod room;
mod service;
mod stopped;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tablestore_controller::Hearing;
use tablestore_health::{
    AccrualDetector, Belief, Detector, DetectorSettings, Evidence, Probe, Work,
};
use tablestore_placement::plan::{Plan, Settling};
use tablestore_placement::{ClusterMap, Incarnation, StorageId};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

pub(crate) use service::Service;

use crate::control::{HeartbeatAnswer, LinkEvent};
use crate::node::Node;

/// How often the map is looked over for something to do.
const REVIEW_EVERY: Duration = Duration::from_millis(200);
/// How often the detector is told the time; a longer gap is a pause of our own.
const DETECTOR_TICK: Duration = Duration::from_millis(40);
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
    Probed {
        by: StorageId,
        node: StorageId,
        incarnation: Incarnation,
        found: Probe,
    },
    Proposed {
        job: Job,
        /// It was committed.
        done: bool,
    },
}

/// Proposals under way; one of each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Down(StorageId),
    Stall(StorageId),
    Restart(StorageId),
    Stopped,
    Room(StorageId),
    Review,
}

/// A leadership of this node.
#[derive(Debug, Clone, Copy)]
struct Lead {
    since: Duration,
    term: u64,
}

/// The controller's state on one node.
struct Controller {
    node: Node,
    origin: Instant,
    detector: AccrualDetector<StorageId>,
    /// Starts that were seen dead, also while another node led.
    gone: BTreeMap<StorageId, (Incarnation, u64)>,
    /// Whom the voters hear, also while another node leads.
    hearing: Hearing,
    /// Since when this node has not heard a majority.
    alone_since: Option<Duration>,
    /// When this node last gave the leadership away because of a broken connection.
    handed_over: Option<Duration>,
    /// Since when each member has been whole.
    whole_since: BTreeMap<StorageId, Duration>,
    ticked: Duration,
    jobs: BTreeSet<Job>,
    reports: mpsc::Sender<Report>,
    lead: Option<Lead>,
    log_ends: BTreeMap<StorageId, HeartbeatAnswer>,
    changed_at: Duration,
    /// Too many members are missing to copy what they held; said once.
    copying_refused: bool,
    /// Whether balancing comes to rest.
    settling: Settling,
    /// Balancing did not; said once.
    balancing_refused: bool,
    /// The balancing that was proposed, and the map that it was made from.
    balancing: Option<(ClusterMap, Plan)>,
}

fn seen(incarnation: Incarnation) -> tablestore_health::Incarnation {
    tablestore_health::Incarnation(incarnation.0)
}

/// Runs until the node ends.
pub(crate) async fn run(node: Node, mut links: mpsc::Receiver<LinkEvent>) {
    let (reports, mut reported) = mpsc::channel(REPORTS_MAX);
    let detector = DetectorSettings::with_heartbeat(node.settings().heartbeat_every)
        .unwrap_or_else(|_| DetectorSettings::default());
    let mut controller = Controller {
        origin: Instant::now(),
        detector: AccrualDetector::new(detector),
        gone: BTreeMap::new(),
        hearing: Hearing::default(),
        alone_since: None,
        handed_over: None,
        whole_since: BTreeMap::new(),
        ticked: Duration::ZERO,
        jobs: BTreeSet::new(),
        reports,
        lead: None,
        log_ends: BTreeMap::new(),
        changed_at: Duration::ZERO,
        copying_refused: false,
        settling: Settling::default(),
        balancing_refused: false,
        balancing: None,
        node,
    };
    let mut leadership = controller.node.shared.control.watch_leadership();
    let mut maps = controller.node.shared.control.watch_map();
    let mut beats = tokio::time::interval(controller.node.settings().heartbeat_every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = tokio::time::interval(DETECTOR_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reviews = tokio::time::interval(REVIEW_EVERY);
    reviews.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(event) = links.recv() => controller.link(event),
            changed = leadership.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *leadership.borrow_and_update();
                controller.lead(now.is_me_and_ready.then_some(now.term));
            }
            Some(report) = reported.recv() => controller.report(report),
            changed = maps.changed() => {
                if changed.is_err() {
                    return;
                }
                let map = Arc::clone(&maps.borrow_and_update());
                controller.map_changed(&map);
            }
            _ = beats.tick() => controller.beat(),
            _ = ticks.tick() => controller.tick(),
            _ = reviews.tick() => controller.review(),
        }
    }
}

impl Controller {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn leads(&self) -> bool {
        self.lead.is_some()
    }

    /// Leadership came or went. A new controller knows nobody's answers: it starts counting now,
    /// but for the voters that it has pinged all along.
    fn lead(&mut self, term: Option<u64>) {
        let Some(term) = term else {
            self.lead = None;
            return;
        };
        if self.lead.is_some_and(|lead| lead.term == term) {
            return;
        }
        let since = self.now();
        self.lead = Some(Lead { since, term });
        self.whole_since.clear();
        self.log_ends.clear();
        let settings = self.detector.settings().clone();
        self.detector = AccrualDetector::new(settings);
        let map = self.node.map();
        self.know_members(&map);
        self.recall_voters(&map);
        self.beat();
        self.node
            .shared
            .timeline
            .publish("controller", None, serde_json::Value::Null);
        // The silence that made this node the controller has lasted long enough to ask the others
        // at once.
        self.tick();
        self.probe_suspects();
    }

    fn know_members(&mut self, map: &ClusterMap) {
        let now = self.now();
        for member in map.members.values() {
            if member.is_live() && member.storage != self.node.me() {
                let (node, incarnation) = (member.storage, seen(member.incarnation));
                self.detector
                    .take(now, Evidence::NewIncarnation { node, incarnation });
            }
        }
    }

    /// Tells a new detector when the voters were last heard, so that the silence which made this
    /// node the controller counts. None is convicted by it unheard: at most it is suspect now.
    fn recall_voters(&mut self, map: &ClusterMap) {
        let now = self.now();
        let suspect_after = self.detector.settings().suspect_after_max;
        for (node, heard) in self.hearing.last_heard() {
            let Some(member) = map.members.get(&node).filter(|member| member.is_live()) else {
                continue;
            };
            let heard = heard.max(now.saturating_sub(suspect_after));
            let evidence = Evidence::HeartbeatAnswered {
                node,
                incarnation: seen(member.incarnation),
                sent: heard,
                work: Work::default(),
            };
            self.detector.take(heard, evidence);
        }
    }

    /// What happens to the connections of this node, noted whoever leads.
    fn link(&mut self, event: LinkEvent) {
        let now = self.now();
        match event {
            LinkEvent::Heard { storage, hears } => {
                if let Some(incarnation) = self.node.shared.control.peers().incarnation(storage) {
                    let (node, incarnation) = (storage, seen(incarnation));
                    self.detector
                        .take(now, Evidence::Heard { node, incarnation });
                }
                self.hearing.note(storage, hears, now);
            }
            LinkEvent::Up {
                storage,
                incarnation,
            } => {
                let incarnation = seen(incarnation);
                self.detector.take(
                    now,
                    Evidence::Connected {
                        node: storage,
                        incarnation,
                    },
                );
            }
            LinkEvent::Lost {
                storage,
                incarnation,
            } => {
                let incarnation = seen(incarnation);
                self.detector.take(
                    now,
                    Evidence::ConnectionLost {
                        node: storage,
                        incarnation,
                    },
                );
            }
            LinkEvent::RefusedTwice {
                storage,
                incarnation,
            } => {
                self.gone
                    .insert(storage, (incarnation, crate::node::wall_ms()));
                self.node.shared.control.crash_hint(storage, incarnation);
                let name = self.name(storage);
                let timeline = &self.node.shared.timeline;
                timeline.publish_about(name, "crash_hint", None, serde_json::Value::Null);
                self.act_on_deaths(&self.node.map());
            }
            LinkEvent::NewIncarnation {
                storage,
                incarnation,
                same_boot: true,
            } => {
                let before = Incarnation(incarnation.0.saturating_sub(1));
                self.gone.insert(storage, (before, crate::node::wall_ms()));
                self.act_on_deaths(&self.node.map());
            }
            _ => {}
        }
    }

    fn name(&self, storage: StorageId) -> Option<String> {
        self.node
            .map()
            .members
            .get(&storage)
            .map(|member| member.name.clone())
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Answer { node, sent, answer } => self.answered(node, sent, answer),
            Report::Probed {
                by,
                node,
                incarnation,
                found,
            } => {
                let (now, incarnation) = (self.now(), seen(incarnation));
                self.detector.take(
                    now,
                    Evidence::Probed {
                        by,
                        node,
                        incarnation,
                        found,
                    },
                );
                self.tick();
            }
            Report::Proposed { job, done } => {
                self.jobs.remove(&job);
                if job == Job::Review
                    && let Some((map, plan)) = self.balancing.take().filter(|_| done)
                {
                    self.settling.note(&map, &plan);
                }
                self.changed_at = self.now();
                self.review();
            }
        }
    }

    fn map_changed(&mut self, map: &Arc<ClusterMap>) {
        self.know_members(map);
        if self.leads() {
            self.act_on_deaths(map);
            self.act_on_restarts(map);
        }
    }

    /// What the detector believes of a member at its present start.
    fn belief(&self, storage: StorageId, incarnation: Incarnation) -> Belief {
        self.detector
            .belief(self.now(), &storage, seen(incarnation))
    }
}
