//! The deliberate faults that the simulation must find, of all crates that have some.

use std::fmt;

/// A deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Of a replica.
    Replica(tablestore_replication::Mutant),
    /// Of a data plane.
    Plane(tablestore_dataplane::Mutant),
    /// A node starts with what is left of its raft log.
    ShortenedLogAccepted,
    /// A decision says nothing of the term and the map that it was made under.
    DeposedControllerDecides,
}

impl Mutant {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let replica = tablestore_replication::Mutant::ALL.into_iter();
        let plane = tablestore_dataplane::Mutant::ALL.into_iter();
        let own = [Self::ShortenedLogAccepted, Self::DeposedControllerDecides];
        let all = replica.map(Self::Replica).chain(plane.map(Self::Plane));
        all.chain(own).collect()
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(mutant) => write!(f, "{mutant:?}"),
            Self::Plane(mutant) => write!(f, "{mutant:?}"),
            own => write!(f, "{own:?}"),
        }
    }
}
