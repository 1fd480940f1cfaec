//! What commands do to the map, and what is refused.

mod altering;
mod proposals;

use crate::testing::{catch_up, cluster, create_table, definition, registration};
use crate::*;

type Text<'a> = &'a str;

fn s(number: u64) -> StorageId {
    StorageId(number)
}

fn three() -> ClusterMap {
    cluster(&[("", 1), ("", 1), ("", 1)])
}

fn with_table() -> (ClusterMap, PartitionId) {
    let mut map = three();
    let id = create_table(&mut map, "users", &definition(4, 3, 2)).expect("created");
    (map, PartitionId::new(id, 0))
}

/// The refusal; the map must be what it was.
fn refused(map: &mut ClusterMap, command: &Command) -> Refused {
    let before = map.clone();
    let refused = map
        .apply(command)
        .expect_err("this command must be refused");
    assert_eq!(*map, before, "a refused command changes nothing");
    refused
}

fn restart(number: u64, incarnation: u64) -> Command {
    let incarnation = Incarnation(incarnation);
    Command::Register(Registration {
        incarnation,
        ..registration(number, "", 1)
    })
}

fn state(number: u64, incarnation: u64, state: MemberState) -> Command {
    let mut change = Change {
        decision: Decision::new(DecisionKind::MemberDown, 5),
        made_under: None,
        members: Vec::new(),
        assignments: Vec::new(),
    };
    change
        .members
        .push((s(number), Incarnation(incarnation), state));
    Command::Change(change)
}

fn assign(map: &ClusterMap, partition: PartitionId, next: NextAssignment) -> Command {
    let current = map.assignment(partition).expect("it exists");
    Command::Change(Change {
        decision: Decision::new(DecisionKind::Failover, 5),
        made_under: None,
        members: Vec::new(),
        assignments: vec![AssignmentChange {
            partition,
            expected: (current.epoch, current.version),
            next,
            stopped: Vec::new(),
        }],
    })
}

fn next(map: &ClusterMap, partition: PartitionId) -> NextAssignment {
    NextAssignment::keep(map.assignment(partition).expect("it exists"))
}

fn others(map: &ClusterMap, partition: PartitionId) -> Vec<StorageId> {
    let assignment = map.assignment(partition).expect("it exists");
    let primary = assignment.primary_member();
    assignment
        .in_sync
        .iter()
        .copied()
        .filter(|s| Some(*s) != primary)
        .collect()
}

fn skipped(map: &mut ClusterMap, command: &Command) -> Refused {
    let before = map.clone();
    let mut applied = map
        .apply(command)
        .expect("a change is applied as far as it fits");
    assert_eq!(*map, before, "nothing fitted, so nothing changed");
    applied
        .skipped
        .pop()
        .map(|(_, refused)| refused)
        .expect("it was skipped")
}

#[test]
fn nothing_is_applied_before_the_cluster_is_founded_and_it_is_founded_once() {
    let mut map = ClusterMap::empty();
    assert_eq!(refused(&mut map, &restart(1, 1)), Refused::NotFounded);
    let found = Command::Found {
        cluster: ClusterId(9),
        at_ms: 1,
    };
    let applied = map.apply(&found).expect("founded");
    assert_eq!(
        (applied.map_version, applied.decision),
        (MapVersion(1), Some(1))
    );
    assert_eq!(
        refused(&mut map, &found),
        Refused::AlreadyFounded {
            cluster: ClusterId(9)
        }
    );
}

#[test]
fn a_start_must_have_a_greater_incarnation_than_the_map() {
    let mut map = three();
    map.apply(&restart(1, 5)).expect("a newer start");
    let stale = Refused::StaleIncarnation {
        storage: s(1),
        current: Incarnation(5),
        given: Incarnation(4),
    };
    assert_eq!(refused(&mut map, &restart(1, 4)), stale);
    let version = map.version;
    map.apply(&restart(1, 5))
        .expect("the same again is answered the same");
    assert_eq!(map.version, version, "and changes nothing");
    let moved = Registration {
        incarnation: Incarnation(5),
        ..registration(1, "eu/1", 1)
    };
    let same_start = refused(&mut map, &Command::Register(moved));
    assert!(matches!(same_start, Refused::StaleIncarnation { .. }));
}

