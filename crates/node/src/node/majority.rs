//! What a node says when it reaches no majority of the voters: who is missing, since when, and what
//! it can still serve. Nothing is decided by it.

use std::time::Duration;

use tablestore_consensus::Reached;
use tablestore_contract::{Majority, MissingVoter};
use tablestore_placement::{ClusterMap, StorageId};

use super::{Node, wall_ms};
use crate::api::{NotAppliedReason, RequestError};
use crate::http::Standing;

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn name(map: &ClusterMap, storage: StorageId) -> String {
    let member = map.members.get(&storage);
    member.map_or_else(|| storage.to_string(), |member| member.name.clone())
}

/// The voters as a node reaches them, for people and programs.
fn shown(map: &ClusterMap, reached: &Reached) -> Option<Majority> {
    if reached.voters.is_empty() {
        return None;
    }
    let missing = reached.missing.iter();
    Some(Majority {
        reached: reached.lost_for.is_none(),
        voters: count(reached.voters.len()),
        answering: count(reached.voters.len() - reached.missing.len()),
        missing: missing
            .map(|(voter, silent)| MissingVoter {
                node: name(map, *voter),
                id: voter.to_string(),
                silent_ms: silent.map(ms),
            })
            .collect(),
        lost_ms: reached.lost_for.map(ms),
    })
}

/// For how long a member has not been reached, where no majority is either.
fn silence(reached: &Reached, member: StorageId, is_linked: bool) -> Option<Duration> {
    let lost_for = reached.lost_for?;
    if !reached.voters.contains(&member) {
        return (!is_linked).then_some(lost_for);
    }
    let mut missing = reached.missing.iter();
    let (_, silent) = missing.find(|(voter, _)| *voter == member)?;
    Some(silent.unwrap_or(lost_for))
}

/// In words; nothing where a majority is reached.
pub(crate) fn in_words(majority: &Majority) -> Option<String> {
    if majority.reached {
        return None;
    }
    let missing = majority.missing.iter().map(|voter| match voter.silent_ms {
        Some(ms) => format!("{} silent for {} s", voter.node, ms / 1000),
        None => format!("{} not heard since this node started", voter.node),
    });
    let missing: Vec<String> = missing.collect();
    Some(format!(
        "this node reaches {} of {} voters ({}): without a majority nothing can be confirmed, \
         taken over or changed",
        majority.answering,
        majority.voters,
        missing.join(", "),
    ))
}

impl Node {
    /// The voters as this node reaches them, known within two seconds; none before it knows any.
    #[must_use]
    pub fn majority(&self) -> Option<Majority> {
        shown(&self.map(), &self.shared.consensus.reached())
    }

    /// Why this node cannot serve all that is asked of it, if it reaches no majority; and what it
    /// still serves.
    pub(super) fn no_majority(&self) -> Option<String> {
        let cause = in_words(&self.majority()?)?;
        let map = self.map();
        let kept = map.partitions();
        let kept = kept.filter(|(.., held)| held.replicas.contains(&self.me()));
        Some(format!(
            "{cause}; eventual reads of the {} partitions that it keeps are served",
            kept.count()
        ))
    }

    /// How this node stands to the others.
    pub(super) fn standing(&self) -> Standing {
        let (consensus, map) = (&self.shared.consensus, self.map());
        let reached = consensus.reached();
        let others = map.members.keys().filter(|member| **member != self.me());
        let unreachable = others.filter_map(|member| {
            let silent = silence(&reached, *member, consensus.peers().is_up(*member))?;
            Some((*member, wall_ms().saturating_sub(ms(silent))))
        });
        Standing {
            // A leader that no majority follows decides nothing.
            controller: match reached.lost_for {
                None => consensus.leader(),
                Some(_) => None,
            },
            voters: consensus.voters(),
            majority: shown(&map, &reached),
            unreachable: unreachable.collect(),
        }
    }

    /// The error with what is behind it, if that is that this node reaches no majority.
    pub(super) fn with_cause(&self, error: RequestError) -> RequestError {
        let partition = match &error {
            RequestError::NotApplied {
                reason:
                    NotAppliedReason::NotEnoughReplicas
                    | NotAppliedReason::NoPrimary
                    | NotAppliedReason::Deadline,
                partition,
            }
            | RequestError::OutcomeUnknown {
                partition,
                cause: None,
            } => *partition,
            RequestError::NoController => None,
            _ => return error,
        };
        let Some(cause) = self.majority().as_ref().and_then(in_words) else {
            return error;
        };
        match error {
            RequestError::OutcomeUnknown { partition, .. } => RequestError::OutcomeUnknown {
                partition,
                cause: Some(cause),
            },
            _ => RequestError::NoMajority { partition, cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use tablestore_placement::testing::cluster;

    use super::*;

    #[test]
    fn who_is_missing_is_named_with_the_time_since_it_was_heard() {
        let map = cluster(&[("a", 1), ("b", 1), ("c", 1)]);
        let ids: Vec<StorageId> = map.members.keys().copied().collect();
        let mut reached = Reached::default();
        assert_eq!(shown(&map, &reached), None);
        reached.voters = ids.iter().copied().collect();
        let all = shown(&map, &reached).expect("there are voters");
        assert_eq!((all.voters, all.answering, all.reached), (3, 3, true));
        assert_eq!(in_words(&all), None);
        let nine = Duration::from_secs(9);
        reached.missing = vec![(ids[1], Some(nine)), (ids[2], None)];
        reached.lost_for = Some(nine);
        let lost = shown(&map, &reached).expect("there are voters");
        assert_eq!(lost.lost_ms, Some(9_000));
        let told = in_words(&lost).expect("a majority is lost");
        let start = "this node reaches 1 of 3 voters (n2 silent for 9 s, n3 not heard since this \
                     node started): ";
        assert!(told.starts_with(start), "{told}");
    }
}
