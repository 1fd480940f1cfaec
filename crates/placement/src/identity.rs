//! What a node shows of its directory before it begins a start, and what a member makes of it.
//!
//! A directory can be an older copy of itself: restored from a backup, or from a snapshot of a
//! machine. Such a node must not count as the one that acknowledged what came later. Pure: knows
//! nothing of connections, files and clocks.

use serde::{Deserialize, Serialize};

use crate::{ClusterMap, Epoch, MapVersion, MemberState, Office, PartitionId, StorageId};

/// What a node found in its directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownDirectory {
    /// The id of the directory.
    pub storage: StorageId,
    /// The start that the cluster took last, as far as the directory knows, and those begun since.
    pub begun: Vec<u64>,
    /// The index of the last entry of its log of the control plane.
    pub last_log_index: Option<u64>,
    /// Where the log of each replica ends; of one that is not to be used, and says so, nothing.
    pub ends: Vec<(PartitionId, Option<u64>)>,
}

/// What a member remembers and the shown directory should have.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// Up to where the member's own replicas know entries to be committed.
    pub commits: Vec<(PartitionId, u64)>,
    /// As primary of these, in this epoch: what the node has acknowledged of their logs.
    pub acknowledged: Vec<(PartitionId, Epoch, u64)>,
    /// As controller: the index up to which the node has acknowledged the log of the control plane.
    pub matched: Option<u64>,
}

/// What a member says about a shown start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenStart {
    /// The version of the map that it went by.
    pub map_version: MapVersion,
    /// It is not the one that this member knows: why not.
    pub older: Option<String>,
    /// Something that it acknowledged is missing in it: what.
    pub behind: Option<String>,
    /// Why the cluster cannot do without this directory; nothing if it can.
    pub needed: Option<String>,
}

/// What a member knows of the others.
#[derive(Debug, Clone, Copy)]
pub struct Others<'a> {
    /// The voters of the control plane.
    pub voters: &'a [StorageId],
    /// The members that it reaches just now, itself included.
    pub reached: &'a [StorageId],
}

/// What a member with this map says.
#[must_use]
pub fn judge(
    map: &ClusterMap,
    others: Others<'_>,
    shown: &ShownDirectory,
    remembered: &Remembered,
) -> SeenStart {
    let older = map.members.get(&shown.storage).and_then(|member| {
        let reason = || {
            format!(
                "the cluster knows incarnation {} of it by a start that this copy has never begun",
                member.incarnation
            )
        };
        (!member.is_of(&shown.begun)).then(reason)
    });
    SeenStart {
        map_version: map.version,
        older,
        behind: behind(map, shown, remembered),
        needed: needed(map, others, shown.storage),
    }
}

/// Whoever is in sync has all that is committed.
fn behind(map: &ClusterMap, shown: &ShownDirectory, remembered: &Remembered) -> Option<String> {
    let (ends, mine) = (remembered.matched, shown.last_log_index);
    if let Some(matched) = ends.filter(|matched| mine.is_none_or(|mine| mine < *matched)) {
        let mine = mine.map_or_else(|| "nothing".to_owned(), |mine| format!("entry {mine}"));
        return Some(format!(
            "its log of the control plane ends with {mine}, and it had acknowledged entry {matched}"
        ));
    }
    let in_sync = |partition: &PartitionId| {
        let assignment = map.assignment(*partition);
        assignment.is_some_and(|a| a.in_sync.contains(&shown.storage))
    };
    let present = |partition: &PartitionId, epoch: Epoch| {
        let assignment = map.assignment(*partition);
        assignment.is_some_and(|a| a.epoch == epoch)
    };
    let commits = remembered.commits.iter().filter(|(of, _)| in_sync(of));
    let acknowledged = &remembered.acknowledged;
    // In a later epoch what was not committed may rightly have been cut.
    let acknowledged = acknowledged
        .iter()
        .filter(|(of, epoch, _)| present(of, *epoch));
    let all = commits
        .map(|(partition, index)| (*partition, *index))
        .chain(acknowledged.map(|(partition, _, index)| (*partition, *index)));
    all.into_iter().find_map(|(partition, index)| {
        let end = match shown.ends.iter().find(|(of, _)| *of == partition) {
            Some((_, end)) => (*end)?,
            None => 0,
        };
        (end < index).then(|| {
            format!(
                "its log of partition {partition} ends with entry {end}, and it had acknowledged \
                 entry {index}"
            )
        })
    })
}