#[test]
fn a_dead_incarnation_never_comes_back() {
    let mut map = three();
    map.apply(&state(1, 1, MemberState::Down)).expect("down");
    let dead = Refused::DeadIncarnation {
        storage: s(1),
        incarnation: Incarnation(1),
    };
    assert_eq!(refused(&mut map, &restart(1, 1)), dead);
    let applied = map
        .apply(&state(1, 1, MemberState::Up))
        .expect("applied as far as it fits");
    assert!(matches!(
        applied.skipped_members[..],
        [(_, Refused::ImpossibleState { .. })]
    ));
    assert_eq!(map.members[&s(1)].state, MemberState::Down);
    map.apply(&restart(1, 2)).expect("a new one does");
    assert_eq!(map.members[&s(1)].state, MemberState::Up);
}

#[test]
fn a_verdict_about_an_older_start_does_not_touch_the_newer_one() {
    let mut map = three();
    map.apply(&restart(1, 2)).expect("restarted");
    let applied = map.apply(&state(1, 1, MemberState::Down)).expect("applied");
    assert!(matches!(
        applied.skipped_members[..],
        [(_, Refused::StaleIncarnation { .. })]
    ));
    assert_eq!(applied.decision, None);
    assert_eq!(map.members[&s(1)].state, MemberState::Up);
}

#[test]
fn o12_a_wiped_node_is_a_new_member_that_inherits_nothing() {
    let (mut map, partition) = with_table();
    let wiped = Registration {
        storage: s(9),
        ..registration(1, "", 1)
    };
    let taken = refused(&mut map, &Command::Register(wiped.clone()));
    assert_eq!(
        taken,
        Refused::NameTaken {
            name: "n1".to_owned(),
            holder: s(1)
        }
    );
    map.apply(&state(1, 1, MemberState::Down)).expect("down");
    let before = map.assignment(partition).cloned();
    map.apply(&Command::Register(wiped))
        .expect("the name is free now");
    assert_eq!(
        map.assignment(partition).cloned(),
        before,
        "no place passes on"
    );
    assert_eq!(map.member_named("n1").map(|m| m.storage), Some(s(9)));
    assert_eq!(
        map.members[&s(1)].replaced_by,
        Some(s(9)),
        "it still has the old places"
    );
    assert_eq!(plan::replaced(&map), [s(1)]);
    let old_with_its_name = refused(&mut map, &restart(1, 2));
    assert_eq!(
        old_with_its_name,
        Refused::NameTaken {
            name: "n1".to_owned(),
            holder: s(9)
        }
    );
    let renamed = Registration {
        name: "old".to_owned(),
        incarnation: Incarnation(2),
        ..registration(1, "", 1)
    };
    map.apply(&Command::Register(renamed))
        .expect("its data come back under another name");
    assert_eq!(map.members[&s(1)].replaced_by, None);
}

#[test]
fn the_name_of_a_dead_member_without_places_passes_on_and_its_id_is_retired() {
    let mut map = three();
    map.apply(&state(1, 1, MemberState::Down)).expect("down");
    let wiped = Registration {
        storage: s(9),
        ..registration(1, "", 1)
    };
    map.apply(&Command::Register(wiped)).expect("taken over");
    assert!(map.retired.contains(&s(1)) && !map.members.contains_key(&s(1)));
    assert_eq!(
        refused(&mut map, &restart(1, 2)),
        Refused::RetiredStorage { storage: s(1) }
    );
}

#[test]
fn a_table_is_created_once_and_a_different_one_of_its_name_is_refused() {
    let mut map = three();
    let id = create_table(&mut map, "users", &definition(4, 3, 2)).expect("created");
    assert_eq!(id, TableId(1));
    let again = create_table(&mut map, "users", &definition(4, 3, 2));
    assert_eq!(
        again,
        Err(Refused::TableExists {
            name: "users".to_owned(),
            table: id
        })
    );
    let different = create_table(&mut map, "users", &definition(8, 3, 2));
    assert_eq!(
        different,
        Err(Refused::TableExistsDifferently {
            name: "users".to_owned()
        })
    );
    let drop = Command::DropTable {
        name: "users".to_owned(),
        at_ms: 0,
    };
    assert_eq!(map.apply(&drop).expect("dropped").table, Some(id));
    assert_eq!(
        refused(&mut map, &drop),
        Refused::UnknownTable {
            name: "users".to_owned()
        }
    );
    let id = create_table(&mut map, "users", &definition(4, 3, 2)).expect("created");
    assert_eq!(id, TableId(2), "ids are never reused");
}

