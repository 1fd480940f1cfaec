//! The deliberate bugs of the active core that its random test must find. Without the feature
//! `mutants` there are none. Knows nothing of what a bug does; that stands where the right code is.

use super::settings::Settings;

/// A deliberate bug.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "mutants", derive(Debug, PartialEq, Eq, PartialOrd, Ord))]
#[cfg_attr(
    not(feature = "mutants"),
    expect(unreachable_pub, reason = "public with the feature alone")
)]
pub enum Mutant {
    /// A replica takes a hint at or below its floor, where the tombstone may be gone already.
    HintAfterTombstoneGc,
    /// A replica gives a version that comes too late a new one, and takes it.
    RestampedLateVersion,
    /// A hint that the coordinator keeps counts as if a replica had the write.
    HintCountsTowardsW,
    /// A replica acknowledges what is not durable yet.
    UnsyncedCountsTowardsW,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::HintAfterTombstoneGc,
        Self::RestampedLateVersion,
        Self::HintCountsTowardsW,
        Self::UnsyncedCountsTowardsW,
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