/// Why the cluster needs this very directory, if it does.
fn needed(map: &ClusterMap, others: Others<'_>, storage: StorageId) -> Option<String> {
    let Others { voters, reached } = others;
    let works =
        |other: &StorageId| *other != storage && map.is_live(*other) && reached.contains(other);
    let live = voters.iter().filter(|voter| works(voter)).count();
    if voters.contains(&storage) && live * 2 <= voters.len() {
        return Some(format!(
            "without it only {live} of {} voters are left, which is no majority",
            voters.len()
        ));
    }
    let alone = map.partitions().find(|(_, _, assignment)| {
        let in_sync = &assignment.in_sync;
        in_sync.contains(&storage)
            && !in_sync
                .iter()
                .any(|other| *other != storage && map.is_live(*other))
    });
    alone.map(|(partition, table, _)| {
        format!(
            "partition {} of table {} has no other in-sync replica that lives",
            partition.partition, table.name
        )
    })
}

/// What the answers of all members that could be asked mean together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody objects.
    Current,
    /// It is an older copy, and the cluster can do without it.
    Replaceable {
        /// What is missing in it.
        why: String,
    },
    /// It is an older copy, and the cluster cannot do without it.
    Needed {
        /// What is missing in it.
        why: String,
        /// Why the cluster needs it.
        because: String,
    },
}

/// That a start is unknown is certain, whoever says so. What should be in the logs and whether the
/// directory is needed is said best by who has the newest map.
#[must_use]
pub fn standing(answers: &[SeenStart]) -> Standing {
    let Some(newest) = answers.iter().map(|answer| answer.map_version).max() else {
        return Standing::Current;
    };
    let informed = || answers.iter().filter(|answer| answer.map_version == newest);
    let older = answers.iter().find_map(|answer| answer.older.clone());
    let why = older.or_else(|| informed().find_map(|answer| answer.behind.clone()));
    let because = informed().find_map(|answer| answer.needed.clone());
    match (why, because) {
        (None, _) => Standing::Current,
        (Some(why), None) => Standing::Replaceable { why },
        (Some(why), Some(because)) => Standing::Needed { why, because },
    }
}

/// Whether a node that starts may vote: a majority of so many voters, itself included, has seen
/// what its directory had and misses nothing in it. A vote that an older disk has forgotten must
/// not be given again.
#[must_use]
pub fn may_vote(answers: &[SeenStart], voters: usize) -> bool {
    standing(answers) == Standing::Current && (answers.len() + 1) * 2 > voters
}

/// Whether the map holds this start of a member dead: a process of it that still runs must end.
#[must_use]
pub fn is_held_dead(map: &ClusterMap, start: Office) -> bool {
    map.members.get(&start.member).is_some_and(|member| {
        member.incarnation == start.incarnation && member.state == MemberState::Down
    })
}

