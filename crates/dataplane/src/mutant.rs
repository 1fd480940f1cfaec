//! The deliberate faults that the simulation must find; each was found once in a server. Without
//! the feature `mutants` there are none: whoever asks for one gets a constant. Knows nothing of
//! what a fault does; that stands where the right code is.

use crate::event::Now;
use crate::hosted::Hosted;
use crate::settings::Settings;

/// A deliberate fault.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "mutants", derive(Debug, PartialEq, Eq, PartialOrd, Ord))]
#[cfg_attr(
    not(feature = "mutants"),
    expect(unreachable_pub, reason = "public with the feature alone")
)]
pub enum Mutant {
    /// Who receives a copy takes a gap between its chunks, and totals of other rows.
    ChunkLostUnnoticed,
    /// A copy has none of the remembered results.
    SideRecordsLost,
    /// What was asked by an earlier start of a node, or is an answer to one, counts.
    AnswersToEarlierStart,
    /// Chunks belong to whatever copy of their partition is coming.
    ForeignChunks,
    /// Messages and frames of any length are sent.
    FrameOverLimit,
    /// A job that finds its lane full is dropped without a word.
    JobDropped,
    /// A replica starts though entries between its rows and its log are lost.
    ReplicaWithGapServed,
    /// What the map does not know is deleted, however old the map is.
    UnknownPartitionDeleted,
    /// The first four partitions below their mark are flushed again and again.
    StarvedFlush,
    /// What the journal did for a replica that was closed counts for its successor.
    OldLifeSync,
    /// What became of an earlier connection is taken for what became of the present one.
    StaleLink,
    /// Who is crowded is looked at again only while somebody holds entries back.
    ForgottenCrowd,
    /// A write that was with an owner which is gone counts as not applied.
    OwnedOutcomeForgotten,
    /// A start stamps writes to active tables without regard to what an earlier one stamped.
    ClockBoundForgotten,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ChunkLostUnnoticed,
        Self::SideRecordsLost,
        Self::AnswersToEarlierStart,
        Self::ForeignChunks,
        Self::FrameOverLimit,
        Self::JobDropped,
        Self::ReplicaWithGapServed,
        Self::UnknownPartitionDeleted,
        Self::StarvedFlush,
        Self::OldLifeSync,
        Self::StaleLink,
        Self::ForgottenCrowd,
        Self::OwnedOutcomeForgotten,
        Self::ClockBoundForgotten,
    ];
}

/// Which fault is switched on, if any: for those parts of a plane that do not see its settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sabotage {
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<Mutant>,
}

impl Sabotage {
    /// Whether this fault is switched on.
    #[cfg(feature = "mutants")]
    pub(crate) fn has(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether this fault is switched on.
    #[cfg(not(feature = "mutants"))]
    pub(crate) const fn has(self, _: Mutant) -> bool {
        false
    }
}

impl Settings {
    pub(crate) fn sabotage(&self) -> Sabotage {
        Sabotage {
            #[cfg(feature = "mutants")]
            mutant: self.mutant,
        }
    }

    /// Whether this fault is switched on.
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.sabotage().has(mutant)
    }
}

impl Hosted {
    /// Only a deliberate fault of a replica looks at the wall clock.
    #[cfg(feature = "mutants")]
    pub(crate) fn tell_wall_clock(&mut self, now: Now) {
        self.replica.set_wall_clock(now.wall_ms);
    }

    /// Only a deliberate fault of a replica looks at the wall clock.
    #[cfg(not(feature = "mutants"))]
    pub(crate) fn tell_wall_clock(&mut self, _: Now) {}
}

#[cfg(all(test, feature = "mutants"))]
mod tests;
