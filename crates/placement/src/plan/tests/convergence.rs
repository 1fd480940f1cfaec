//! The planners together come to rest, in a state that is whole and even.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::plan::*;
use crate::testing::{carry_out, catch_up, cluster, create_table, definition, registration};
use crate::*;

/// What the controller does when nothing fails, until there is nothing left to do.
pub(super) fn settle(map: &mut ClusterMap) -> Result<usize, TestCaseError> {
    let offices = OfficeCaps {
        moves_max: 8,
        ..OfficeCaps::default()
    };
    let caps = CopyCaps { copies_max: 8 };
    for round in 0..400 {
        let restarted: Vec<StorageId> = map.members.keys().copied().collect();
        let down: Vec<StorageId> = map
            .members
            .values()
            .filter(|m| !m.is_live())
            .map(|m| m.storage)
            .collect();
        let mut idle = true;
        let mut act = |map: &mut ClusterMap, plan: Plan| -> Result<(), TestCaseError> {
            prop_assert_eq!(&plan.refused, &[]);
            if !plan.is_empty() {
                idle = false;
                let applied = carry_out(map, plan).unwrap();
                prop_assert_eq!(&applied.skipped, &[]);
            }
            Ok(())
        };
        for storage in restarted {
            let plan = on_restart(&Strategies::built_in(), map, storage);
            act(map, plan)?;
        }
        let plan = remove_dead(&Strategies::built_in(), map);
        act(map, plan)?;
        let plan = rereplicate(map, &down, caps);
        act(map, plan)?;
        let plan = fill(map, caps);
        act(map, plan)?;
        let plan = drop_surplus(map);
        act(map, plan)?;
        let plan = balance_replicas(map, caps);
        act(map, plan)?;
        let plan = balance_primaries(map, &offices);
        act(map, plan)?;
        let plan = balance_owners(map, &offices);
        act(map, plan)?;
        let version = map.version;
        catch_up(map);
        let caught_up = map.version > version;
        for storage in down {
            if let Ok(plan) = remove(map, storage) {
                act(map, plan)?;
            }
        }
        if idle && !caught_up {
            return Ok(round);
        }
    }
    Err(TestCaseError::fail("the planners do not come to rest"))
}

fn active(partitions: u32) -> TableDefinition {
    TableDefinition {
        strategy: ACTIVE.to_owned(),
        ..definition(partitions, 3, 2)
    }
}

fn shared(partitions: u32) -> TableDefinition {
    TableDefinition {
        strategy: PARTITION.to_owned(),
        ..definition(partitions, 1, 1)
    }
}

