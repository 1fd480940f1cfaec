//! Tables are altered: what is refused, and what becomes of their assignments.

use super::*;
use crate::plan::{CopyCaps, fill, order_of_leaving};
use crate::testing::carry_out;

fn alter(map: &ClusterMap, name: Text<'_>, alteration: (Option<u32>, Option<u32>)) -> Command {
    let (replicas, min_in_sync) = alteration;
    let table = map.table_named(name);
    let leaving = table
        .zip(replicas)
        .map(|(t, n)| order_of_leaving(map, t, n));
    Command::AlterTable {
        name: name.to_owned(),
        alteration: Alteration {
            replicas,
            min_in_sync,
        },
        leaving: leaving.unwrap_or_default(),
        at_ms: 0,
    }
}

/// Five members, and a table of three replicas of each strategy that has any.
fn five() -> ClusterMap {
    let mut map = cluster(&[("", 1); 5]);
    create_table(&mut map, "users", &definition(4, 3, 2)).expect("created");
    let active = TableDefinition {
        strategy: ACTIVE.to_owned(),
        ..definition(4, 3, 2)
    };
    create_table(&mut map, "visits", &active).expect("created");
    map
}

#[test]
fn what_a_table_could_not_be_created_with_it_does_not_become() {
    let mut map = five();
    let cases = [
        ("users", (Some(0), None), "replicas"),
        ("users", (Some(8), None), "replicas"),
        ("users", (None, Some(0)), "min_in_sync"),
        ("users", (None, Some(4)), "min_in_sync"),
        ("users", (Some(1), None), "min_in_sync"),
        ("users", (Some(2), Some(3)), "min_in_sync"),
        ("visits", (Some(8), None), "replicas"),
    ];
    for (name, alteration, expected) in cases {
        let command = alter(&map, name, alteration);
        let Refused::Invalid { field, .. } = refused(&mut map, &command) else {
            panic!("{alteration:?} of {name}");
        };
        assert_eq!(field, expected, "{alteration:?} of {name}");
    }
    let unknown = alter(&map, "others", (Some(2), None));
    let name = "others".to_owned();
    assert_eq!(refused(&mut map, &unknown), Refused::UnknownTable { name });
}

#[test]
fn a_strategy_without_the_setting_refuses_to_alter_it() {
    let mut map = five();
    let shared = TableDefinition {
        strategy: PARTITION.to_owned(),
        ..definition(4, 1, 1)
    };
    create_table(&mut map, "owned", &shared).expect("created");
    for (name, alteration) in [
        ("owned", (Some(1), None)),
        ("owned", (None, Some(1))),
        ("visits", (None, Some(2))),
        ("visits", (Some(5), Some(3))),
    ] {
        let command = alter(&map, name, alteration);
        let found = refused(&mut map, &command);
        assert!(matches!(found, Refused::Unsupported { .. }), "{found:?}");
    }
}

#[test]
fn a_greater_minimum_begins_new_epochs_and_a_smaller_one_only_new_versions() {
    let mut map = five();
    let id = map.table_named("users").expect("it is there").id;
    let before = map.tables[&id].partitions.clone();
    let rises = alter(&map, "users", (None, Some(3)));
    let applied = map.apply(&rises).expect("altered");
    assert_eq!(applied.table, Some(id));
    let decision = map.decisions.back().expect("it is recorded");
    assert_eq!(decision.kind, DecisionKind::TableAltered);
    assert_eq!(decision.changes_total, 4);
    for (old, new) in before.iter().zip(&map.tables[&id].partitions) {
        let expected = Assignment {
            epoch: old.epoch.next(),
            version: old.version.next(),
            ..old.clone()
        };
        assert_eq!(*new, expected);
    }
    let version = map.version;
    let again = map.apply(&rises).expect("nothing to do");
    assert_eq!((again.decision, map.version), (None, version));
    let before = map.tables[&id].partitions.clone();
    let falls = alter(&map, "users", (Some(5), Some(1)));
    map.apply(&falls).expect("altered");
    assert_eq!(map.tables[&id].definition.replicas, 5);
    assert_eq!(map.tables[&id].definition.min_in_sync, 1);
    for (old, new) in before.iter().zip(&map.tables[&id].partitions) {
        let version = old.version.next();
        assert_eq!(
            *new,
            Assignment {
                version,
                ..old.clone()
            }
        );
    }
}

