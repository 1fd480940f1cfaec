//! The rules that a run with an active table must keep. Knows nothing of how a breach is found.

use std::fmt;

/// What must hold. The names are stable: a deliberate bug names the one it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// What was acknowledged by a majority is there, or hidden by something newer.
    Lost,
    /// What a majority deleted does not come back.
    Returned,
    /// A majority shows nothing older than what was acknowledged by one before.
    Stale,
    /// What is read or kept was written by somebody, to that row.
    Foreign,
    /// A write has one version and a version one write, and those of a node grow.
    Stamp,
    /// Acknowledged is what so many replicas have on their disks as were asked for.
    Unsynced,
    /// At rest all replicas are the same.
    Differ,
}

impl Rule {
    /// Its short name, which never changes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "active-lost",
            Self::Returned => "active-returned",
            Self::Stale => "active-stale",
            Self::Foreign => "active-foreign",
            Self::Stamp => "active-stamp",
            Self::Unsynced => "active-unsynced",
            Self::Differ => "active-differ",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "what was acknowledged is gone",
            Self::Returned => "what was deleted is back",
            Self::Stale => "a majority shows what was overwritten",
            Self::Foreign => "nobody wrote that to this row",
            Self::Stamp => "versions are not one to a write, or do not grow",
            Self::Unsynced => "too few disks have what was acknowledged",
            Self::Differ => "replicas at rest differ",
        })
    }
}

/// The rule and the particulars.
pub(crate) type Breach = (Rule, String);
