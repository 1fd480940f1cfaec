//! When a start of a member counts as gone: the one rule for everybody who acts at once, before any
//! time has run out.
//!
//! Silence is judged elsewhere ([`crate::Hearing`], `tablestore_health`). Knows nothing of how the
//! signs are seen.

use std::collections::BTreeMap;

use tablestore_placement::{Incarnation, StorageId};

/// Something seen of a member that may mean that a start of it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// An established connection to this start ended, and two reconnects in a row to the same
    /// literal address were refused.
    RefusedTwice(Incarnation),
    /// It greeted with this start, which is a new one.
    StartedAnew {
        /// The new start.
        incarnation: Incarnation,
        /// Whether the machine did not restart: only then it is certain that the process before is
        /// gone (the directory is locked).
        same_boot: bool,
    },
    /// This node, warned, has looked at it.
    Looked {
        /// The start that it was known with.
        known: Incarnation,
        /// What was there.
        found: Look,
    },
}

/// What a look at a member's address found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing listens.
    Refused,
    /// It answered, with this start.
    Alive(Incarnation),
    /// Neither; this says nothing.
    Unknown,
}

impl Sign {
    /// Whether it is a reason to look for another leader, if the member leads: every voter looks
    /// for itself before it gives its vote, so a hint is enough.
    #[must_use]
    pub fn is_hint(self) -> bool {
        match self {
            Self::RefusedTwice(_) | Self::StartedAnew { .. } => true,
            Self::Looked { known, found } => match found {
                Look::Refused => true,
                Look::Alive(start) => start > known,
                Look::Unknown => false,
            },
        }
    }

    /// The last start that is gone for the controller, which has the offices of a member taken over
    /// because of it.
    #[must_use]
    pub fn convicts(self) -> Option<Incarnation> {
        match self {
            Self::RefusedTwice(incarnation) => Some(incarnation),
            Self::StartedAnew {
                incarnation,
                same_boot: true,
            } => Some(Incarnation(incarnation.0.saturating_sub(1))),
            Self::StartedAnew { .. } | Self::Looked { .. } => None,
        }
    }
}

/// Starts that were seen gone. Kept whoever leads, so that a new controller knows at once.
#[derive(Clone, Debug, Default)]
pub struct Gone(BTreeMap<StorageId, (Incarnation, u64)>);

impl Gone {
    /// Notes what was seen at this wall-clock time; says whether it convicts a start.
    pub fn note(&mut self, storage: StorageId, sign: Sign, at_ms: u64) -> bool {
        let Some(incarnation) = sign.convicts() else {
            return false;
        };
        let before = self.0.get(&storage);
        if before.is_none_or(|(before, _)| *before <= incarnation) {
            self.0.insert(storage, (incarnation, at_ms));
        }
        true
    }

    /// When this start, or a later one, was seen gone, in wall-clock milliseconds.
    #[must_use]
    pub fn seen_at_ms(&self, storage: StorageId, incarnation: Incarnation) -> Option<u64> {
        let (gone, at_ms) = self.0.get(&storage)?;
        (*gone >= incarnation).then_some(*at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: StorageId = StorageId(2);

    #[test]
    fn what_makes_a_voter_look_for_a_leader_need_not_cost_a_member_its_offices() {
        let anew = |same_boot| Sign::StartedAnew {
            incarnation: Incarnation(7),
            same_boot,
        };
        let looked = |found| Sign::Looked {
            known: Incarnation(6),
            found,
        };
        let rule = [
            (Sign::RefusedTwice(Incarnation(6)), true, Some(6)),
            (anew(true), true, Some(6)),
            (anew(false), true, None),
            (looked(Look::Refused), true, None),
            (looked(Look::Alive(Incarnation(7))), true, None),
            (looked(Look::Alive(Incarnation(6))), false, None),
            (looked(Look::Unknown), false, None),
        ];
        for (sign, hint, convicted) in rule {
            assert_eq!(sign.is_hint(), hint, "{sign:?}");
            assert_eq!(sign.convicts(), convicted.map(Incarnation), "{sign:?}");
        }
    }

    #[test]
    fn a_start_that_is_gone_stays_gone_and_a_later_one_is_not_touched() {
        let mut gone = Gone::default();
        assert!(gone.note(MEMBER, Sign::RefusedTwice(Incarnation(6)), 10));
        assert_eq!(gone.seen_at_ms(MEMBER, Incarnation(6)), Some(10));
        assert_eq!(gone.seen_at_ms(MEMBER, Incarnation(5)), Some(10));
        assert_eq!(gone.seen_at_ms(MEMBER, Incarnation(7)), None);
        gone.note(MEMBER, Sign::RefusedTwice(Incarnation(4)), 20);
        assert_eq!(gone.seen_at_ms(MEMBER, Incarnation(6)), Some(10));
    }
}
