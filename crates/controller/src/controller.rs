//! The controller: notices who fails, decides what follows, and says what is to be proposed.
//!
//! One runs on every node and acts only on the one that leads. What it decides comes from the
//! planners of `tablestore-placement`; what it believes from the detector of `tablestore-health`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tablestore_health::{
    AccrualDetector, Belief, Detector, DetectorSettings, Evidence, Probe, Work,
};
use tablestore_placement::plan::{Plan, Settling};
use tablestore_placement::{ClusterMap, Incarnation, Member, Office, StorageId, Strategies};

use crate::clocks::Clocks;
use crate::looked::Looked;
use crate::rounds::Rounds;
use crate::timer::Timer;
use crate::{
    Gone, Hearing, Input, Job, LinkNews, Notice, NoticeKind, Now, Output, Sign, SignOfWork,
};

/// How often the map is looked over for something to do.
const REVIEW_EVERY: Duration = Duration::from_millis(200);
/// How often the detector is told the time; a longer gap is a pause of our own.
const DETECTOR_TICK: Duration = Duration::from_millis(40);

/// How long a member may be down before what it held is copied, unless an operator says otherwise.
pub const REREPLICATE_AFTER: Duration = Duration::from_secs(600);

/// How patient a controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerSettings {
    /// How often every member is asked for a sign of work.
    pub heartbeat_every: Duration,
    /// How long members may take to come back before offices that nobody holds are given to those
    /// that are there.
    pub cold_start_wait: Duration,
    /// How long a member may be down before what it held is copied; see [`REREPLICATE_AFTER`].
    pub rereplicate_after: Duration,
}

/// A leadership of this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead {
    pub(crate) since: Duration,
    pub(crate) term: u64,
}

/// One node's controller; see the documentation of the crate for the loop around it.
#[derive(Debug)]
pub struct Controller {
    pub(crate) me: StorageId,
    pub(crate) settings: ControllerSettings,
    /// What plans are asked of.
    pub(crate) strategies: Arc<Strategies>,
    /// The time of the input that is being handled.
    pub(crate) now: Now,
    pub(crate) map: Arc<ClusterMap>,
    pub(crate) voters: BTreeSet<StorageId>,
    pub(crate) detector: AccrualDetector<StorageId>,
    /// Starts that were seen gone, also while another node led.
    pub(crate) gone: Gone,
    /// Whom the voters hear, also while another node leads.
    pub(crate) hearing: Hearing,
    /// Which start of each voter answered last.
    pub(crate) starts: BTreeMap<StorageId, Incarnation>,
    /// The starts whose connection has ended, and which have not answered since.
    pub(crate) lost: BTreeMap<StorageId, Incarnation>,
    /// Since when this node has not heard a majority.
    pub(crate) alone_since: Option<Duration>,
    /// When this node last gave the leadership away because of a broken connection.
    pub(crate) handed_over: Option<Duration>,
    /// Since when each member has been whole.
    pub(crate) whole_since: BTreeMap<StorageId, Duration>,
    pub(crate) ticked: Duration,
    /// Proposals under way.
    pub(crate) jobs: BTreeSet<Job>,
    pub(crate) lead: Option<Lead>,
    /// What the members last answered to this leader.
    pub(crate) answers: BTreeMap<StorageId, SignOfWork>,
    pub(crate) changed_at: Duration,
    /// Too many members are missing to copy what they held; said once.
    pub(crate) copying_refused: bool,
    /// Whether balancing comes to rest.
    pub(crate) settling: Settling,
    /// Which offices on shared storage were moved as their owners had stopped.
    pub(crate) rounds: Rounds,
    /// The wall clocks of the members.
    pub(crate) clocks: Clocks,
    /// What is known not to be there on the map.
    pub(crate) looked: Looked,
    /// Balancing did not; said once.
    pub(crate) balancing_refused: bool,
    /// The balancing that was proposed, and the map that it was made from.
    pub(crate) balancing: Option<(Arc<ClusterMap>, Plan)>,
    beats: Timer,
    ticks: Timer,
    reviews: Timer,
    outputs: VecDeque<Output>,
}

pub(crate) fn seen(incarnation: Incarnation) -> tablestore_health::Incarnation {
    tablestore_health::Incarnation(incarnation.0)
}

impl Controller {
    /// The controller of a node that does not lead and knows no map yet.
    #[must_use]
    pub fn new(me: Office, settings: &ControllerSettings, strategies: Arc<Strategies>) -> Self {
        let detector =
            DetectorSettings::with_heartbeat(settings.heartbeat_every).unwrap_or_default();
        Self {
            me: me.member,
            settings: settings.clone(),
            strategies,
            now: Now::default(),
            map: Arc::new(ClusterMap::empty()),
            voters: BTreeSet::new(),
            detector: AccrualDetector::new(detector),
            gone: Gone::default(),
            hearing: Hearing::default(),
            lost: BTreeMap::new(),
            starts: BTreeMap::new(),
            alone_since: None,
            handed_over: None,
            whole_since: BTreeMap::new(),
            ticked: Duration::ZERO,
            jobs: BTreeSet::new(),
            lead: None,
            answers: BTreeMap::new(),
            changed_at: Duration::ZERO,
            copying_refused: false,
            settling: Settling::default(),
            rounds: Rounds::default(),
            clocks: Clocks::default(),
            looked: Looked::default(),
            balancing_refused: false,
            balancing: None,
            beats: Timer::new(settings.heartbeat_every),
            ticks: Timer::new(DETECTOR_TICK),
            reviews: Timer::new(REVIEW_EVERY),
            outputs: VecDeque::new(),
        }
    }

