//! What is known of one watched node, and the rules by which it changes.
//!
//! Knows nothing about other nodes, nor about the observer's own pauses: it is told of them.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::hold_down::Flaps;
use crate::intervals::Intervals;
use crate::{Belief, Death, DetectorSettings, Incarnation, Probe, Work};

/// Refusals in a row, after the connection closed, that make a crash hint. One would not do:
/// every tenth immediate reconnect still reaches the listener of a dying process.
const REFUSALS_FOR_HINT: u32 = 2;

/// Other observers whose findings are remembered of one node; the oldest make room.
const PROBES_MAX: usize = 16;

/// What happened to an incarnation in the end.
#[derive(Clone, Copy, Debug)]
struct End {
    since: Duration,
    why: Death,
}

/// The connection to a node, as far as it is evidence.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    lost_at: Option<Duration>,
    refused: Option<(SocketAddr, u32)>,
}

/// One watched node.
#[derive(Clone, Debug)]
pub(crate) struct Watched<N> {
    incarnation: Incarnation,
    /// When this incarnation was first known: start-up is not silence.
    begun: Duration,
    /// The last moment at which it was surely alive; its own answers and our pauses move it.
    heard: Duration,
    answered: bool,
    intervals: Intervals,
    link: Link,
    probes: BTreeMap<N, (Duration, Probe)>,
    suspect_since: Option<Duration>,
    stall: Option<Stall>,
    end: Option<End>,
    /// How the incarnation before ended, to answer questions about it.
    before: Option<(Incarnation, End)>,
    flaps: Flaps,
    stalls: Flaps,
}

#[derive(Clone, Copy, Debug)]
struct Stall {
    since: Duration,
    age: Duration,
    /// Since when it has worked again.
    working_since: Option<Duration>,
}

