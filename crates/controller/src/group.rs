//! Who belongs to the raft group: every member of the map as learner or voter. Says the next single
//! step towards that.
//!
//! Knows nothing of how the group is changed.

use std::collections::{BTreeMap, BTreeSet};

use tablestore_placement::{ClusterMap, Member, MemberState, StorageId};

/// Voters of the raft group at most, unless an operator says otherwise; all other members learn.
pub const VOTERS_MAX: usize = 5;
/// A learner this far behind is not made a voter.
const LAG_MAX: u64 = 64;

/// Whether a node that has the log up to `matched` of `last` has nearly everything.
#[must_use]
pub fn has_caught_up(matched: u64, last: u64) -> bool {
    matched.saturating_add(LAG_MAX) >= last
}

/// What the leader knows about the raft group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The leader.
    pub me: StorageId,
    /// Who votes.
    pub voters: BTreeSet<StorageId>,
    /// All nodes, voters included, with their addresses.
    pub nodes: BTreeMap<StorageId, String>,
    /// A change has been begun and not finished.
    pub in_change: bool,
    /// Learners that are connected and have nearly everything.
    pub caught_up: BTreeSet<StorageId>,
    /// Voters that are down for longer than one waits before replacing.
    pub long_dead: BTreeSet<StorageId>,
}

/// One change of the raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupStep {
    /// Finish a change that an earlier leader began.
    Finish,
    /// The member learns from now on.
    AddLearner(StorageId, String),
    /// The node has moved.
    SetAddress(StorageId, String),
    /// The learner votes from now on.
    Promote(StorageId),
    /// A new voter for an old one, in one change.
    Replace {
        /// The voter that votes no more.
        old: StorageId,
        /// The learner that votes instead.
        new: StorageId,
    },
    /// A voter that left and that nobody replaces.
    Demote(StorageId),
    /// The node is no member any more.
    Remove(StorageId),
    /// This node has left the cluster and must not lead.
    HandOver,
}

/// The next step, or none if the group fits.
#[must_use]
pub fn next_step(map: &ClusterMap, group: &Group, voters_max: usize) -> Option<GroupStep> {
    if group.in_change {
        return Some(GroupStep::Finish);
    }
    let belongs = |id: StorageId| {
        let member = map.members.get(&id);
        member.is_some_and(|member| member.state != MemberState::Left) && !map.retired.contains(&id)
    };
    let members = map
        .members
        .values()
        .filter(|member| belongs(member.storage));
    for member in members {
        match group.nodes.get(&member.storage) {
            None => {
                return Some(GroupStep::AddLearner(
                    member.storage,
                    member.peer_address.clone(),
                ));
            }
            Some(address) if *address != member.peer_address => {
                return Some(GroupStep::SetAddress(
                    member.storage,
                    member.peer_address.clone(),
                ));
            }
            Some(_) => {}
        }
    }
    let candidate = best_learner(map, group);
    if let Some(gone) = group.voters.iter().copied().find(|id| !belongs(*id)) {
        return Some(match candidate {
            _ if gone == group.me && group.voters.len() > 1 => GroupStep::HandOver,
            Some(new) => GroupStep::Replace { old: gone, new },
            None if group.voters.len() > 1 => GroupStep::Demote(gone),
            None => return None,
        });
    }
    if let Some(new) = candidate {
        if group.voters.len() < voters_max {
            return Some(GroupStep::Promote(new));
        }
        let dead = group
            .long_dead
            .iter()
            .copied()
            .find(|id| group.voters.contains(id));
        if let Some(old) = dead.or_else(|| crowded(map, group, new)) {
            return Some(GroupStep::Replace { old, new });
        }
    }
    let learners = group
        .nodes
        .keys()
        .copied()
        .filter(|id| !group.voters.contains(id));
    learners
        .into_iter()
        .find(|id| !belongs(*id))
        .map(GroupStep::Remove)
}

/// How many voters fail together with a member that votes, or would vote, itself not counted.
fn crowd(map: &ClusterMap, group: &Group, member: &Member) -> usize {
    let beside = |id: &&StorageId| {
        let other = map.members.get(id);
        let domain = other.map(Member::failure_domain);
        **id != member.storage && domain == Some(member.failure_domain())
    };
    group.voters.iter().filter(beside).count()
}