fn even(map: &ClusterMap) -> Result<(), TestCaseError> {
    for table in map.tables.values() {
        let mut replicas: BTreeMap<StorageId, u64> = BTreeMap::new();
        let mut offices: BTreeMap<StorageId, u64> = BTreeMap::new();
        for assignment in &table.partitions {
            let wanted = (table.definition.replicas as usize).min(map.members.len());
            prop_assert_eq!(assignment.replicas.len(), wanted);
            prop_assert_eq!(assignment.in_sync.len(), wanted);
            let has_offices = table.definition.data_path().has_offices();
            prop_assert_eq!(map.is_filled(assignment.primary), has_offices);
            assignment
                .replicas
                .iter()
                .for_each(|s| *replicas.entry(*s).or_default() += 1);
            if let Some(primary) = assignment.primary_member() {
                *offices.entry(primary).or_default() += 1;
            }
        }
        for counts in [replicas, offices] {
            let of = |s: &StorageId| counts.get(s).copied().unwrap_or(0);
            let least = map.members.keys().map(of).min().unwrap();
            let most = map.members.keys().map(of).max().unwrap();
            prop_assert!(most - least <= 1, "{counts:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(super::config(48))]

    #[test]
    fn nodes_join_and_die_and_everything_becomes_whole_and_even_again(
        first in 1usize..6, joins in 0u64..4, dies in proptest::collection::vec(1u64..6, 0..2),
    ) {
        let mut map = cluster(&vec![("", 1); first]);
        create_table(&mut map, "users", &definition(16, 3, 2)).unwrap();
        create_table(&mut map, "pairs", &definition(8, 2, 1)).unwrap();
        create_table(&mut map, "one", &definition(1, 1, 1)).unwrap();
        create_table(&mut map, "visits", &active(16)).unwrap();
        create_table(&mut map, "owned", &shared(16)).unwrap();
        for number in 0..joins {
            let new = registration(10 + number, "", 1);
            map.apply(&Command::Register(new)).unwrap();
        }
        settle(&mut map)?;
        even(&map)?;
        for number in dies {
            let dead = StorageId(number);
            // A table with one copy must not lose it here.
            let only = map.partitions().any(|(_, table, a)| {
                a.in_sync == [dead] && table.definition.data_path().has_copies()
            });
            if map.members.len() > 3 && map.members.contains_key(&dead) && !only {
                let plan = on_member_down(&Strategies::built_in(), &map, dead, Incarnation(1));
                carry_out(&mut map, plan).unwrap();
                settle(&mut map)?;
                prop_assert!(map.retired.contains(&dead));
                even(&map)?;
            }
        }
    }

    #[test]
    fn a_map_at_rest_stays_at_rest(
        zones in proptest::collection::vec(proptest::sample::select(vec!["", "a", "b", "c"]), 1..8),
        weights in proptest::collection::vec(1u32..4, 8),
    ) {
        let members: Vec<_> = zones.iter().copied().zip(weights).collect();
        let mut map = cluster(&members);
        create_table(&mut map, "users", &definition(16, 3, 2)).unwrap();
        create_table(&mut map, "pairs", &definition(8, 2, 1)).unwrap();
        create_table(&mut map, "visits", &active(16)).unwrap();
        let replicas = |map: &ClusterMap| -> Vec<Vec<StorageId>> {
            map.partitions().map(|(_, _, a)| a.replicas.clone()).collect()
        };
        let before = replicas(&map);
        let rounds = settle(&mut map)?;
        prop_assert_eq!(before, replicas(&map), "what was just created is not copied around");
        prop_assert!(rounds <= 2, "a table may see a few offices move when another is created");
    }
}

#[test]
fn a_move_that_is_not_needed_any_more_is_undone() {
    let mut map = cluster(&[("", 1), ("", 1), ("", 1), ("", 1)]);
    create_table(&mut map, "users", &definition(4, 3, 2)).unwrap();
    let dead = StorageId(1);
    let plan = on_member_down(&Strategies::built_in(), &map, dead, Incarnation(1));
    carry_out(&mut map, plan).unwrap();
    let plan = rereplicate(&map, &[dead], CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    let back = Registration {
        incarnation: Incarnation(2),
        ..registration(1, "", 1)
    };
    map.apply(&Command::Register(back)).unwrap();
    settle(&mut map).unwrap();
    for (_, _, a) in map.partitions() {
        assert_eq!((a.replicas.len(), a.in_sync.len()), (3, 3), "{a:?}");
    }
}

#[test]
fn moves_that_are_under_way_count_as_done() {
    let mut map = cluster(&[("", 1), ("", 1), ("", 1)]);
    create_table(&mut map, "users", &definition(16, 3, 2)).unwrap();
    map.apply(&Command::Register(registration(4, "", 1)))
        .unwrap();
    let caps = CopyCaps { copies_max: 100 };
    let plan = balance_replicas(&map, caps);
    assert_eq!(plan.assignments.len(), 12, "a quarter of 48 replicas");
    carry_out(&mut map, plan).unwrap();
    assert!(balance_replicas(&map, caps).is_empty(), "all have started");
    catch_up(&mut map);
    assert!(
        balance_replicas(&map, caps).is_empty(),
        "all but the surplus is done"
    );
    let plan = drop_surplus(&map);
    assert_eq!(plan.assignments.len(), 12);
    carry_out(&mut map, plan).unwrap();
    assert!(balance_replicas(&map, caps).is_empty() && drop_surplus(&map).is_empty());
    settle(&mut map).unwrap();
    even(&map).unwrap();
}

#[test]
fn a_fraction_of_a_share_stays_with_the_zone_that_has_it() {
    let mut map = cluster(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    for name in ["users", "pairs", "orders", "items"] {
        create_table(&mut map, name, &definition(2, 3, 2)).unwrap();
    }
    map.apply(&Command::DropTable {
        name: "pairs".to_owned(),
        at_ms: 0,
    })
    .unwrap();
    assert!(balance_replicas(&map, CopyCaps::DEFAULT).is_empty());
}

#[test]
fn owners_on_shared_storage_are_spread_among_all_that_are_fit() {
    let mut map = cluster(&[("", 1), ("", 1), ("", 1), ("", 1)]);
    create_table(&mut map, "owned", &shared(8)).unwrap();
    let [dead, unfit] = [4, 3].map(StorageId);
    let plan = on_member_down(&Strategies::built_in(), &map, dead, Incarnation(1));
    carry_out(&mut map, plan).unwrap();
    let back = Registration {
        incarnation: Incarnation(2),
        ..registration(4, "", 1)
    };
    map.apply(&Command::Register(back)).unwrap();
    let held = |map: &ClusterMap| {
        let of = |storage: &StorageId| {
            let offices = map.partitions();
            offices
                .filter(|(_, _, a)| a.primary_member() == Some(*storage))
                .count()
        };
        map.members.keys().map(of).collect::<Vec<_>>()
    };
    let before = held(&map);
    let caps = OfficeCaps {
        moves_max: 8,
        unfit: [dead].into(),
        ..OfficeCaps::default()
    };
    assert_eq!(before[3], 0, "{before:?}");
    assert!(
        balance_owners(&map, &caps).is_empty(),
        "nobody is given what the others have"
    );
    let caps = OfficeCaps {
        unfit: [unfit].into(),
        ..caps
    };
    let plan = balance_owners(&map, &caps);
    assert_eq!(plan.assignments.len(), 2, "its share: {plan:?}");
    carry_out(&mut map, plan).unwrap();
    assert_eq!(held(&map), [2, 2, 2, 2]);
    let moved = map
        .partitions()
        .filter(|(_, _, a)| a.primary_member() == Some(dead));
    for (partition, _, a) in moved {
        assert_eq!(
            (&a.replicas, &a.in_sync),
            (&vec![dead], &vec![dead]),
            "{partition}"
        );
    }
    assert!(balance_owners(&map, &caps).is_empty(), "it comes to rest");
}
