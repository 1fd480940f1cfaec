//! The rule by which a node suspects itself. Knows nothing about how others were reached.

use std::collections::BTreeSet;

/// How many of the voters a node reaches, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Voters that are reached; the node itself counts if it is one.
    pub reached: usize,
    /// All voters.
    pub voters: usize,
}

impl Reach {
    /// Whether the node should doubt itself rather than the others: fewer than a majority.
    ///
    /// Without voters nobody can be in the majority, so the answer is yes.
    pub fn suspects_itself(self) -> bool {
        self.reached * 2 <= self.voters
    }
}

/// Counts whom of `voters` the node `me` reaches, given the nodes it `reaches` otherwise.
pub fn reach<'a, N: Ord + 'a>(
    me: &N,
    voters: &BTreeSet<N>,
    reaches: impl IntoIterator<Item = &'a N>,
) -> Reach {
    let mut reached: BTreeSet<&N> = reaches
        .into_iter()
        .filter(|n| voters.contains(*n))
        .collect();
    if let Some(own) = voters.get(me) {
        reached.insert(own);
    }
    Reach {
        reached: reached.len(),
        voters: voters.len(),
    }
}
