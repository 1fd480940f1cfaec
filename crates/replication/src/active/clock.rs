//! The hybrid logical clock: versions that grow along cause and effect and stay near the time of
//! day. Knows nothing of rows, and reads no clock: the time of day comes in.

use tablestore_placement::StorageId;

use crate::types::Now;

/// The present, as a host reads it from its two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic: for deadlines.
    pub now: Now,
    /// The time of day in milliseconds, which may step in both directions: for versions.
    pub wall_ms: u64,
}

/// When something was written, and by whom. No two writes have the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The time of day in milliseconds, or what stood for it where the clock lagged.
    pub wall_ms: u64,
    /// Distinguishes writes of one millisecond.
    pub counter: u32,
    /// The node that stamped it; decides where the rest is equal.
    pub node: StorageId,
}

/// Why the clock refuses. No state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// The durable bound is reached: persist [`Clock::bound_wanted`] and try again.
    #[error("the bound of the clock is not durable yet")]
    BoundReached,
    /// A version is further ahead of this node's time of day than is allowed: its stamper's clock
    /// or this one is wrong. Repeat when the clocks agree.
    #[error("a version is {ahead_ms} ms ahead of this node's clock")]
    TooFarAhead {
        /// How far it is ahead.
        ahead_ms: u64,
    },
}

/// A node's hybrid logical clock.
#[derive(Clone, Debug)]
pub struct Clock {
    node: StorageId,
    last_ms: u64,
    counter: u32,
    /// Nothing is stamped above it; it is durable.
    bound_ms: u64,
    reserve_ms: u64,
    drift_max_ms: u64,
}

impl Clock {
    /// A clock that goes on above what it can have stamped before it was stopped: `bound_ms` is
    /// what was last made durable, 0 for a new node.
    #[must_use]
    pub fn new(node: StorageId, bound_ms: u64, reserve_ms: u64, drift_max_ms: u64) -> Self {
        Self {
            node,
            last_ms: bound_ms,
            counter: u32::MAX,
            bound_ms,
            reserve_ms,
            drift_max_ms,
        }
    }

    /// A version greater than all that were stamped or observed here.
    ///
    /// # Errors
    /// The bound is not durable yet, or others would refuse what this clock stamps.
    pub fn stamp(&mut self, wall_ms: u64) -> Result<Version, ClockError> {
        let (mut next_ms, mut counter) = (self.last_ms, self.counter.saturating_add(1));
        if wall_ms > self.last_ms {
            (next_ms, counter) = (wall_ms, 0);
        } else if self.counter == u32::MAX {
            (next_ms, counter) = (self.last_ms + 1, 0);
        }
        self.check_drift(next_ms, wall_ms)?;
        if next_ms > self.bound_ms {
            return Err(ClockError::BoundReached);
        }
        (self.last_ms, self.counter) = (next_ms, counter);
        Ok(Version {
            wall_ms: next_ms,
            counter,
            node: self.node,
        })
    }

    /// What is stamped from now on is greater than this version.
    ///
    /// # Errors
    /// The version is too far ahead.
    pub fn observe(&mut self, version: Version, wall_ms: u64) -> Result<(), ClockError> {
        self.check_drift(version.wall_ms, wall_ms)?;
        if (version.wall_ms, version.counter) > (self.last_ms, self.counter) {
            (self.last_ms, self.counter) = (version.wall_ms, version.counter);
        }
        Ok(())
    }

    /// The bound that should be made durable soon, if the present one is nearly reached.
    #[must_use]
    pub fn bound_wanted(&self, wall_ms: u64) -> Option<u64> {
        let next_ms = wall_ms.max(self.last_ms.saturating_add(1));
        let is_near = next_ms.saturating_add(self.reserve_ms / 2) > self.bound_ms;
        is_near.then(|| next_ms.saturating_add(self.reserve_ms))
    }

    /// This bound is durable.
    pub fn bound_persisted(&mut self, bound_ms: u64) {
        self.bound_ms = self.bound_ms.max(bound_ms);
    }

    fn check_drift(&self, version_ms: u64, wall_ms: u64) -> Result<(), ClockError> {
        check_drift(version_ms, wall_ms, self.drift_max_ms)
    }
}

/// Refuses what is further ahead of the time of day than clocks may differ.
pub(crate) fn check_drift(
    version_ms: u64,
    wall_ms: u64,
    drift_max_ms: u64,
) -> Result<(), ClockError> {
    let ahead_ms = version_ms.saturating_sub(wall_ms);
    if ahead_ms > drift_max_ms {
        return Err(ClockError::TooFarAhead { ahead_ms });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: StorageId = StorageId(7);

    fn clock(bound_ms: u64) -> Clock {
        Clock::new(NODE, bound_ms, 200, 500)
    }

    #[test]
    fn stamps_grow_while_the_time_of_day_steps_back() {
        let mut clock = clock(0);
        clock.bound_persisted(2000);
        let first = clock.stamp(1000);
        let second = clock.stamp(700);
        assert!(first.is_ok() && second > first);
        assert_eq!(
            clock.stamp(499),
            Err(ClockError::TooFarAhead { ahead_ms: 501 })
        );
    }

    #[test]
    fn a_restart_never_stamps_below_what_was_stamped() {
        let mut before = clock(0);
        assert_eq!(before.stamp(1000), Err(ClockError::BoundReached));
        let bound_ms = before.bound_wanted(1000);
        assert_eq!(bound_ms, Some(1200));
        before.bound_persisted(1200);
        let last = before.stamp(1200);
        let mut after = clock(1200);
        after.bound_persisted(3000);
        assert!(after.stamp(900) > last);
    }

    #[test]
    fn what_comes_from_too_far_ahead_is_refused_and_does_not_push_the_clock() {
        let mut clock = clock(5000);
        clock.last_ms = 0;
        let ahead = Version {
            wall_ms: 1501,
            counter: 3,
            node: StorageId(1),
        };
        assert!(clock.observe(ahead, 1000).is_err());
        assert_eq!(clock.stamp(1000).map(|version| version.wall_ms), Ok(1000));
        assert_eq!(clock.observe(ahead, 1001), Ok(()));
        assert!(clock.stamp(1001) > Ok(ahead));
    }
}