#[test]
fn definitions_outside_the_limits_are_refused_with_the_field() {
    let key = |name: Text<'_>| KeyDefinition {
        name: name.to_owned(),
        key_type: KeyType::Number,
    };
    let good = definition(4, 3, 2);
    let cases = [
        (
            "partitions",
            TableDefinition {
                partitions: 3,
                ..good.clone()
            },
        ),
        (
            "partitions",
            TableDefinition {
                partitions: 0,
                ..good.clone()
            },
        ),
        (
            "partitions",
            TableDefinition {
                partitions: 2048,
                ..good.clone()
            },
        ),
        (
            "replicas",
            TableDefinition {
                replicas: 0,
                ..good.clone()
            },
        ),
        (
            "replicas",
            TableDefinition {
                replicas: 8,
                ..good.clone()
            },
        ),
        (
            "min_in_sync",
            TableDefinition {
                min_in_sync: 0,
                ..good.clone()
            },
        ),
        (
            "min_in_sync",
            TableDefinition {
                min_in_sync: 4,
                ..good.clone()
            },
        ),
        (
            "strategy",
            TableDefinition {
                strategy: "one's own".to_owned(),
                ..good.clone()
            },
        ),
        (
            "sort_key",
            TableDefinition {
                sort_key: Some(key("id")),
                ..good.clone()
            },
        ),
        (
            "partition_key and sort_key",
            TableDefinition {
                partition_key: key(""),
                ..good.clone()
            },
        ),
    ];
    for (wrong, definition) in cases {
        match validate_definition(&definition) {
            Err(Refused::Invalid { field, .. }) => assert_eq!(field, wrong),
            other => panic!("{wrong}: {other:?}"),
        }
    }
    let column = TableDefinition {
        layout: Layout::Column,
        ..good.clone()
    };
    let with_copies = TableDefinition {
        strategy: "partition".to_owned(),
        ..good.clone()
    };
    let partition = TableDefinition {
        replicas: 1,
        min_in_sync: 1,
        ..with_copies.clone()
    };
    let own = TableDefinition {
        strategy: "other-region".to_owned(),
        ..good.clone()
    };
    let active = TableDefinition {
        strategy: "active".to_owned(),
        ..good.clone()
    };
    assert_eq!(validate_definition(&active), Ok(()));
    assert_eq!(validate_definition(&partition), Ok(()));
    assert!(matches!(
        validate_definition(&with_copies),
        Err(Refused::Invalid { field, .. }) if field == "replicas"
    ));
    assert!(matches!(
        validate_definition(&column),
        Err(Refused::Unsupported { .. })
    ));
    assert_eq!(validate_definition(&own), Ok(()), "planned by its strategy");
    assert_eq!(validate_definition(&good), Ok(()));
    for name in ["ab", "a b c", "ümlaut", "", &"x".repeat(256)] {
        assert!(validate_name(name).is_err(), "{name}");
    }
    for name in ["abc", "A_b.c-9", &"x".repeat(255)] {
        assert_eq!(validate_name(name), Ok(()), "{name}");
    }
}

