//! What a primary may ask for about its in-sync set.

use super::{assign, next, others, refused, restart, s, state, with_table};
use crate::*;

fn propose(map: &ClusterMap, partition: PartitionId, joiner: (StorageId, u64)) -> Command {
    let assignment = map.assignment(partition).expect("exists");
    let mut in_sync = assignment.in_sync.clone();
    in_sync.push(joiner.0);
    Command::ProposeInSync {
        partition,
        epoch: assignment.epoch,
        version: assignment.version,
        office: assignment.primary.expect("it has one"),
        in_sync,
        joiner: Some((joiner.0, Incarnation(joiner.1))),
        at_ms: 0,
    }
}

/// A table of which one backup has left the in-sync set.
fn with_learner() -> (ClusterMap, PartitionId, StorageId) {
    let (mut map, partition) = with_table();
    let learner = others(&map, partition)[0];
    let mut wanted = next(&map, partition);
    wanted.in_sync.retain(|s| *s != learner);
    map.apply(&assign(&map.clone(), partition, wanted))
        .expect("a backup may leave");
    (map, partition, learner)
}

#[test]
fn the_primary_lets_a_learner_into_the_in_sync_set() {
    let (mut map, partition, learner) = with_learner();
    let before = map.assignment(partition).cloned().expect("exists");
    map.apply(&propose(&map.clone(), partition, (learner, 1)))
        .expect("joined");
    let after = map.assignment(partition).expect("exists");
    assert_eq!(after.in_sync.len(), 3);
    assert_eq!(
        (after.epoch, after.version),
        (before.epoch, before.version.next())
    );
    assert_eq!(map.decisions.back().map(|d| (d.kind, d.subject)), {
        Some((DecisionKind::InSync, Some(learner)))
    });
}

#[test]
fn l03_a_proposal_for_an_older_start_of_the_joiner_is_refused() {
    let (mut map, partition, learner) = with_learner();
    let late = propose(&map, partition, (learner, 1));
    map.apply(&restart(learner.0, 2))
        .expect("the joiner restarted meanwhile");
    assert!(matches!(
        refused(&mut map, &late),
        Refused::StaleIncarnation { .. }
    ));
    let fresh = propose(&map, partition, (learner, 2));
    map.apply(&state(learner.0, 2, MemberState::Suspect))
        .expect("suspect");
    assert_eq!(
        refused(&mut map, &fresh),
        Refused::NotUp { storage: learner }
    );
    let unknown = propose(&map, partition, (s(99), 1));
    assert_eq!(
        refused(&mut map, &unknown),
        Refused::UnknownMember { storage: s(99) }
    );
}

#[test]
fn a_primary_that_was_found_dead_cannot_change_its_in_sync_set_any_more() {
    let (mut map, partition, learner) = with_learner();
    let late = propose(&map, partition, (learner, 1));
    let Command::ProposeInSync { office, .. } = &late else {
        unreachable!("made as a proposal");
    };
    let (member, incarnation) = (office.member, office.incarnation);
    map.apply(&state(member.0, incarnation.0, MemberState::Down))
        .expect("its office stays while nobody takes it over");
    assert_eq!(refused(&mut map, &late), Refused::NotUp { storage: member });
}

#[test]
fn only_the_holder_of_the_office_may_propose_and_only_what_it_may() {
    let (mut map, partition, learner) = with_learner();
    let good = propose(&map, partition, (learner, 1));
    let vary = |f: &dyn Fn(&mut Command)| {
        let mut command = good.clone();
        f(&mut command);
        command
    };
    let other_office = vary(&|c| {
        if let Command::ProposeInSync { office, .. } = c {
            office.incarnation = Incarnation(0);
        }
    });
    assert!(matches!(
        refused(&mut map, &other_office),
        Refused::NotPrimary { .. }
    ));
    let stale = vary(&|c| {
        if let Command::ProposeInSync { version, .. } = c {
            *version = AssignmentVersion(1);
        }
    });
    assert!(matches!(
        refused(&mut map, &stale),
        Refused::StaleAssignment { .. }
    ));
    type Spoil = fn(&mut Vec<StorageId>, &mut Option<(StorageId, Incarnation)>);
    let rules: [(Rule, Spoil); 5] = [
        (Rule::InSyncGrowsByPrimary, |_, joiner| *joiner = None),
        (Rule::MinInSyncKept, |in_sync, joiner| {
            *joiner = None;
            in_sync.truncate(2);
            in_sync.retain(|s| s.0 != 0);
            in_sync.truncate(1);
        }),
        (Rule::NoDuplicateReplicas, |in_sync, _| {
            in_sync.push(in_sync[0])
        }),
        (Rule::InSyncGrowsByPrimary, |in_sync, _| {
            in_sync.pop();
        }),
        (Rule::PrimaryInSync, |in_sync, _| in_sync.clear()),
    ];
    for (rule, spoil) in rules {
        let command = vary(&|c| {
            if let Command::ProposeInSync {
                in_sync,
                joiner,
                office,
                ..
            } = c
            {
                // The primary first, so that truncating keeps it.
                in_sync.sort_by_key(|s| *s != office.member);
                spoil(in_sync, joiner);
            }
        });
        assert_eq!(
            refused(&mut map, &command),
            Refused::RuleBroken { rule, partition }
        );
    }
    let gone = vary(&|c| {
        if let Command::ProposeInSync { partition, .. } = c {
            partition.partition = 99;
        }
    });
    assert!(matches!(
        refused(&mut map, &gone),
        Refused::UnknownPartition { .. }
    ));
}

#[test]
fn a_primary_that_has_restarted_may_not_propose_from_its_earlier_start() {
    let (mut map, partition, learner) = with_learner();
    let late = propose(&map, partition, (learner, 1));
    let primary = map
        .assignment(partition)
        .and_then(Assignment::primary_member)
        .expect("has one");
    map.apply(&restart(primary.0, 2)).expect("restarted");
    assert!(matches!(
        refused(&mut map, &late),
        Refused::StaleIncarnation { .. }
    ));
}