/// The learner that would make the best voter: up, caught up, in the zone with the fewest voters.
fn best_learner(map: &ClusterMap, group: &Group) -> Option<StorageId> {
    let eligible = map.members.values().filter(|member| {
        let id = member.storage;
        member.state == MemberState::Up
            && group.nodes.contains_key(&id)
            && !group.voters.contains(&id)
            && group.caught_up.contains(&id)
    });
    eligible
        .min_by_key(|member| (crowd(map, group, member), member.storage))
        .map(|member| member.storage)
}

/// A voter of a zone that has more voters than the learner's would have with that: nodes become
/// voters as they come, and the first few may come from one zone. Each such step makes the spread
/// more even, so they end.
fn crowded(map: &ClusterMap, group: &Group, learner: StorageId) -> Option<StorageId> {
    let fewest = crowd(map, group, map.members.get(&learner)?);
    let voters = group.voters.iter().filter(|id| **id != group.me);
    let voters = voters.filter_map(|id| map.members.get(id));
    let crowds = voters.map(|member| (crowd(map, group, member), member.storage));
    let (most, voter) = crowds.max()?;
    (most > fewest).then_some(voter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::Incarnation;

    fn ids(ids: &[u64]) -> BTreeSet<StorageId> {
        ids.iter().copied().map(StorageId).collect()
    }

    fn member(id: u64, zone: &str, state: MemberState) -> Member {
        Member {
            storage: StorageId(id),
            name: format!("n{id}"),
            http_address: String::new(),
            peer_address: format!("127.0.0.1:{id}"),
            zone: zone.to_owned(),
            weight: 1,
            start: 0,
            incarnation: Incarnation(1),
            boot: 1,
            state,
            since_ms: 0,
            replaced_by: None,
            drains: false,
        }
    }

    fn map(members: &[(u64, &str, MemberState)]) -> ClusterMap {
        let mut map = ClusterMap::empty();
        for (id, zone, state) in members {
            map.members
                .insert(StorageId(*id), member(*id, zone, *state));
        }
        map
    }

    /// Node 1 leads, all are connected and caught up.
    fn group(voters: &[u64], learners: &[u64]) -> Group {
        let all = voters.iter().chain(learners);
        Group {
            me: StorageId(1),
            voters: ids(voters),
            nodes: all
                .clone()
                .map(|id| (StorageId(*id), format!("127.0.0.1:{id}")))
                .collect(),
            caught_up: all.copied().map(StorageId).collect(),
            ..Group::default()
        }
    }

    use MemberState::{Down, Left, Up};

    #[test]
    fn a_new_member_learns_first_and_votes_when_it_has_caught_up() {
        let map = map(&[(1, "", Up), (2, "", Up)]);
        let step = next_step(&map, &group(&[1], &[]), 5);
        assert_eq!(
            step,
            Some(GroupStep::AddLearner(
                StorageId(2),
                "127.0.0.1:2".to_owned()
            ))
        );
        let mut learning = group(&[1], &[2]);
        learning.caught_up.clear();
        assert_eq!(next_step(&map, &learning, 5), None);
        assert_eq!(
            next_step(&map, &group(&[1], &[2]), 5),
            Some(GroupStep::Promote(StorageId(2)))
        );
        assert_eq!(next_step(&map, &group(&[1, 2], &[]), 5), None);
    }

    #[test]
    fn voters_are_spread_over_zones() {
        let map = map(&[
            (1, "r/a", Up),
            (2, "r/a", Up),
            (3, "r/b", Up),
            (4, "r/c", Up),
        ]);
        let step = next_step(&map, &group(&[1], &[2, 3, 4]), 3);
        assert_eq!(step, Some(GroupStep::Promote(StorageId(3))));
        let step = next_step(&map, &group(&[1, 3], &[2, 4]), 3);
        assert_eq!(step, Some(GroupStep::Promote(StorageId(4))));
        assert_eq!(next_step(&map, &group(&[1, 3, 4], &[2]), 3), None);
    }

    #[test]
    fn voters_of_one_zone_give_way_to_learners_of_others() {
        let map = map(&[
            (1, "r/a", Up),
            (2, "r/a", Up),
            (3, "r/b", Up),
            (4, "r/b", Up),
            (5, "r/c", Up),
            (6, "r/c", Up),
        ]);
        let replace = |old, new| {
            let (old, new) = (StorageId(old), StorageId(new));
            Some(GroupStep::Replace { old, new })
        };
        // As they came: both of the first zone vote.
        let crowded = group(&[1, 2, 3], &[4, 5, 6]);
        assert_eq!(next_step(&map, &crowded, 3), replace(2, 5));
        assert_eq!(next_step(&map, &group(&[1, 3, 5], &[2, 4, 6]), 3), None);
        // The leader stays, and five cannot be spread better over three zones.
        let first = group(&[1, 2, 3, 4, 5], &[6]);
        assert_eq!(next_step(&map, &first, 5), None);
        let busy = Group {
            in_change: true,
            ..crowded
        };
        assert_eq!(next_step(&map, &busy, 3), Some(GroupStep::Finish));
    }

    #[test]
    fn a_voter_without_a_zone_is_alone_in_its_own() {
        let map = map(&[(1, "r/a", Up), (2, "r/a", Up), (3, "", Up), (4, "", Up)]);
        let step = next_step(&map, &group(&[1, 2, 3], &[4]), 3);
        let (old, new) = (StorageId(2), StorageId(4));
        assert_eq!(step, Some(GroupStep::Replace { old, new }));
        assert_eq!(next_step(&map, &group(&[1, 3, 4], &[2]), 3), None);
    }

    #[test]
    fn a_dead_voter_is_replaced_late_and_only_by_a_learner() {
        let map = map(&[(1, "", Up), (2, "", Down), (3, "", Up), (4, "", Up)]);
        let full = group(&[1, 2, 3], &[4]);
        assert_eq!(next_step(&map, &full, 3), None);
        let dead = Group {
            long_dead: ids(&[2]),
            ..full
        };
        assert_eq!(
            next_step(&map, &dead, 3),
            Some(GroupStep::Replace {
                old: StorageId(2),
                new: StorageId(4)
            })
        );
        let nobody = Group {
            caught_up: ids(&[1, 3]),
            ..dead
        };
        assert_eq!(
            next_step(&map, &nobody, 3),
            None,
            "voters never become fewer by it"
        );
    }

    #[test]
    fn who_left_is_replaced_or_else_removed() {
        let three = map(&[(1, "", Up), (2, "", Left), (3, "", Up)]);
        let step = next_step(&three, &group(&[1, 2], &[3]), 2);
        assert_eq!(
            step,
            Some(GroupStep::Replace {
                old: StorageId(2),
                new: StorageId(3)
            })
        );
        assert_eq!(
            next_step(&three, &group(&[1, 3], &[2]), 2),
            Some(GroupStep::Remove(StorageId(2)))
        );
        let lonely = map(&[(1, "", Up), (2, "", Left)]);
        assert_eq!(
            next_step(&lonely, &group(&[1, 2], &[]), 5),
            Some(GroupStep::Demote(StorageId(2)))
        );
    }

    #[test]
    fn a_leader_that_left_hands_over_first() {
        let map = map(&[(1, "", Left), (2, "", Up), (3, "", Up)]);
        assert_eq!(
            next_step(&map, &group(&[1, 2, 3], &[]), 5),
            Some(GroupStep::HandOver)
        );
    }

    #[test]
    fn l11_an_unfinished_change_is_finished_before_anything_else() {
        let map = map(&[(1, "", Up), (2, "", Up)]);
        let halfway = Group {
            in_change: true,
            ..group(&[1], &[])
        };
        assert_eq!(next_step(&map, &halfway, 5), Some(GroupStep::Finish));
    }

    #[test]
    fn a_node_that_moved_is_followed() {
        let map = map(&[(1, "", Up)]);
        let mut moved = group(&[1], &[]);
        moved.nodes.insert(StorageId(1), "127.0.0.1:99".to_owned());
        let step = next_step(&map, &moved, 5);
        assert_eq!(
            step,
            Some(GroupStep::SetAddress(
                StorageId(1),
                "127.0.0.1:1".to_owned()
            ))
        );
    }
}