#[test]
fn planned_assignments_are_checked_when_the_table_is_created() {
    let map = three();
    let good = plan::initial(&Strategies::built_in(), &map, &definition(1, 3, 2))
        .expect("a built-in strategy");
    type Spoil = fn(&mut Assignment);
    let cases: [(Rule, Spoil); 6] = [
        (Rule::InSyncWithinReplicas, |a| a.replicas.truncate(2)),
        (Rule::MinInSyncKept, |a| {
            a.in_sync
                .retain(|s| Some(*s) == a.primary.map(|o| o.member))
        }),
        (Rule::EpochRisesByOne, |a| a.epoch = Epoch(2)),
        (Rule::PrimaryIsLive, |a| {
            a.primary = a.primary.map(|o| Office {
                incarnation: Incarnation(7),
                ..o
            });
        }),
        (Rule::NoDuplicateReplicas, |a| {
            a.replicas.push(a.replicas[0])
        }),
        (Rule::NoReplicaOnDeadNode, |a| {
            a.replicas[0] = StorageId(77);
            a.in_sync[0] = StorageId(77);
            a.primary = Some(Office {
                member: a.replicas[1],
                incarnation: Incarnation(1),
            });
        }),
    ];
    for (rule, spoil) in cases {
        let mut map = map.clone();
        let mut assignments = good.clone();
        spoil(&mut assignments[0]);
        let command = Command::CreateTable {
            name: "users".to_owned(),
            definition: definition(1, 3, 2),
            assignments,
            at_ms: 0,
        };
        let partition = PartitionId::new(TableId(1), 0);
        assert_eq!(
            refused(&mut map, &command),
            Refused::RuleBroken { rule, partition }
        );
    }
}

#[test]
fn l33_a_decision_is_refused_in_another_term_and_on_another_map() {
    let (mut map, _) = with_table();
    let (number, incarnation) = (2, 1);
    let verdict = |term: u64, version: MapVersion| {
        let Command::Change(mut change) = state(number, incarnation, MemberState::Down) else {
            unreachable!("a state is given by a change");
        };
        let map_version = version;
        change.made_under = Some(MadeUnder { term, map_version });
        Command::Change(change)
    };
    let current = map.version;
    for (made_in, version) in [(6, current), (8, current), (7, MapVersion(current.0 - 1))] {
        let before = map.clone();
        let refused = map.apply_in_term(7, &verdict(made_in, version));
        let stale = matches!(refused, Err(Refused::StaleDecision { term: 7, .. }));
        assert!(stale, "{refused:?}");
        assert_eq!(map, before, "nothing changes");
    }
    assert!(map.apply_in_term(7, &verdict(7, current)).is_ok());
    assert_eq!(map.members[&s(number)].state, MemberState::Down);
    // What a person asks for is bound to no term.
    let asked = state(1, 1, MemberState::Draining);
    assert!(map.apply_in_term(9, &asked).is_ok());
}

/// The next start of member 3, which `cluster` made.
fn start_of_3(incarnation: u64) -> Command {
    Command::Register(Registration {
        incarnation: Incarnation(incarnation),
        ..registration(3, "", 1)
    })
}

#[test]
fn a_member_drains_on_through_restarts_until_the_drain_is_called_off() {
    let mut map = cluster(&[("", 1), ("", 1), ("", 1)]);
    map.apply(&state(3, 1, MemberState::Draining)).expect("it");
    map.apply(&start_of_3(2)).expect("a restart in order");
    assert_eq!(map.members[&s(3)].state, MemberState::Draining);
    map.apply(&start_of_3(2)).expect("the same once more");
    map.apply(&state(3, 2, MemberState::Down)).expect("killed");
    map.apply(&start_of_3(3)).expect("a restart after a crash");
    assert_eq!(map.members[&s(3)].state, MemberState::Draining);
    map.apply(&state(3, 3, MemberState::Up)).expect("undrained");
    map.apply(&state(3, 3, MemberState::Down)).expect("killed");
    map.apply(&start_of_3(4)).expect("a restart");
    assert_eq!(map.members[&s(3)].state, MemberState::Up);
}

#[test]
fn a_change_is_compared_and_set_for_each_partition_by_itself() {
    let (mut map, partition) = with_table();
    let other = PartitionId::new(partition.table, 1);
    let mut both = Change {
        decision: Decision::new(DecisionKind::Failover, 5),
        made_under: None,
        members: Vec::new(),
        assignments: Vec::new(),
    };
    for partition in [partition, other] {
        let mut wanted = next(&map, partition);
        wanted.primary = Some(others(&map, partition)[0]);
        let current = map.assignment(partition).expect("exists");
        let expected = (current.epoch, current.version);
        both.assignments.push(AssignmentChange {
            partition,
            expected,
            next: wanted,
            stopped: Vec::new(),
        });
    }
    both.assignments[0].expected.1 = AssignmentVersion(9);
    let before = map.assignment(partition).cloned().expect("exists");
    let applied = map.apply(&Command::Change(both)).expect("one of them fits");
    let (epoch, version) = (before.epoch, before.version);
    assert_eq!(
        applied.skipped,
        [(partition, Refused::StaleAssignment { epoch, version })]
    );
    assert_eq!(map.assignment(partition), Some(&before));
    let after = map.assignment(other).expect("exists");
    assert_eq!(
        (after.epoch, after.version),
        (Epoch(2), AssignmentVersion(2))
    );
    let decision = map.decisions.back().expect("recorded");
    assert_eq!(decision.changes_total, 1);
    assert_eq!(decision.changes[0].partition, other);
}