/// Whether no other member has the partition in sync: what is broken in this one's replica cannot
/// be built anew.
#[must_use]
pub fn is_only_copy(map: &ClusterMap, partition: PartitionId, storage: StorageId) -> bool {
    let assignment = map.assignment(partition);
    assignment.is_some_and(|a| a.in_sync.iter().all(|other| *other == storage))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failure is the test's result")]
    use super::*;
    use crate::testing::{cluster, create_table, definition, registration};
    use crate::{Command, Incarnation, Registration, Strategies, plan};

    const ME: StorageId = StorageId(1);

    fn three() -> (ClusterMap, PartitionId) {
        let mut map = cluster(&[("", 1), ("", 1), ("", 1)]);
        let table = create_table(&mut map, "users", &definition(1, 3, 2)).unwrap();
        map.apply(&Command::Register(Registration {
            incarnation: Incarnation(2),
            start: 22,
            begun: vec![11, 22],
            ..registration(1, "", 1)
        }))
        .unwrap();
        (map, PartitionId::new(table, 0))
    }

    const ALL: [StorageId; 3] = [StorageId(1), StorageId(2), StorageId(3)];

    fn others() -> Others<'static> {
        Others {
            voters: &ALL,
            reached: &ALL[1..],
        }
    }

    fn shown(begun: &[u64], partition: PartitionId, end: Option<u64>) -> ShownDirectory {
        ShownDirectory {
            storage: ME,
            begun: begun.to_vec(),
            last_log_index: Some(8),
            ends: vec![(partition, end)],
        }
    }

    fn remembers(partition: PartitionId, commit: u64, matched: Option<u64>) -> Remembered {
        Remembered {
            commits: vec![(partition, commit)],
            acknowledged: Vec::new(),
            matched,
        }
    }

    #[test]
    fn l29_a_directory_that_has_not_begun_the_known_start_is_older_every_time() {
        let (map, partition) = three();
        let remembered = remembers(partition, 5, Some(8));
        let fits = judge(
            &map,
            others(),
            &shown(&[22, 33], partition, Some(5)),
            &remembered,
        );
        assert_eq!(standing(&[fits]), Standing::Current);
        // Each refused start may have begun further ones.
        for begun in [vec![11], vec![11, 44], vec![11, 44, 55], vec![]] {
            let seen = judge(
                &map,
                others(),
                &shown(&begun, partition, Some(9)),
                &remembered,
            );
            assert!(
                matches!(standing(&[seen]), Standing::Replaceable { .. }),
                "{begun:?}"
            );
        }
    }

    #[test]
    fn l29_a_log_that_ends_before_what_was_acknowledged_is_behind() {
        let (map, partition) = three();
        let seen = |end, commit, matched| {
            let remembered = remembers(partition, commit, matched);
            let seen = judge(&map, others(), &shown(&[22], partition, end), &remembered);
            standing(&[seen])
        };
        assert_eq!(seen(Some(5), 5, Some(8)), Standing::Current);
        assert_eq!(seen(Some(6), 5, None), Standing::Current);
        assert!(matches!(
            seen(Some(4), 5, None),
            Standing::Replaceable { .. }
        ));
        assert!(matches!(
            seen(Some(5), 5, Some(9)),
            Standing::Replaceable { .. }
        ));
        assert_eq!(seen(None, 5, None), Standing::Current, "it says so itself");
        let mut none = shown(&[22], partition, None);
        none.ends.clear();
        let all_gone = judge(&map, others(), &none, &remembers(partition, 5, None));
        assert!(all_gone.behind.unwrap().contains("ends with entry 0"));
    }

    #[test]
    fn what_counts_on_a_replica_outside_the_in_sync_set_is_nothing() {
        let (mut map, partition) = three();
        let change = plan::on_replicas_stopped(&Strategies::built_in(), &map, &[(partition, ME)]);
        let decision = crate::Decision::new(crate::DecisionKind::ReplicasStopped, 0);
        map.apply(&Command::Change(change.into_change(decision)))
            .unwrap();
        let shown = shown(&[22], partition, Some(1));
        let seen = judge(&map, others(), &shown, &remembers(partition, 50, None));
        assert_eq!(seen.behind, None);
    }

    #[test]
    fn l29_what_a_primary_saw_acknowledged_counts_in_its_epoch_also_outside_the_in_sync_set() {
        let (map, partition) = three();
        let seen = |epoch| {
            let remembered = Remembered {
                acknowledged: vec![(partition, Epoch(epoch), 7)],
                ..Remembered::default()
            };
            judge(
                &map,
                others(),
                &shown(&[22], partition, Some(6)),
                &remembered,
            )
            .behind
        };
        assert!(seen(1).is_some());
        assert_eq!(seen(0), None);
    }

    #[test]
    fn a_directory_without_which_there_is_no_majority_or_no_copy_is_needed() {
        let (map, partition) = three();
        let needed = |map: &ClusterMap, voters: &[StorageId], reached: &[StorageId]| {
            let shown = shown(&[11], partition, Some(5));
            let seen = judge(
                map,
                Others { voters, reached },
                &shown,
                &Remembered::default(),
            );
            matches!(standing(&[seen]), Standing::Needed { .. })
        };
        assert!(!needed(&map, &ALL, &ALL[1..]));
        assert!(needed(&map, &ALL[..2], &ALL[1..]), "two voters");
        assert!(
            needed(&map, &ALL, &ALL[1..2]),
            "one of the others is not reached"
        );
        let mut dead = map.clone();
        let third = dead.members.get_mut(&ALL[2]).unwrap();
        third.state = MemberState::Down;
        assert!(needed(&dead, &ALL, &ALL[1..]), "one of the others is dead");
        assert!(!needed(&dead, &ALL[1..2], &ALL[1..]), "it is no voter");
        let mut alone = map.clone();
        create_table(&mut alone, "single", &definition(8, 1, 1)).unwrap();
        assert!(needed(&alone, &ALL, &ALL[1..]), "it has the only copy");
    }

    #[test]
    fn a_node_votes_when_a_majority_misses_nothing_in_its_directory() {
        let answer = |behind: bool| SeenStart {
            map_version: MapVersion(5),
            older: None,
            behind: behind.then(|| "behind".to_owned()),
            needed: None,
        };
        assert!(may_vote(&[], 1), "it is the only voter");
        assert!(!may_vote(&[], 2));
        assert!(may_vote(&[answer(false)], 3));
        assert!(!may_vote(&[answer(false)], 4), "two of four");
        assert!(!may_vote(&[answer(false), answer(true)], 3));
    }

    #[test]
    fn only_the_start_that_the_map_calls_dead_must_end() {
        let (mut map, partition) = three();
        let start = |incarnation| Office {
            member: ME,
            incarnation: Incarnation(incarnation),
        };
        assert!(!is_held_dead(&map, start(2)));
        map.members.get_mut(&ME).unwrap().state = MemberState::Down;
        assert!(is_held_dead(&map, start(2)));
        assert!(!is_held_dead(&map, start(3)), "it is about to register");
        assert!(!is_only_copy(&map, partition, ME));
        let single = create_table(&mut map, "single", &definition(1, 1, 1)).unwrap();
        let single = PartitionId::new(single, 0);
        let holder = map.assignment(single).unwrap().in_sync[0];
        assert!(is_only_copy(&map, single, holder) && !is_only_copy(&map, single, ME));
    }

    #[test]
    fn the_newest_map_says_what_is_missing_and_anybody_that_a_start_is_unknown() {
        let answer = |version, older: bool, behind: bool| SeenStart {
            map_version: MapVersion(version),
            older: older.then(|| "older".to_owned()),
            behind: behind.then(|| "behind".to_owned()),
            needed: None,
        };
        assert_eq!(standing(&[]), Standing::Current);
        let stale = [answer(4, false, true), answer(5, false, false)];
        assert_eq!(standing(&stale), Standing::Current);
        let known = [answer(4, true, false), answer(5, false, false)];
        assert!(matches!(standing(&known), Standing::Replaceable { .. }));
        let behind = [answer(5, false, false), answer(5, false, true)];
        assert!(matches!(standing(&behind), Standing::Replaceable { .. }));
    }
}
