//! Who serves a partition of an active table, and when enough of them have answered. Knows nothing
//! of messages and time.

use std::collections::BTreeSet;

use tablestore_placement::{Epoch, StorageId};

/// How many replicas of a set must have answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quorum {
    /// More than half.
    #[default]
    Majority,
    /// So many, at least one.
    Count(u32),
}

impl Quorum {
    fn of(self, replicas: usize) -> usize {
        match self {
            Self::Majority => replicas / 2 + 1,
            Self::Count(count) => (count as usize).max(1),
        }
    }
}

/// What the map says of a partition. While its replicas change it names two sets, and a quorum
/// has to be met in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// One more whenever a set changes.
    pub epoch: Epoch,
    /// The replicas, ascending.
    pub current: Vec<StorageId>,
    /// The replicas after the change that is under way, ascending; otherwise empty.
    pub next: Vec<StorageId>,
}

impl View {
    /// All replicas of both sets.
    #[must_use]
    pub fn members(&self) -> BTreeSet<StorageId> {
        self.current.iter().chain(&self.next).copied().collect()
    }

    /// Whether the members that answered are enough in each set.
    #[must_use]
    pub fn is_met(&self, quorum: Quorum, answered: &BTreeSet<StorageId>) -> bool {
        let mut sets = [&self.current, &self.next].into_iter();
        !self.current.is_empty()
            && sets.all(|set| {
                let count = set.iter().filter(|member| answered.contains(member));
                set.is_empty() || count.count() >= quorum.of(set.len())
            })
    }

    /// Whether the quorum can be met at all.
    #[must_use]
    pub fn is_possible(&self, quorum: Quorum) -> bool {
        self.is_met(quorum, &self.members())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subsets(of: &[StorageId]) -> impl Iterator<Item = BTreeSet<StorageId>> + '_ {
        (0u32..1 << of.len()).map(move |bits| {
            let members = of.iter().enumerate();
            let chosen = members.filter(move |(at, _)| bits >> at & 1 == 1);
            chosen.map(|(_, member)| *member).collect()
        })
    }

    #[test]
    fn two_majorities_meet_in_each_set_also_across_a_change() {
        let all: Vec<StorageId> = (1..=5).map(StorageId).collect();
        let before = View {
            epoch: Epoch(1),
            current: all[..3].to_vec(),
            next: Vec::new(),
        };
        let change = View {
            epoch: Epoch(2),
            next: all[2..].to_vec(),
            ..before.clone()
        };
        let after = View {
            epoch: Epoch(3),
            current: all[2..].to_vec(),
            next: Vec::new(),
        };
        let five = View {
            epoch: Epoch(4),
            current: all.clone(),
            next: Vec::new(),
        };
        let one_leaves = View {
            epoch: Epoch(5),
            next: all[..4].to_vec(),
            ..five.clone()
        };
        let four = View {
            epoch: Epoch(6),
            current: all[..4].to_vec(),
            next: Vec::new(),
        };
        for (one, other) in [
            (&before, &change),
            (&change, &change),
            (&change, &after),
            (&five, &one_leaves),
            (&one_leaves, &one_leaves),
            (&one_leaves, &four),
        ] {
            for writers in subsets(&all).filter(|set| one.is_met(Quorum::Majority, set)) {
                for readers in subsets(&all).filter(|set| other.is_met(Quorum::Majority, set)) {
                    assert!(!writers.is_disjoint(&readers), "{writers:?} {readers:?}");
                }
            }
        }
        assert!(!before.is_possible(Quorum::Count(4)));
        assert!(!View::default().is_possible(Quorum::Count(1)));
    }
}
