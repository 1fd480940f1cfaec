//! The deliberate bugs that the simulation must find. Without the feature `mutants` there are none:
//! whoever asks for one gets a constant. Knows nothing of what a bug does; that stands where the
//! right code is.

use crate::settings::Settings;

/// A deliberate bug.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "mutants", derive(Debug, PartialEq, Eq, PartialOrd, Ord))]
#[cfg_attr(
    not(feature = "mutants"),
    expect(unreachable_pub, reason = "public with the feature alone")
)]
pub enum Mutant {
    /// A restarted replica cuts its log at its commit mark (as in KIP-101).
    TruncateByCommitMark,
    /// For an epoch that the primary never saw, the ends of the logs count (as in KIP-279).
    UnknownEpoch,
    /// While an addition is pending, commits need only the committed in-sync set.
    CommitWithSmallerSet,
    /// A new primary answers reads before its inherited log is committed.
    ReadBeforeInheritedTail,
    /// A backup acknowledges what it has not synced.
    AckBeforeSync,
    /// A primary counts its own entries before its journal has them.
    OwnEntryBeforeSync,
    /// The answer to an earlier round of questions confirms reads that came later.
    StaleRoundConfirms,
    /// The log's time goes on with the wall clock of its primary, however far that leaps.
    #[cfg(feature = "mutants")]
    LeapingClock,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::TruncateByCommitMark,
        Self::UnknownEpoch,
        Self::CommitWithSmallerSet,
        Self::ReadBeforeInheritedTail,
        Self::AckBeforeSync,
        Self::OwnEntryBeforeSync,
        Self::StaleRoundConfirms,
        Self::LeapingClock,
    ];
}

impl Settings {
    /// Whether this bug is switched on.
    #[cfg(feature = "mutants")]
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether this bug is switched on.
    #[cfg(not(feature = "mutants"))]
    pub(crate) const fn has(&self, _: Mutant) -> bool {
        false
    }
}

#[cfg(feature = "mutants")]
impl crate::Replica {
    /// The wall clock of the node in milliseconds, which nothing looks at but
    /// [`Mutant::LeapingClock`].
    pub fn set_wall_clock(&mut self, wall_ms: u64) {
        self.core.wall_ms = wall_ms;
    }
}