#[test]
fn more_replicas_than_twice_as_many_as_are_wanted_still_change_one_by_one() {
    let mut map = cluster(&[("", 1); 5]);
    create_table(&mut map, "users", &definition(1, 5, 1)).expect("created");
    let partition = PartitionId::new(TableId(1), 0);
    let one = alter(&map, "users", (Some(1), None));
    map.apply(&one).expect("altered");
    let current = map.assignment(partition).expect("it is there").clone();
    let mut next = NextAssignment::keep(&current);
    let goes = current.replicas[4];
    next.replicas.retain(|s| *s != goes);
    next.in_sync.retain(|s| *s != goes);
    let command = assign(&map, partition, next);
    let applied = map.apply(&command).expect("applied");
    assert_eq!(applied.skipped, []);
    assert_eq!(map.assignment(partition).expect("there").replicas.len(), 4);
    let mut next = NextAssignment::keep(&current);
    next.replicas.push(s(9));
    let more = assign(&map, partition, next);
    let applied = map.apply(&more).expect("applied");
    assert!(matches!(
        applied.skipped[..],
        [(_, Refused::RuleBroken { .. })]
    ));
}

#[test]
fn a_change_of_an_active_table_that_is_under_way_is_given_up_where_it_would_end_elsewhere() {
    let mut map = five();
    let id = map.table_named("visits").expect("it is there").id;
    let partition = PartitionId::new(id, 0);
    let five = alter(&map, "visits", (Some(5), None));
    map.apply(&five).expect("altered");
    let old = map.assignment(partition).expect("there").clone();
    assert_eq!(old.epoch, Epoch(1), "nothing is under way yet");
    assert_eq!(map.tables[&id].definition.min_in_sync, 3, "a majority");
    let plan = fill(&map, CopyCaps::DEFAULT);
    carry_out(&mut map, plan).expect("applied");
    let comes = map.assignment(partition).expect("there").clone();
    assert!(comes.joiner().is_some());
    // It goes on where it would end in the same set.
    let four = alter(&map, "visits", (Some(4), None));
    map.apply(&four).expect("altered");
    assert_eq!(map.assignment(partition), Some(&comes));
    let two = alter(&map, "visits", (Some(2), None));
    map.apply(&two).expect("altered");
    let leaves = map.assignment(partition).expect("there").clone();
    assert_eq!((leaves.epoch, leaves.joiner()), (Epoch(3), None));
    assert_eq!(leaves.in_sync, old.in_sync);
    let then = leaves.replicas_after(2).expect("one leaves");
    assert_eq!(then.len(), 2);
    // One of those that stay ends it, and nobody else.
    let last = *leaves.replicas.last().expect("three");
    let ask = |member: StorageId| Command::ProposeInSync {
        partition,
        epoch: leaves.epoch,
        version: leaves.version,
        office: Office {
            member,
            incarnation: Incarnation(1),
        },
        in_sync: then.clone(),
        joiner: None,
        at_ms: 0,
    };
    let found = refused(&mut map, &ask(last));
    assert!(matches!(found, Refused::RuleBroken { .. }), "{found:?}");
    map.apply(&ask(then[0])).expect("applied");
    let end = map.assignment(partition).expect("there");
    assert_eq!((&end.in_sync, &end.replicas), (&then, &then));
    assert_eq!((end.epoch, end.replicas_after(2)), (Epoch(4), None));
}
