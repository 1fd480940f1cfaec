//! The deliberate faults of owners that the simulation must find. What a server does is in
//! `crates/owned` and its host, whose place a model takes here: these are faults of the model, and
//! show that the judge can see what the server's code is there to prevent. No server has them.

use std::fmt;

/// A deliberate fault of an owner, or of what it does with its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerMutant {
    /// It opens without having its office confirmed, and claims whatever epoch is the next.
    OwnerOpensLate,
    /// It acknowledges before its object is created.
    AcknowledgedBeforeStored,
    /// It takes whatever object is in the place of its own for its own.
    ForeignObjectTakenForOwn,
    /// It answers strong reads though nobody has confirmed its office since they came.
    OwnerReadUnconfirmed,
    /// It begins without the requests that former owners carried out.
    InheritedResultsLost,
    /// The log is folded at every write, and the marks of former owners are deleted with it.
    MarksCollected,
}

impl OwnerMutant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::OwnerOpensLate,
        Self::AcknowledgedBeforeStored,
        Self::ForeignObjectTakenForOwn,
        Self::OwnerReadUnconfirmed,
        Self::InheritedResultsLost,
        Self::MarksCollected,
    ];

    pub(crate) fn rules(self) -> &'static [&'static str] {
        let stale: &[&str] = &["real-time", "absence", "page"];
        match self {
            Self::OwnerOpensLate | Self::OwnerReadUnconfirmed => stale,
            // What was acknowledged early may be looked for before it is there.
            Self::AcknowledgedBeforeStored => &["acknowledged", "real-time", "absence", "page"],
            Self::ForeignObjectTakenForOwn | Self::MarksCollected => &["acknowledged", "gap"],
            Self::InheritedResultsLost => &["one-effect"],
        }
    }
}

impl fmt::Display for OwnerMutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