#[test]
fn l15_an_old_plan_is_not_applied_over_a_newer_one() {
    let (mut map, partition) = with_table();
    let candidates = others(&map, partition);
    let old = assign(
        &map,
        partition,
        NextAssignment {
            primary: Some(candidates[0]),
            ..next(&map, partition)
        },
    );
    let new = assign(
        &map,
        partition,
        NextAssignment {
            primary: Some(candidates[1]),
            ..next(&map, partition)
        },
    );
    map.apply(&new).expect("applied");
    assert!(matches!(
        skipped(&mut map, &old),
        Refused::StaleAssignment { .. }
    ));
    assert!(matches!(
        skipped(&mut map, &new),
        Refused::StaleAssignment { .. }
    ));
}

#[test]
fn unsafe_assignments_are_refused_by_the_name_of_the_rule() {
    let (mut map, partition) = with_table();
    map.apply(&Command::Register(registration(4, "", 1)))
        .expect("joined");
    map.apply(&Command::Register(registration(5, "", 1)))
        .expect("joined");
    map.apply(&state(5, 1, MemberState::Down)).expect("down");
    let now = next(&map, partition);
    let backups = others(&map, partition);
    let primary = now.primary;
    let with = |f: &dyn Fn(&mut NextAssignment)| {
        let mut next = now.clone();
        f(&mut next);
        next
    };
    let learner = with(&|n| n.replicas.push(s(4)));
    let cases = [
        (
            Rule::NoDuplicateReplicas,
            with(&|n| n.replicas.push(backups[0])),
        ),
        (Rule::NoReplicaOnDeadNode, with(&|n| n.replicas.push(s(5)))),
        (Rule::NoReplicaOnDeadNode, with(&|n| n.replicas.push(s(66)))),
        (Rule::InSyncWithinReplicas, with(&|n| n.in_sync.push(s(4)))),
        (Rule::PrimaryInSync, with(&|n| n.primary = Some(s(4)))),
        (
            Rule::PrimaryInSync,
            with(&|n| n.in_sync.retain(|s| Some(*s) != primary)),
        ),
        (
            Rule::MinInSyncKept,
            with(&|n| n.in_sync.retain(|s| Some(*s) == primary)),
        ),
        (
            Rule::InSyncGrowsByPrimary,
            NextAssignment {
                in_sync: learner.replicas.clone(),
                ..learner.clone()
            },
        ),
        (
            Rule::PrimaryFromInSync,
            NextAssignment {
                primary: Some(s(4)),
                in_sync: learner.replicas.clone(),
                ..learner.clone()
            },
        ),
        (
            Rule::ReplicaCount,
            NextAssignment {
                primary: None,
                replicas: Vec::new(),
                in_sync: Vec::new(),
            },
        ),
    ];
    for (rule, next) in cases {
        let command = assign(&map, partition, next.clone());
        assert_eq!(
            skipped(&mut map, &command),
            Refused::RuleBroken { rule, partition },
            "{next:?}"
        );
    }
    map.apply(&assign(&map.clone(), partition, learner))
        .expect("a learner may be added");
}

#[test]
fn a_dead_in_sync_member_is_not_promoted() {
    let (mut map, partition) = with_table();
    let backup = others(&map, partition)[0];
    map.apply(&state(backup.0, 1, MemberState::Down))
        .expect("down");
    let wanted = NextAssignment {
        primary: Some(backup),
        ..next(&map, partition)
    };
    let command = assign(&map, partition, wanted);
    let rule = Rule::PrimaryIsLive;
    assert_eq!(
        skipped(&mut map, &command),
        Refused::RuleBroken { rule, partition }
    );
}

