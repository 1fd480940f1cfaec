//! What this node may conclude from whom it hears: nothing about others while it hears no majority
//! itself, and of a broken connection only that, while another voter hears the node behind it.
//!
//! Knows nothing of how that is known, see `control::hearing`.

use std::collections::BTreeSet;
use std::time::Duration;

use tablestore_controller::HEARD_WITHIN;
use tablestore_health::{Detector, Evidence};
use tablestore_placement::{Decision, DecisionKind, StorageId, plan};

use super::{Controller, Job};
use crate::node::wall_ms;

/// The leadership does not move again within this because of a broken connection.
const HAND_OVER_EVERY: Duration = Duration::from_secs(5);
/// A member that the controller cannot reach by then holds no office, though others hear it.
const UNREACHED_MAX: Duration = Duration::from_millis(600);

impl Controller {
    /// The voters of the raft group.
    fn voters(&self) -> BTreeSet<StorageId> {
        let control = &self.node.shared.control;
        control.voters().into_iter().collect()
    }

    /// The term in which this node may decide; none if it does not lead, or does not hear a
    /// majority of the voters and must rather doubt itself.
    pub(super) fn decides(&self) -> Option<u64> {
        let lead = self.lead?;
        let hears = self
            .hearing
            .is_majority(self.now(), self.node.me(), &self.voters());
        hears.then_some(lead.term)
    }

    /// Tells the detector the time, unless nobody is heard: then it is this node that is cut off,
    /// and the silence of that time is nobody's.
    pub(super) fn tell_time(&mut self, now: Duration) {
        let hears = self
            .hearing
            .is_majority(now, self.node.me(), &self.voters());
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
    pub(super) fn act_on_broken_links(&mut self) {
        let (now, me, voters) = (self.now(), self.node.me(), self.voters());
        let broken = self.hearing.behind_broken_links(now, me, &voters);
        if broken.is_empty() || self.decides().is_none() {
            return;
        }
        let rested = |at: Duration| now > at + HAND_OVER_EVERY;
        if self.handed_over.is_none_or(rested)
            && let Some(successor) = self.hearing.better_placed(now, me, &voters)
        {
            self.handed_over = Some(now);
            tracing::warn!(%successor, ?broken, "another voter hears more: it leads");
            let control = self.node.shared.control.clone();
            tokio::spawn(async move { control.hand_over_to(successor).await });
            return;
        }
        for (storage, by) in broken {
            if !self.hearing.is_silent(now, storage, UNREACHED_MAX) {
                continue;
            }
            let by = self.name(by).unwrap_or_else(|| by.to_string());
            let decision = Decision::new(DecisionKind::Stall, wall_ms())
                .about(storage)
                .on_evidence(format!("the controller cannot reach it, though {by} can"));
            self.propose(Job::Stall(storage), decision, move |map| {
                plan::move_offices_off(map, storage)
            });
        }
    }
}
