//! Plans as text, to be read by people.

use std::fmt::Write;

use crate::plan::*;
use crate::testing::{carry_out, catch_up, cluster, create_table, definition, registration};
use crate::*;

fn show(assignment: &Assignment) -> String {
    let ids = |of: &[StorageId]| {
        of.iter()
            .map(|s| s.0.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let primary = assignment.primary.map_or_else(
        || "-".to_owned(),
        |o| format!("{}.{}", o.member.0, o.incarnation),
    );
    format!(
        "epoch {} primary {primary} replicas [{}] in sync [{}]",
        assignment.epoch,
        ids(&assignment.replicas),
        ids(&assignment.in_sync)
    )
}

fn show_map(map: &ClusterMap) -> String {
    let mut text = String::new();
    for (partition, _, assignment) in map.partitions() {
        writeln!(text, "{partition} {}", show(assignment)).expect("a string takes text");
    }
    text
}

/// What the plan makes of the map: only the lines that change.
fn show_plan(map: &ClusterMap, plan: Plan) -> (String, ClusterMap) {
    let mut then = map.clone();
    let mut text = String::new();
    for (storage, incarnation, state) in &plan.members {
        writeln!(text, "member {}.{incarnation} {state:?}", storage.0).expect("text");
    }
    let because = plan.reasons.join("; ");
    assert_eq!(plan.refused, []);
    let applied = carry_out(&mut then, plan).expect("applied");
    assert_eq!(applied.skipped, []);
    for (partition, _, after) in then.partitions() {
        if map.assignment(partition) != Some(after) {
            writeln!(text, "{partition} {}", show(after)).expect("text");
        }
    }
    writeln!(text, "because {because}").expect("text");
    (text, then)
}

fn three() -> ClusterMap {
    let mut map = cluster(&[("", 1), ("", 1), ("", 1)]);
    create_table(&mut map, "users", &definition(8, 3, 2)).expect("created");
    map
}

fn zones() -> ClusterMap {
    let mut map = cluster(&[
        ("eu/1", 1),
        ("eu/2", 1),
        ("eu/3", 2),
        ("eu/1", 1),
        ("eu/2", 1),
    ]);
    create_table(&mut map, "users", &definition(8, 3, 2)).expect("created");
    map
}

fn restart(map: &mut ClusterMap, number: u64, incarnation: u64) {
    let zone = map.members[&StorageId(number)].zone.clone();
    let incarnation = Incarnation(incarnation);
    let again = Registration {
        incarnation,
        ..registration(number, &zone, 1)
    };
    map.apply(&Command::Register(again)).expect("restarted");
}

#[test]
fn first_assignments_spread_over_zones_by_weight() {
    insta::assert_snapshot!(show_map(&zones()));
}

#[test]
fn one_of_three_nodes_fails_and_comes_back() {
    let map = three();
    let (text, mut down) = show_plan(
        &map,
        on_member_down(&Strategies::built_in(), &map, StorageId(1), Incarnation(1)),
    );
    insta::assert_snapshot!("one_of_three_fails", text);
    restart(&mut down, 1, 2);
    assert!(
        on_restart(&Strategies::built_in(), &down, StorageId(1)).is_empty(),
        "it holds no office any more"
    );
    catch_up(&mut down);
    let caps = OfficeCaps {
        moves_max: 10,
        ..OfficeCaps::default()
    };
    let (text, _) = show_plan(&down, balance_primaries(&down, &caps));
    insta::assert_snapshot!("one_of_three_gets_its_share_back", text);
}

#[test]
fn two_of_three_nodes_fail_one_after_the_other() {
    let map = three();
    let (_, map) = show_plan(
        &map,
        on_member_down(&Strategies::built_in(), &map, StorageId(1), Incarnation(1)),
    );
    let (text, map) = show_plan(
        &map,
        on_member_down(&Strategies::built_in(), &map, StorageId(2), Incarnation(1)),
    );
    insta::assert_snapshot!("second_of_three_fails", text);
    let summary = health::summary(&map);
    assert_eq!((summary.without_primary, summary.below_min_in_sync), (0, 8));
}

#[test]
fn a_primary_dies_below_the_minimum_and_the_survivor_is_alone_in_the_set() {
    let mut map = cluster(&[("", 1), ("", 1), ("", 1), ("", 1), ("", 1)]);
    create_table(&mut map, "users", &definition(1, 3, 3)).expect("created");
    let (partition, _, first) = map.partitions().next().expect("one");
    let first = first.clone();
    let primary = first.primary_member().expect("filled");
    let backup = *first
        .in_sync
        .iter()
        .find(|s| **s != primary)
        .expect("three");
    let one = Incarnation(1);
    let (_, map) = show_plan(
        &map,
        on_member_down(&Strategies::built_in(), &map, backup, one),
    );
    let kept = map.assignment(partition).expect("there");
    assert_eq!(kept.in_sync, first.in_sync, "it may come back");
    let (_, map) = show_plan(
        &map,
        on_member_down(&Strategies::built_in(), &map, primary, one),
    );
    let after = map.assignment(partition).expect("there");
    let survivor = *third(&first, primary, backup);
    assert_eq!(after.primary_member(), Some(survivor));
    assert_eq!(after.in_sync, [survivor]);
    assert_eq!(after.epoch, first.epoch.next());
}

#[test]
fn a_restart_that_nobody_noticed_moves_the_offices() {
    let mut map = three();
    restart(&mut map, 2, 2);
    let (text, _) = show_plan(
        &map,
        on_restart(&Strategies::built_in(), &map, StorageId(2)),
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_single_node_takes_its_offices_again_after_a_restart() {
    let mut map = cluster(&[("", 1)]);
    create_table(&mut map, "users", &definition(2, 3, 2)).expect("created");
    restart(&mut map, 1, 2);
    let (text, _) = show_plan(
        &map,
        on_restart(&Strategies::built_in(), &map, StorageId(1)),
    );
    insta::assert_snapshot!(text);
}

#[test]
fn l09_a_stalled_node_loses_offices_and_is_not_waited_for() {
    let map = three();
    let (text, _) = show_plan(&map, on_stall(&Strategies::built_in(), &map, StorageId(3)));
    insta::assert_snapshot!(text);
}

fn third(assignment: &Assignment, one: StorageId, other: StorageId) -> &StorageId {
    let mut in_sync = assignment.in_sync.iter();
    in_sync
        .find(|s| **s != one && **s != other)
        .expect("three are in sync")
}

#[test]
fn o25_a_stopped_replica_leaves_the_set_of_its_partition_whatever_the_minimum() {
    let map = three();
    let number = 3;
    let (partition, _, before) = map.partitions().nth(number).expect("eight");
    let before = before.clone();
    let primary = before.primary_member().expect("filled");
    let backup = *before
        .in_sync
        .iter()
        .find(|s| **s != primary)
        .expect("three");

    let plan = on_replicas_stopped(&Strategies::built_in(), &map, &[(partition, backup)]);
    assert_eq!(plan.assignments.len(), 1, "no other partition is touched");
    let (_, then) = show_plan(&map, plan);
    let after = then.assignment(partition).expect("there").clone();
    assert_eq!((after.epoch, after.in_sync.len()), (before.epoch, 2));
    assert!(!after.in_sync.contains(&backup) && after.replicas == before.replicas);
    assert!(on_replicas_stopped(&Strategies::built_in(), &then, &[(partition, backup)]).is_empty());

    // The primary too: its office moves to the one that is left.
    let stopped = [(partition, backup), (partition, primary)];
    let (_, then) = show_plan(
        &then,
        on_replicas_stopped(&Strategies::built_in(), &then, &stopped),
    );
    let after = then.assignment(partition).expect("there");
    assert_ne!(after.primary_member(), Some(primary));
    assert_eq!((after.epoch, after.in_sync.len()), (before.epoch.next(), 1));

    // A lone backup that stopped is not waited for either; its primary keeps the office.
    let pair = [
        (partition, backup),
        (partition, *third(&before, primary, backup)),
    ];
    let (_, then) = show_plan(
        &map,
        on_replicas_stopped(&Strategies::built_in(), &map, &pair),
    );
    let after = then.assignment(partition).expect("there");
    assert_eq!(
        (after.epoch, &after.in_sync),
        (before.epoch, &vec![primary])
    );

    // Nobody is left who could do better.
    let all: Vec<_> = before.in_sync.iter().map(|s| (partition, *s)).collect();
    assert!(on_replicas_stopped(&Strategies::built_in(), &map, &all).is_empty());
}

#[test]
fn a_cold_start_takes_the_furthest_log_of_those_that_answer() {
    let map = three();
    let all: Vec<_> = [1, 2, 3].map(|n| (StorageId(n), Incarnation(1))).into();
    let (text, mut map) = show_plan(&map, on_members_down(&Strategies::built_in(), &map, &all));
    insta::assert_snapshot!("all_fail_at_once", text);
    for number in [1, 2, 3] {
        restart(&mut map, number, 2);
    }
    let report = |index: u64| -> Vec<(PartitionId, Epoch, u64)> {
        map.partitions()
            .map(|(p, _, _)| (p, Epoch(1), index))
            .collect()
    };
    let reports: Reports = [(StorageId(2), report(7)), (StorageId(3), report(6))].into();
    let (text, _) = show_plan(&map, cold_start(&Strategies::built_in(), &map, &reports));
    insta::assert_snapshot!("cold_start", text);
}

#[test]
fn a_missing_node_is_replaced_in_two_steps() {
    let map = zones();
    let missing = [StorageId(1)];
    let (_, map) = show_plan(
        &map,
        on_member_down(&Strategies::built_in(), &map, StorageId(1), Incarnation(1)),
    );
    let (text, mut map) = show_plan(&map, rereplicate(&map, &missing, CopyCaps::DEFAULT));
    insta::assert_snapshot!("rereplicate_adds_learners", text);
    assert!(
        rereplicate(&map, &missing, CopyCaps::DEFAULT).is_empty(),
        "waits for them"
    );
    catch_up(&mut map);
    let (text, map) = show_plan(&map, rereplicate(&map, &missing, CopyCaps::DEFAULT));
    insta::assert_snapshot!("rereplicate_drops_the_missing", text);
    assert!(drain_done(&map, StorageId(1)));
    let (_, map) = show_plan(&map, remove(&map, StorageId(1)).expect("it holds nothing"));
    assert!(map.retired.contains(&StorageId(1)));
}

#[test]
fn a_drained_node_ends_empty_and_redundancy_never_falls() {
    let mut map = zones();
    let node = StorageId(3);
    assert!(matches!(remove(&map, node), Err(RemovalBlocked { .. })));
    map.apply(&Command::Register(registration(6, "eu/3", 1)))
        .expect("joined");
    let (text, mut map) = show_plan(
        &map,
        drain(
            &Strategies::built_in(),
            &map,
            node,
            CopyCaps { copies_max: 5 },
        ),
    );
    insta::assert_snapshot!("drain_first_step", text);
    let mut steps = 0;
    while !drain_done(&map, node) {
        catch_up(&mut map);
        let (_, then) = show_plan(
            &map,
            drain(
                &Strategies::built_in(),
                &map,
                node,
                CopyCaps { copies_max: 5 },
            ),
        );
        map = then;
        assert!(map.partitions().all(|(_, _, a)| a.in_sync.len() >= 3));
        steps += 1;
        assert!(steps < 10);
    }
    assert_eq!(map.members[&node].state, MemberState::Draining);
}

#[test]
fn a_drain_that_would_cost_redundancy_says_so_and_waits() {
    let map = three();
    let plan = drain(
        &Strategies::built_in(),
        &map,
        StorageId(1),
        CopyCaps::DEFAULT,
    );
    assert!(
        plan.reasons
            .contains(&"8 partitions have no other member for a replica".to_owned())
    );
    let (_, map) = show_plan(&map, plan);
    assert!(!drain_done(&map, StorageId(1)));
    assert!(
        map.partitions()
            .all(|(_, _, a)| a.primary_member() != Some(StorageId(1)))
    );
}

#[test]
fn a_node_that_joins_gets_its_share() {
    let mut map = three();
    map.apply(&Command::Register(registration(4, "", 1)))
        .expect("joined");
    let caps = CopyCaps { copies_max: 2 };
    let (text, _) = show_plan(&map, balance_replicas(&map, caps));
    insta::assert_snapshot!(text);
}

#[test]
fn a_table_made_on_one_node_is_filled_when_others_join() {
    let mut map = cluster(&[("", 1)]);
    create_table(&mut map, "users", &definition(2, 3, 2)).expect("created");
    assert_eq!(health::summary(&map).below_min_in_sync, 2);
    for number in [2, 3] {
        map.apply(&Command::Register(registration(number, "", 1)))
            .expect("joined");
    }
    let (text, mut map) = show_plan(&map, fill(&map, CopyCaps::DEFAULT));
    insta::assert_snapshot!(text);
    catch_up(&mut map);
    assert_eq!(
        health::summary(&map),
        health::Summary {
            partitions: 2,
            members: 3,
            ..health::Summary::default()
        }
    );
}

#[test]
fn l20_copying_is_refused_when_too_much_is_missing() {
    let map = zones();
    let copying = |numbers: &[u64]| {
        let missing: Vec<_> = numbers.iter().map(|n| StorageId(*n)).collect();
        copying_allowed(&map, &missing).is_ok()
    };
    assert!(copying(&[1]) && copying(&[1, 4]) && copying(&[2, 5]));
    assert!(!copying(&[1, 2]) && !copying(&[1, 2, 3]));
}

#[test]
fn l22_an_explanation_says_what_the_fail_over_then_does_and_changes_nothing() {
    for map in [three(), zones()] {
        let before = map.clone();
        for (storage, member) in &map.members {
            let told = explain::if_fails(&Strategies::built_in(), &map, &all(&map), &[*storage]);
            let mut then = map.clone();
            carry_out(
                &mut then,
                on_member_down(&Strategies::built_in(), &map, *storage, member.incarnation),
            )
            .unwrap();
            for outcome in &told.partitions {
                let really = then.assignment(outcome.partition).unwrap();
                assert_eq!(outcome.next_primary, really.primary_member());
                assert_eq!(
                    (outcome.epoch, &outcome.in_sync),
                    (really.epoch, &really.in_sync)
                );
            }
            assert_eq!(told.after, health::summary(&then));
        }
        assert_eq!(map, before);
    }
    let map = three();
    let told = explain::if_fails(
        &Strategies::built_in(),
        &map,
        &[StorageId(3)],
        &[StorageId(1), StorageId(2), StorageId(99)],
    );
    assert_eq!(told.failed, [StorageId(1), StorageId(2)]);
    assert!(
        told.partitions
            .iter()
            .all(|p| p.readable && !p.writable && p.copies_after == 1)
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&told).unwrap());
}

fn all(map: &ClusterMap) -> Vec<StorageId> {
    map.members.keys().copied().collect()
}

#[test]
fn without_a_majority_of_the_voters_nothing_is_served_that_misses_one_in_sync() {
    let (map, strategies) = (three(), Strategies::built_in());
    let two = [StorageId(1), StorageId(2)];
    let told = explain::if_fails(&strategies, &map, &all(&map), &two);
    assert_eq!(
        (told.voters, told.voters_left, told.majority),
        (3, 1, false)
    );
    assert_eq!(told.failovers, 0);
    assert!(!told.partitions.is_empty());
    let served = |outcome: &&explain::PartitionOutcome| outcome.readable || outcome.writable;
    assert_eq!(told.partitions.iter().find(served), None);
    // A voter that is dead already is missing too.
    let mut map = map;
    map.members.get_mut(&StorageId(2)).unwrap().state = MemberState::Down;
    let told = explain::if_fails(&strategies, &map, &all(&map), &[StorageId(1)]);
    assert!(!told.majority);
    let told = explain::if_fails(&strategies, &three(), &all(&map), &[StorageId(1)]);
    assert!(told.majority && told.partitions.iter().all(|outcome| outcome.readable));
}

/// A strategy that would lose acknowledged writes if it were let.
#[derive(Debug)]
struct Reckless;

impl Strategy for Reckless {
    fn data_path(&self) -> DataPath {
        DataPath::PrimaryBackup
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        PrimaryBackup.assign(map, table)
    }

    fn react(&self, map: &ClusterMap, table: &Table, _: &Happening<'_>) -> Vec<Reaction> {
        let all: Vec<StorageId> = map.members.keys().copied().collect();
        let dead = map
            .members
            .values()
            .find(|m| !m.is_live())
            .map(|m| m.storage);
        let next = NextAssignment {
            primary: dead,
            replicas: all.clone(),
            in_sync: all,
        };
        let foreign = PartitionId::new(TableId(table.id.0 + 1), 0);
        [PartitionId::new(table.id, 0), foreign]
            .map(|partition| Reaction {
                partition,
                next: next.clone(),
                reason: String::new(),
            })
            .into()
    }
}

#[test]
fn a_reckless_strategy_is_refused_by_the_name_of_the_rule() {
    let map = zones();
    let mut strategies = Strategies::default();
    strategies.register(PRIMARY_BACKUP, std::sync::Arc::new(Reckless));
    let plan = react_with(&strategies, &map, &Happening::MembersDown(&[StorageId(1)]));
    assert_eq!(plan.assignments, []);
    assert_eq!(
        plan.refused.len(),
        1,
        "and what is another table's is not even looked at"
    );
    let unknown = react_with(&Strategies::default(), &map, &Happening::MembersDown(&[]));
    assert_eq!(unknown.assignments, []);
    let why = "table users stays as it is: there is no strategy named primary-backup";
    assert_eq!(unknown.reasons, [why]);
}