    /// Takes what happened at this time.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Leadership { term } => self.lead(term),
            Input::Voters(voters) => self.voters = voters,
            Input::Map(map) => self.map_changed(map),
            Input::Link(news) => self.link(news),
            Input::Answered { node, sent, answer } => self.answered(node, sent, answer),
            Input::Probed {
                by,
                node,
                incarnation,
                found,
            } => self.probed(by, node, incarnation, found),
            Input::Proposed { job, done } => self.proposed(job, done),
            Input::Tick => self.time_passed(),
        }
    }

    /// The next thing to do, in order; none until there is another input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the next [`Input::Tick`] is due, by [`Now::since_start`].
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        self.beats.due.min(self.ticks.due).min(self.reviews.due)
    }

    pub(crate) fn at(&self) -> Duration {
        self.now.since_start
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn notice(
        &mut self,
        kind: NoticeKind,
        member: Option<StorageId>,
        why: Option<String>,
    ) {
        self.output(Output::Notice(Notice { kind, member, why }));
    }

    fn time_passed(&mut self) {
        let now = self.at();
        if self.beats.is_up(now) {
            self.beat();
        }
        if self.ticks.is_up(now) {
            self.tick();
        }
        if self.reviews.is_up(now) {
            self.review();
        }
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
        let since = self.at();
        self.lead = Some(Lead { since, term });
        self.whole_since.clear();
        self.rounds = Rounds::default();
        self.clocks = Clocks::default();
        self.answers.clear();
        let settings = self.detector.settings().clone();
        self.detector = AccrualDetector::new(settings);
        self.know_members();
        self.recall_voters();
        // What is to be done at once waits for this node's own answer, which comes first.
        self.beat();
        self.notice(NoticeKind::Controller, None, None);
    }

    /// This node has said what of its own works: now it can decide.
    pub(crate) fn begin_to_lead(&mut self) {
        // The silence that made this node the controller has lasted long enough to ask the others
        // at once.
        self.tick();
        self.probe_suspects();
    }

    fn know_members(&mut self) {
        let now = self.at();
        for member in self.map.live_members() {
            if member.storage != self.me {
                let (node, incarnation) = (member.storage, seen(member.incarnation));
                let evidence = Evidence::NewIncarnation { node, incarnation };
                self.detector.take(now, evidence);
            }
        }
    }

    /// Tells a new detector when the voters were last heard, so that the silence which made this
    /// node the controller counts. None is convicted by it unheard: at most it is suspect now.
    fn recall_voters(&mut self) {
        let now = self.at();
        let suspect_after = self.detector.settings().suspect_after_max;
        for (node, heard) in self.hearing.last_heard() {
            let member = self.map.members.get(&node);
            let is_known = |member: &&Member| member.is_live() && self.hears_start_of(member);
            let Some(member) = member.filter(is_known) else {
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
    fn link(&mut self, news: LinkNews) {
        let now = self.at();
        match news {
            LinkNews::Heard {
                storage: node,
                incarnation,
                hears,
            } => {
                if let Some(start) = incarnation {
                    self.starts.insert(node, start);
                    self.lost.remove(&node);
                    let incarnation = seen(start);
                    let evidence = Evidence::Heard { node, incarnation };
                    self.detector.take(now, evidence);
                }
                self.hearing.note(node, hears, now);
            }
            LinkNews::Up {
                storage: node,
                incarnation,
            } => {
                let incarnation = seen(incarnation);
                let evidence = Evidence::Connected { node, incarnation };
                self.detector.take(now, evidence);
            }
            LinkNews::Lost {
                storage: node,
                incarnation,
            } => {
                self.lost.insert(node, incarnation);
                let incarnation = seen(incarnation);
                let evidence = Evidence::ConnectionLost { node, incarnation };
                self.detector.take(now, evidence);
            }
            LinkNews::Seen { storage, sign } => {
                let convicts = self.gone.note(storage, sign, self.now.wall_ms);
                if let Sign::RefusedTwice(incarnation) = sign {
                    self.output(Output::CrashHint {
                        storage,
                        incarnation,
                    });
                    self.notice(NoticeKind::CrashHint, Some(storage), None);
                }
                if convicts {
                    self.act_on_deaths();
                }
            }
        }
    }

    fn probed(&mut self, by: StorageId, node: StorageId, incarnation: Incarnation, found: Probe) {
        let evidence = Evidence::Probed {
            by,
            node,
            incarnation: seen(incarnation),
            found,
        };
        self.detector.take(self.at(), evidence);
        self.tick();
    }

    fn proposed(&mut self, job: Job, done: bool) {
        self.jobs.remove(&job);
        if job == Job::Review
            && let Some((map, plan)) = self.balancing.take().filter(|_| done)
        {
            self.settling.note(&map, &plan);
        }
        self.changed_at = self.at();
        // What could not be decided is tried again when time has passed: whoever leads no more, and
        // was not told yet, would try without end.
        if done {
            self.review();
        }
    }

    fn map_changed(&mut self, map: Arc<ClusterMap>) {
        let before = std::mem::replace(&mut self.map, map);
        self.know_members();
        if self.lead.is_some() {
            self.ask_new_starts(&before);
            self.act_on_deaths();
            self.act_on_restarts();
        }
    }

    /// What the detector believes of a member at its present start.
    pub(crate) fn belief(&self, storage: StorageId, incarnation: Incarnation) -> Belief {
        let incarnation = seen(incarnation);
        self.detector.belief(self.at(), &storage, incarnation)
    }

    pub(crate) fn name(&self, storage: StorageId) -> Option<String> {
        let member = self.map.members.get(&storage);
        member.map(|member| member.name.clone())
    }
}