impl<N: Ord + Clone> Watched<N> {
    pub(crate) fn new(now: Duration, incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            begun: now,
            heard: now,
            answered: false,
            intervals: Intervals::default(),
            link: Link::default(),
            probes: BTreeMap::new(),
            suspect_since: None,
            stall: None,
            end: None,
            before: None,
            flaps: Flaps::default(),
            stalls: Flaps::default(),
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Starts afresh with a later incarnation; only the failures so far are remembered.
    pub(crate) fn restart(&mut self, now: Duration, incarnation: Incarnation, forgiven: Duration) {
        if incarnation <= self.incarnation {
            return;
        }
        let end = self.end.unwrap_or_else(|| {
            self.flaps.failed(now, forgiven);
            End {
                since: now,
                why: Death::Restarted,
            }
        });
        *self = Self {
            before: Some((self.incarnation, end)),
            flaps: self.flaps.clone(),
            stalls: self.stalls.clone(),
            ..Self::new(now, incarnation)
        };
    }

    pub(crate) fn answered(
        &mut self,
        now: Duration,
        sent: Duration,
        work: Work,
        settings: &DetectorSettings,
    ) {
        if self.end.is_none() {
            self.lived(now, sent, settings);
            self.worked(now, work.age(), settings);
        }
    }

    /// It was alive when the question was sent that it answers now.
    pub(crate) fn lived(&mut self, now: Duration, sent: Duration, settings: &DetectorSettings) {
        if self.end.is_some() {
            return;
        }
        // An answer that took long proves life only for the moment of the question; that it
        // arrives now may as well be our doing as the node's.
        let late = now.saturating_sub(sent) > settings.suspect_after_max;
        let heard = if late {
            self.heard.max(sent.min(now))
        } else {
            now
        };
        if self.answered && !late {
            // Our own pauses are not in it: they have moved `self.heard`. Those of the node are
            // no measure of how often it answers, hence the limit.
            let interval = heard.saturating_sub(self.heard);
            if interval <= settings.suspect_after_max {
                self.intervals.push(interval, settings.window);
            }
        }
        self.heard = heard;
        self.answered = true;
        if self.link.lost_at.is_some_and(|lost| sent > lost) {
            self.link = Link::default();
        }
        if self.silence(now) < settings.suspect_after_max {
            self.suspect_since = None;
        }
    }

    fn worked(&mut self, now: Duration, age: Duration, settings: &DetectorSettings) {
        let stalled = age >= settings.stall;
        match &mut self.stall {
            None if stalled => {
                self.stalls.failed(now, settings.flap_forgiven_after);
                self.stall = Some(Stall {
                    since: now,
                    age,
                    working_since: None,
                });
            }
            None => {}
            Some(stall) if stalled => {
                stall.age = age;
                stall.working_since = None;
            }
            Some(stall) => {
                stall.age = age;
                let since = *stall.working_since.get_or_insert(now);
                let wait = self
                    .stalls
                    .scaled(settings.stall_recovery, settings.hold_down_max);
                if now.saturating_sub(since) >= wait {
                    self.stall = None;
                }
            }
        }
    }

    pub(crate) fn connected(&mut self) {
        self.link = Link::default();
    }

    pub(crate) fn connection_lost(&mut self, now: Duration) {
        self.link = Link {
            lost_at: Some(now),
            refused: None,
        };
    }

    pub(crate) fn connect_failed(&mut self) {
        self.link.refused = None;
    }

    pub(crate) fn connect_refused(
        &mut self,
        now: Duration,
        address: SocketAddr,
        settings: &DetectorSettings,
    ) {
        let count = match self.link.refused {
            Some((same, count)) if same == address => count + 1,
            _ => 1,
        };
        self.link.refused = Some((address, count));
        if count >= REFUSALS_FOR_HINT && self.link.lost_at.is_some() {
            self.die(now, Death::CrashHint, settings);
        }
    }

    pub(crate) fn probed(&mut self, now: Duration, by: N, found: Probe) {
        self.probes.insert(by, (now, found));
        while self.probes.len() > PROBES_MAX {
            let oldest = self
                .probes
                .iter()
                .min_by_key(|(_, (at, _))| *at)
                .map(|(by, _)| by.clone());
            if let Some(oldest) = oldest {
                self.probes.remove(&oldest);
            }
        }
    }

    /// The observer itself was away for `length`, up to now.
    pub(crate) fn discard_pause(&mut self, now: Duration, length: Duration) {
        self.heard = self.heard.saturating_add(length).min(now);
        self.begun = self.begun.saturating_add(length).min(now);
        self.probes.clear();
    }

    /// Suspects and convicts by silence.
    pub(crate) fn consider(&mut self, now: Duration, settings: &DetectorSettings) {
        if self.end.is_some() {
            return;
        }
        if !self.unusually_silent(now, settings) {
            self.suspect_since = None;
            return;
        }
        let suspect_since = *self.suspect_since.get_or_insert(now);
        let fresh = |found: Probe| {
            let from = suspect_since.max(now.saturating_sub(settings.probe_fresh));
            self.probes
                .values()
                .any(|(at, what)| *at >= from && *what == found)
        };
        let seen = fresh(Probe::Answered);
        let missed = fresh(Probe::Silent) || fresh(Probe::Refused);
        let lasted = self.silence(now);
        let limit = if self.answered {
            settings.dead_after
        } else {
            settings.start_up
        };
        if !seen && (missed || lasted >= limit) {
            self.die(
                now,
                Death::Silence {
                    lasted,
                    confirmed: missed,
                },
                settings,
            );
        }
    }

    fn unusually_silent(&self, now: Duration, settings: &DetectorSettings) -> bool {
        let silence = self.silence(now);
        if !self.answered {
            return silence >= settings.start_up;
        }
        silence >= settings.suspect_after_max || self.phi(now, settings) >= settings.phi_suspect
    }

    fn die(&mut self, now: Duration, why: Death, settings: &DetectorSettings) {
        if self.end.is_none() {
            self.end = Some(End { since: now, why });
            self.flaps.failed(now, settings.flap_forgiven_after);
        }
    }

    fn silence(&self, now: Duration) -> Duration {
        let from = if self.answered {
            self.heard
        } else {
            self.begun
        };
        now.saturating_sub(from)
    }

    fn phi(&self, now: Duration, settings: &DetectorSettings) -> f64 {
        self.intervals.phi(
            self.silence(now),
            settings.heartbeat,
            settings.deviation_min,
        )
    }

    pub(crate) fn belief(
        &self,
        now: Duration,
        incarnation: Incarnation,
        settings: &DetectorSettings,
    ) -> Belief {
        if incarnation > self.incarnation {
            return Belief::Unknown;
        }
        if incarnation < self.incarnation {
            let restarted = End {
                since: self.begun,
                why: Death::Restarted,
            };
            let known = self.before.filter(|(before, _)| *before == incarnation);
            let End { since, why } = known.map_or(restarted, |(_, end)| end);
            return Belief::Dead { since, why };
        }
        match (self.end, self.suspect_since, self.stall) {
            (Some(End { since, why }), _, _) => Belief::Dead { since, why },
            (None, Some(since), _) => Belief::Suspect {
                since,
                phi: self.phi(now, settings),
            },
            (None, None, Some(Stall { since, age, .. })) => Belief::Stalled { since, age },
            (None, None, None) => Belief::Alive,
        }
    }

    pub(crate) fn suspect_since(&self) -> Option<Duration> {
        self.suspect_since.filter(|_| self.end.is_none())
    }

    pub(crate) fn flaps(&self, now: Duration, settings: &DetectorSettings) -> u32 {
        self.flaps.count(now, settings.flap_forgiven_after)
    }

    pub(crate) fn held_until(&self, settings: &DetectorSettings) -> Option<Duration> {
        self.flaps
            .held_until(settings.hold_down, settings.hold_down_max)
    }
}
