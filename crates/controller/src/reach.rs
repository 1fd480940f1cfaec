//! What this node may conclude from whom it hears: nothing about others while it hears no majority
//! itself, and of a broken connection only that, while another voter hears the node behind it.
//!
//! Knows nothing of how that is known, see `hearing`.

use std::time::Duration;

use tablestore_health::{Detector, Evidence};
use tablestore_placement::plan::Trusted;
use tablestore_placement::{Decision, DecisionKind, Member};

use crate::stopped::stopped;
use crate::{Controller, HEARD_WITHIN, Job, Output, Planned};

/// The leadership does not move again within this because of a broken connection.
const HAND_OVER_EVERY: Duration = Duration::from_secs(5);
/// A member that the controller cannot reach by then holds no office, though others hear it.
const UNREACHED_MAX: Duration = Duration::from_millis(600);

impl Controller {
    fn hears_majority(&self) -> bool {
        self.hearing.is_majority(self.at(), self.me, &self.voters)
    }

    /// The term in which this node may decide; none if it does not lead, or does not hear a
    /// majority of the voters and must rather doubt itself.
    pub(crate) fn decides(&self) -> Option<u64> {
        let lead = self.lead?;
        self.hears_majority().then_some(lead.term)
    }

    /// Who is known to be there, in the start that the map shows: another one may have lost its
    /// rows. Pings are not enough: only an answer says which replicas have stopped.
    pub(crate) fn trusted(&self) -> Trusted {
        let answers = |member: &&Member| {
            let answer = self.answers.get(&member.storage);
            answer.is_some_and(|answer| answer.incarnation == member.incarnation)
        };
        let is_gone = |member: &Member| {
            let (storage, incarnation) = (member.storage, member.incarnation);
            self.lost.get(&storage) == Some(&incarnation)
                || self.gone.seen_at_ms(storage, incarnation).is_some()
        };
        let answering = self.map.live_members().filter(answers);
        let there = answering.filter(|member| !is_gone(member));
        let stopped = stopped(&self.map, &self.answers).into_iter();
        Trusted {
            starts: there
                .map(|member| (member.storage, member.incarnation))
                .collect(),
            stopped: stopped
                .map(|(partition, member, _)| (partition, member))
                .collect(),
        }
    }

    /// Whether what was last heard of a voter came from the start that the map shows.
    pub(crate) fn hears_start_of(&self, member: &Member) -> bool {
        self.starts.get(&member.storage) == Some(&member.incarnation)
    }

    /// Tells the detector the time, unless nobody is heard: then it is this node that is cut off,
    /// and the silence of that time is nobody's.
    pub(crate) fn tell_time(&mut self) {
        let (now, hears) = (self.at(), self.hears_majority());
        match (hears, self.alone_since) {
            (false, None) => self.alone_since = Some(now),
            (true, Some(since)) => {
                self.alone_since = None;
                let length = now.saturating_sub(since) + HEARD_WITHIN;
                self.detector.take(now, Evidence::OwnPause { length });
            }
            _ => {}
        }
        if hears {
            self.detector.take(now, Evidence::Tick);
        }
    }

    /// One broken connection is not the end: the voter that hears more leads; where there is none,
    /// those whom only others hear hold no office: they could not ask for anything.
    pub(crate) fn act_on_broken_links(&mut self) {
        let (now, me) = (self.at(), self.me);
        let broken = self.hearing.behind_broken_links(now, me, &self.voters);
        if broken.is_empty() || self.decides().is_none() {
            return;
        }
        let rested = |at: Duration| now > at + HAND_OVER_EVERY;
        if self.handed_over.is_none_or(rested)
            && let Some(to) = self.hearing.better_placed(now, me, &self.voters)
        {
            self.handed_over = Some(now);
            self.output(Output::HandOver { to, broken });
            return;
        }
        for (storage, by) in broken {
            if !self.hearing.is_silent(now, storage, UNREACHED_MAX) {
                continue;
            }
            let by = self.name(by).unwrap_or_else(|| by.to_string());
            let decision = Decision::new(DecisionKind::Unreachable, self.now.wall_ms)
                .about(storage)
                .on_evidence(format!("the controller cannot reach it, though {by} can"));
            let planned = Planned::OfficesOff { storage };
            self.propose(Job::OfficesOff(storage), planned, decision);
        }
    }
}