#[test]
fn a_new_replica_may_not_share_a_zone_while_another_is_free() {
    let mut map = cluster(&[("a", 1), ("b", 1), ("a", 1), ("c", 1)]);
    let id = create_table(&mut map, "users", &definition(1, 2, 1)).expect("created");
    let partition = PartitionId::new(id, 0);
    let mut wanted = next(&map, partition);
    map.apply(&state(2, 1, MemberState::Down)).expect("down");
    wanted.replicas = vec![s(1), s(3)];
    wanted.in_sync = vec![s(1)];
    wanted.primary = Some(s(1));
    // Whoever was chosen first, the two nodes of zone a are not a spread.
    let before = Assignment {
        epoch: Epoch(1),
        version: AssignmentVersion(1),
        primary: Some(Office {
            member: s(1),
            incarnation: Incarnation(1),
        }),
        replicas: vec![s(1), s(2)],
        in_sync: vec![s(1), s(2)],
    };
    let definition = definition(1, 2, 1);
    assert_eq!(
        check::next(&map, &definition, &before, &wanted, &[]),
        Err(Rule::DistinctZones)
    );
    wanted.replicas = vec![s(1), s(4)];
    assert!(check::next(&map, &definition, &before, &wanted, &[]).is_ok());
}

#[test]
fn a_member_with_places_cannot_leave_and_one_without_is_retired() {
    let (mut map, _) = with_table();
    let applied = map
        .apply(&state(1, 1, MemberState::Left))
        .expect("as far as it fits");
    let refused_for = Refused::StillInUse {
        storage: s(1),
        partitions: 4,
    };
    assert_eq!(applied.skipped_members, [(s(1), refused_for)]);
    map.apply(&Command::Register(registration(4, "", 1)))
        .expect("joined");
    map.apply(&state(4, 1, MemberState::Left)).expect("left");
    assert!(map.retired.contains(&s(4)) && !map.members.contains_key(&s(4)));
}

#[test]
fn the_last_decisions_are_kept_and_in_sync_changes_do_not_flood_them() {
    let (mut map, _) = with_table();
    let id = create_table(&mut map, "many", &definition(128, 3, 2)).expect("created");
    let decision = map.decisions.back().expect("recorded");
    assert_eq!(
        (decision.changes.len(), decision.changes_total),
        (CHANGES_KEPT, 128)
    );
    let down = plan::on_member_down(&Strategies::built_in(), &map, s(2), Incarnation(1));
    map.apply(&Command::Change(
        down.into_change(Decision::new(DecisionKind::Failover, 0)),
    ))
    .expect("applied");
    map.apply(&restart(2, 2)).expect("back");
    let before = map.decisions.len();
    catch_up(&mut map);
    assert_eq!(
        map.assignment(PartitionId::new(id, 5))
            .map(|a| a.in_sync.len()),
        Some(3)
    );
    assert_eq!(
        map.decisions.len(),
        before + 1,
        "132 joins of one member are one decision"
    );
    for start in 3..250 {
        map.apply(&restart(2, start)).expect("restarted");
    }
    assert_eq!(map.decisions.len(), DECISIONS_KEPT);
    let ids: Vec<u64> = map.decisions.iter().map(|d| d.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[test]
fn l29_a_directory_that_does_not_know_the_last_start_is_refused_every_time() {
    let mut map = three();
    let start = |incarnation, start, begun: &[u64]| {
        Command::Register(Registration {
            incarnation: Incarnation(incarnation),
            start,
            begun: begun.to_vec(),
            ..registration(1, "", 1)
        })
    };
    map.apply(&start(2, 22, &[22])).expect("a first start");
    map.apply(&start(3, 33, &[22, 33])).expect("the next");
    let older = Refused::OlderDirectory { storage: s(1) };
    // A copy from before the last start, started again and again.
    for incarnation in 3..9 {
        let refused = refused(&mut map, &start(incarnation, 44, &[22, 44]));
        assert_eq!(refused, older);
    }
    // Starts in vain in the right directory are forgiven.
    map.apply(&start(9, 99, &[33, 55, 66, 99]))
        .expect("it has begun 33");
}
