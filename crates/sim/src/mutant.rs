//! The deliberate faults that the simulation must find, of all crates that have some.

use std::fmt;

/// A deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Of a replica.
    Replica(tablestore_replication::Mutant),
    /// Of a data plane.
    Plane(tablestore_dataplane::Mutant),
    /// Of an owner of a partition on shared storage.
    Owner(crate::OwnerMutant),
    /// Of a replica or the coordinator of an active table.
    Active(tablestore_replication::active::Mutant),
    /// A node starts with what is left of its raft log.
    ShortenedLogAccepted,
    /// A decision says nothing of the term and the map that it was made under.
    DeposedControllerDecides,
    /// A node starts on whatever its disks hold, though the cluster knows a later start of it.
    OlderDiskAccepted,
}

impl Mutant {
    /// All that runs must find. Some others are so seldom of consequence that a test of their own
    /// shows them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let replica = tablestore_replication::Mutant::ALL.into_iter();
        let plane = tablestore_dataplane::Mutant::ALL.into_iter();
        let own = [
            Self::ShortenedLogAccepted,
            Self::DeposedControllerDecides,
            Self::OlderDiskAccepted,
        ];
        let active = tablestore_replication::active::Mutant::ALL.into_iter();
        let all = replica.map(Self::Replica).chain(plane.map(Self::Plane));
        let owners = crate::OwnerMutant::ALL.into_iter().map(Self::Owner);
        let all = all.chain(active.map(Self::Active));
        let all = all.chain(own).chain(owners);
        all.filter(|mutant| !mutant.rules().is_empty()).collect()
    }

    /// The rules that find it, by the names that stand before the first colon of a violation.
    #[must_use]
    pub fn rules(self) -> &'static [&'static str] {
        match self {
            Self::Replica(mutant) => of_replica(mutant),
            Self::Plane(mutant) => of_plane(mutant),
            Self::Owner(mutant) => mutant.rules(),
            Self::Active(mutant) => of_active(mutant),
            // A map that lost entries may as well never come to rest.
            Self::ShortenedLogAccepted => &["Consensus", "End", "Liveness"],
            Self::DeposedControllerDecides => &["Consensus", "Liveness"],
            // What it had acknowledged and lost, others may replace by something else.
            Self::OlderDiskAccepted => &["Stopped", "Liveness", "Durable", "Start", "agreement"],
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(mutant) => write!(f, "{mutant:?}"),
            Self::Plane(mutant) => write!(f, "{mutant:?}"),
            Self::Owner(mutant) => write!(f, "{mutant}"),
            Self::Active(mutant) => write!(f, "{mutant:?}"),
            own => write!(f, "{own:?}"),
        }
    }
}

fn of_replica(mutant: tablestore_replication::Mutant) -> &'static [&'static str] {
    use tablestore_replication::Mutant as Of;
    match mutant {
        // A log that parted from the others may as well never come to rest.
        Of::TruncateByCommitMark | Of::UnknownEpoch => {
            &["agreement", "Stopped", "Durable", "Liveness"]
        }
        Of::ReadBeforeInheritedTail | Of::StaleRoundConfirms => &["real-time", "absence", "page"],
        Of::CommitWithSmallerSet => &["Durable", "Stopped"],
        Of::AckBeforeSync | Of::OwnEntryBeforeSync => &["Durable"],
        Of::LeapingClock => &["Clock"],
    }
}

fn of_active(mutant: tablestore_replication::active::Mutant) -> &'static [&'static str] {
    use tablestore_replication::active::Mutant as Of;
    match mutant {
        // The others do not take what is below the floor: they never become the same.
        Of::HintAfterTombstoneGc => &["active-returned", "active-stale", "Liveness"],
        Of::RestampedLateVersion => &["active-stamp"],
        Of::HintCountsTowardsW | Of::UnsyncedCountsTowardsW => &["active-unsynced"],
    }
}

fn of_plane(mutant: tablestore_dataplane::Mutant) -> &'static [&'static str] {
    use tablestore_dataplane::Mutant as Of;
    // Rows that are not those of the log show in reads, in outcomes and where copies are compared.
    let rows: &[&str] = &[
        "copies",
        "Copies",
        "agreement",
        "replay",
        "page",
        "moment",
        "real-time",
        "absence",
    ];
    match mutant {
        Of::ForeignChunks | Of::ReplicaWithGapServed => rows,
        // A copy may lack what the next entry needs: then it never comes to rest.
        Of::ChunkLostUnnoticed => &["copies", "Copies", "agreement", "replay", "Liveness"],
        Of::SideRecordsLost => &["one-effect"],
        Of::AnswersToEarlierStart => &["acknowledged", "foreign-answer", "one-effect"],
        Of::FrameOverLimit => &["Wire"],
        Of::JobDropped | Of::ForgottenCrowd => &["Liveness"],
        // Where a majority deletes a partition, it is never well again.
        Of::UnknownPartitionDeleted => &["agreement", "Stopped", "Durable", "Liveness"],
        Of::StarvedFlush => &["Flush"],
        // A replica must come back to its machine, or a connection be made anew, within the time
        // of one sync or one message, and a crash follow just then.
        Of::OldLifeSync | Of::StaleLink => &[],
        Of::OwnedOutcomeForgotten => &["not-applied"],
        Of::ClockBoundForgotten => &["active-stamp"],
    }
}
