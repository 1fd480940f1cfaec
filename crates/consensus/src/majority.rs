//! Whether this node reaches a majority of the voters, and who is missing since when: for people,
//! who must know that nothing can be confirmed or changed. Knows nothing of clocks and pings, and
//! nothing is decided by it.

use std::collections::BTreeSet;
use std::time::Duration;

use tablestore_placement::StorageId;

/// A voter that has answered for so long no ping is missing. Longer than any pause of the way that
/// is no failure, and short enough to be known within two seconds.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// For how long a voter has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silence {
    /// Since its last answer, or since it was first asked.
    pub(super) lasts: Duration,
    /// Whether it has ever answered.
    pub(super) answered: bool,
}

/// The voters as one node reaches them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// All voters.
    pub voters: BTreeSet<StorageId>,
    /// Those that do not answer, each with how long ago it last did; nothing if it has not since
    /// this node started.
    pub missing: Vec<(StorageId, Option<Duration>)>,
    /// How long ago a majority answered last; nothing while one does.
    pub lost_for: Option<Duration>,
}

impl Reached {
    /// What follows for `me` from the silence of each other voter. `configs` are the voters, and
    /// during a change those before and those after it: it takes a majority of each.
    pub(super) fn of(
        me: StorageId,
        configs: &[BTreeSet<StorageId>],
        silence: impl Fn(StorageId) -> Silence,
    ) -> Self {
        let voters: BTreeSet<StorageId> = configs.iter().flatten().copied().collect();
        let lasts = |voter: StorageId| match voter == me {
            true => Duration::ZERO,
            false => silence(voter).lasts,
        };
        let missing = voters
            .iter()
            .filter(|voter| lasts(**voter) > ANSWERS_WITHIN);
        let last_majority = |config: &BTreeSet<StorageId>| {
            let all = config.iter();
            let mut silences: Vec<Duration> = all.map(|voter| lasts(*voter)).collect();
            silences.sort_unstable();
            silences.get(config.len() / 2).copied()
        };
        let lost_for = configs.iter().filter_map(last_majority).max();
        Self {
            missing: missing
                .map(|voter| {
                    let silence = silence(*voter);
                    (*voter, silence.answered.then_some(silence.lasts))
                })
                .collect(),
            lost_for: lost_for.filter(|lost| *lost > ANSWERS_WITHIN),
            voters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: StorageId = StorageId(1);
    /// Since when those are asked that never answered.
    const ASKED: Duration = Duration::from_secs(60);

    fn of(configs: &[&[u64]], silences: &[(u64, u64)]) -> Reached {
        let config = |ids: &&[u64]| ids.iter().copied().map(StorageId).collect();
        let configs: Vec<BTreeSet<StorageId>> = configs.iter().map(config).collect();
        Reached::of(ME, &configs, |voter| {
            let known = silences.iter().find(|(id, _)| StorageId(*id) == voter);
            Silence {
                lasts: known.map_or(ASKED, |(_, ms)| Duration::from_millis(*ms)),
                answered: known.is_some(),
            }
        })
    }

    #[test]
    fn one_of_three_is_no_majority_since_the_second_one_fell_silent() {
        let reached = of(&[&[1, 2, 3]], &[(2, 20), (3, 9_000)]);
        assert_eq!(reached.lost_for, None);
        let third = (StorageId(3), Some(Duration::from_secs(9)));
        assert_eq!(reached.missing, [third]);
        let reached = of(&[&[1, 2, 3]], &[(2, 4_000), (3, 9_000)]);
        assert_eq!(reached.lost_for, Some(Duration::from_secs(4)));
        assert_eq!(reached.missing.len(), 2);
    }

    #[test]
    fn who_never_answered_is_missing_since_it_was_first_asked() {
        let reached = of(&[&[1, 2]], &[]);
        assert_eq!(reached.missing, [(StorageId(2), None)]);
        assert_eq!(reached.lost_for, Some(ASKED));
    }

    #[test]
    fn a_node_that_does_not_vote_counts_the_others_alone() {
        assert_eq!(of(&[&[2, 3, 4]], &[(2, 5), (3, 5)]).lost_for, None);
        let lost = of(&[&[2, 3, 4]], &[(2, 5), (3, 2_000)]).lost_for;
        assert_eq!(lost, Some(Duration::from_secs(2)));
    }

    #[test]
    fn during_a_change_of_voters_it_takes_a_majority_of_both_sets() {
        let answered = [(2, 5), (3, 5), (4, 3_000), (5, 3_000)];
        assert_eq!(of(&[&[1, 2, 3]], &answered).lost_for, None);
        let lost = of(&[&[1, 2, 3], &[1, 4, 5]], &answered).lost_for;
        assert_eq!(lost, Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_only_voter_is_its_own_majority() {
        assert_eq!(of(&[&[1]], &[]).lost_for, None);
        assert_eq!(of(&[], &[]), Reached::default());
    }
}
