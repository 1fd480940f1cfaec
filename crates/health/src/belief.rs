//! What may be believed of a node. Knows nothing about how it was concluded.

use core::fmt;
use std::time::Duration;

/// What is believed of one incarnation of a node at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Belief {
    /// Nothing is known of it.
    Unknown,
    /// It answers and it works.
    Alive,
    /// It answers, and its oldest work does not finish: others should take its offices.
    Stalled {
        /// When that was first seen.
        since: Duration,
        /// Age of its oldest work when it last answered.
        age: Duration,
    },
    /// It has been silent for longer than is usual for it; others should be asked to look.
    Suspect {
        /// Since when it is suspect.
        since: Duration,
        /// How unusual the silence is: 8 means that one in 10⁸ would be as long.
        phi: f64,
    },
    /// This incarnation is gone. It never comes back; a later one may.
    Dead {
        /// Since when that is believed.
        since: Duration,
        /// Why.
        why: Death,
    },
}

/// Why an incarnation is believed to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Death {
    /// Its connection closed and its address refused twice in a row.
    CrashHint,
    /// It was silent for too long, or another observer found it silent as well.
    Silence {
        /// For how long it had been silent.
        lasted: Duration,
        /// Whether another observer had confirmed it.
        confirmed: bool,
    },
    /// A later incarnation has been seen.
    Restarted,
}

impl Belief {
    /// Whether it is dead.
    pub fn is_dead(&self) -> bool {
        matches!(self, Self::Dead { .. })
    }
}

impl fmt::Display for Belief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Alive => f.write_str("alive"),
            Self::Stalled { age, .. } => {
                write!(f, "stalled: its oldest work is {} ms old", age.as_millis())
            }
            Self::Suspect { phi, .. } => write!(f, "suspect: silent with phi {phi:.1}"),
            Self::Dead { why, .. } => write!(f, "dead: {why}"),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrashHint => f.write_str("connection closed and two connects in a row refused"),
            Self::Silence { lasted, confirmed } => {
                let who = if *confirmed {
                    "also to another observer"
                } else {
                    "unconfirmed"
                };
                write!(f, "silent for {} ms, {who}", lasted.as_millis())
            }
            Self::Restarted => f.write_str("a later incarnation was seen"),
        }
    }
}
