//! Our detector: crash hints, φ accrual for silence, proof of work, and doubt in itself.
//!
//! Knows nothing about how evidence is gathered, nor what is done about a verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::watched::Watched;
use crate::{Belief, Detector, DetectorSettings, Evidence, Incarnation};

/// A failure detector for one observer. The rules are those of [`Detector`], and:
///
/// - **Crash hint**: the connection closed and two connects in a row to one address were refused.
/// - **Silence**: suspect when φ, or the time itself, is past its limit; dead when another
///   observer finds the node silent too, or at last after
///   [`dead_after`](DetectorSettings::dead_after), unless one has just seen it alive.
/// - **Stalled**: it answers, and its oldest work is older than [`stall`](DetectorSettings::stall).
/// - **Flapping**: after repeated failures offices are withheld for growing times
///   ([`held_down`](Self::held_down)).
#[derive(Clone, Debug)]
pub struct AccrualDetector<N> {
    settings: DetectorSettings,
    nodes: BTreeMap<N, Watched<N>>,
    /// The last call; a long time since then is a pause of our own.
    fed: Option<Duration>,
    /// Until then nobody is convicted by silence: what arrived during a pause is being read.
    lenient_until: Duration,
}

/// A suspicion that another observer should look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeWanted<'a, N> {
    /// Whom to look at.
    pub node: &'a N,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// Since when it is suspect.
    pub since: Duration,
}

impl<N: Ord + Clone> AccrualDetector<N> {
    /// A detector that watches nobody yet.
    pub fn new(settings: DetectorSettings) -> Self {
        Self {
            settings,
            nodes: BTreeMap::new(),
            fed: None,
            lenient_until: Duration::ZERO,
        }
    }

    /// The settings in use.
    pub fn settings(&self) -> &DetectorSettings {
        &self.settings
    }

    /// All watched nodes, their latest incarnations and what is believed of them at `now`.
    pub fn beliefs(&self, now: Duration) -> impl Iterator<Item = (&N, Incarnation, Belief)> {
        self.nodes.iter().map(move |(node, watched)| {
            let incarnation = watched.incarnation();
            (
                node,
                incarnation,
                watched.belief(now, incarnation, &self.settings),
            )
        })
    }

    /// The suspects that other observers should look at; their findings are
    /// [`Evidence::Probed`].
    pub fn probes_wanted(&self) -> impl Iterator<Item = ProbeWanted<'_, N>> {
        self.nodes.iter().filter_map(|(node, watched)| {
            let since = watched.suspect_since()?;
            Some(ProbeWanted {
                node,
                incarnation: watched.incarnation(),
                since,
            })
        })
    }

    /// How often `node` has failed of late. More than a few are worth an alarm.
    pub fn flaps(&self, now: Duration, node: &N) -> u32 {
        self.nodes
            .get(node)
            .map_or(0, |watched| watched.flaps(now, &self.settings))
    }

    /// For how much longer nothing new should be entrusted to `node`, since it keeps failing.
    pub fn held_down(&self, now: Duration, node: &N) -> Option<Duration> {
        let until = self.nodes.get(node)?.held_until(&self.settings)?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// The node's record, if the evidence concerns its current incarnation.
    fn current(&mut self, node: &N, incarnation: Incarnation) -> Option<&mut Watched<N>> {
        self.nodes
            .get_mut(node)
            .filter(|watched| watched.incarnation() == incarnation)
    }

    fn discard_pause(&mut self, now: Duration, length: Duration) {
        self.lenient_until = now.saturating_add(self.settings.heartbeat);
        for watched in self.nodes.values_mut() {
            watched.discard_pause(now, length);
        }
    }

    fn notice_own_gap(&mut self, now: Duration) {
        let gap = self
            .fed
            .map_or(Duration::ZERO, |fed| now.saturating_sub(fed));
        self.fed = Some(self.fed.map_or(now, |fed| fed.max(now)));
        if gap > self.settings.own_gap_max {
            self.discard_pause(now, gap);
        }
    }

    fn begin(&mut self, now: Duration, node: N, incarnation: Incarnation) {
        let forgiven = self.settings.flap_forgiven_after;
        self.nodes
            .entry(node)
            .and_modify(|watched| watched.restart(now, incarnation, forgiven))
            .or_insert_with(|| Watched::new(now, incarnation));
    }

    fn tick(&mut self, now: Duration) {
        if now < self.lenient_until {
            return;
        }
        for watched in self.nodes.values_mut() {
            watched.consider(now, &self.settings);
        }
    }

    fn answered(&mut self, now: Duration, evidence: Evidence<N>) {
        let Evidence::HeartbeatAnswered {
            node,
            incarnation,
            sent,
            work,
        } = evidence
        else {
            return;
        };
        let forgiven = self.settings.flap_forgiven_after;
        if let Some(watched) = self.nodes.get_mut(&node) {
            watched.restart(now, incarnation, forgiven);
            if watched.incarnation() == incarnation {
                watched.answered(now, sent, work, &self.settings);
            }
        }
    }

    fn refused(&mut self, now: Duration, evidence: Evidence<N>) {
        let Evidence::ConnectRefused {
            node,
            incarnation,
            address,
        } = evidence
        else {
            return;
        };
        if let Some(watched) = self
            .nodes
            .get_mut(&node)
            .filter(|watched| watched.incarnation() == incarnation)
        {
            watched.connect_refused(now, address, &self.settings);
        }
    }
}

impl<N: Ord + Clone> Detector for AccrualDetector<N> {
    type Node = N;

    fn take(&mut self, now: Duration, evidence: Evidence<N>) {
        self.notice_own_gap(now);
        match evidence {
            Evidence::NewIncarnation { node, incarnation } => self.begin(now, node, incarnation),
            Evidence::HeartbeatAnswered { .. } => self.answered(now, evidence),
            Evidence::Heard { node, incarnation } => {
                let watched = self.nodes.get_mut(&node);
                let watched = watched.filter(|watched| watched.incarnation() == incarnation);
                if let Some(watched) = watched {
                    watched.lived(now, now, &self.settings);
                }
            }
            Evidence::Connected { node, incarnation } => {
                if let Some(watched) = self.current(&node, incarnation) {
                    watched.connected();
                }
            }
            Evidence::ConnectionLost { node, incarnation } => {
                if let Some(watched) = self.current(&node, incarnation) {
                    watched.connection_lost(now);
                }
            }
            Evidence::ConnectRefused { .. } => self.refused(now, evidence),
            Evidence::ConnectFailed { node, incarnation } => {
                if let Some(watched) = self.current(&node, incarnation) {
                    watched.connect_failed();
                }
            }
            Evidence::Probed {
                by,
                node,
                incarnation,
                found,
            } => {
                if by != node
                    && let Some(watched) = self.current(&node, incarnation)
                {
                    watched.probed(now, by, found);
                }
            }
            Evidence::OwnPause { length } => self.discard_pause(now, length),
            Evidence::Tick => self.tick(now),
            Evidence::Forget { node } => {
                self.nodes.remove(&node);
            }
        }
    }

    fn belief(&self, now: Duration, node: &N, incarnation: Incarnation) -> Belief {
        let watched = self.nodes.get(node);
        watched.map_or(Belief::Unknown, |w| {
            w.belief(now, incarnation, &self.settings)
        })
    }
}
