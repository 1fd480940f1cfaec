//! A count of failures and the time for which a node that fails again and again is not trusted.
//!
//! Knows nothing about what a failure is.

use std::time::Duration;

/// More doublings than this would exceed any sensible longest time.
const DOUBLINGS_MAX: u32 = 20;

/// The failures of one node that are not yet forgiven.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flaps {
    count: u32,
    last: Duration,
}

impl Flaps {
    /// Counts one failure.
    pub(crate) fn failed(&mut self, now: Duration, forgiven_after: Duration) {
        self.count = self.count(now, forgiven_after) + 1;
        self.last = now;
    }

    /// Failures that count at `now`: one is forgiven for each `forgiven_after` without another.
    pub(crate) fn count(&self, now: Duration, forgiven_after: Duration) -> u32 {
        let quiet = now.saturating_sub(self.last).as_nanos();
        let forgiven = quiet.checked_div(forgiven_after.as_nanos()).unwrap_or(0);
        self.count
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    /// `base`, doubled for every failure after the first, at most `longest`.
    pub(crate) fn scaled(&self, base: Duration, longest: Duration) -> Duration {
        let doublings = self.count.saturating_sub(1).min(DOUBLINGS_MAX);
        base.saturating_mul(1 << doublings).min(longest.max(base))
    }

    /// Until when nothing should be entrusted to the node: nothing after a first failure,
    /// `base` after the second, then doubling.
    pub(crate) fn held_until(&self, base: Duration, longest: Duration) -> Option<Duration> {
        let doublings = self.count.checked_sub(2)?.min(DOUBLINGS_MAX);
        Some(
            self.last
                .saturating_add(base.saturating_mul(1 << doublings).min(longest)),
        )
    }
}
