//! A table is altered and the planners bring its replicas to what is wanted, in bounded steps.

use proptest::prelude::*;

use super::convergence::settle;
use crate::plan::*;
use crate::testing::{carry_out, catch_up_where, cluster, create_table, definition};
use crate::*;

fn alter(map: &mut ClusterMap, name: &str, replicas: u32, min_in_sync: Option<u32>) {
    let table = map.table_named(name).unwrap();
    let leaving = order_of_leaving(map, table, replicas);
    let command = Command::AlterTable {
        name: name.to_owned(),
        alteration: Alteration {
            replicas: Some(replicas),
            min_in_sync,
        },
        leaving,
        at_ms: 0,
    };
    map.apply(&command).unwrap();
}

fn tables(map: &mut ClusterMap, replicas: u32) {
    create_table(map, "users", &definition(8, replicas, 1)).unwrap();
    let active = TableDefinition {
        strategy: ACTIVE.to_owned(),
        ..definition(8, replicas, replicas / 2 + 1)
    };
    create_table(map, "visits", &active).unwrap();
}

/// Whether every partition has as many whole replicas as its table asks for, in distinct zones as
/// far as there are enough.
fn is_as_wanted(map: &ClusterMap) -> Result<(), TestCaseError> {
    for (partition, table, a) in map.partitions() {
        let wanted = table.definition.replicas as usize;
        prop_assert_eq!(a.replicas.len(), wanted, "{} {:?}", partition, a);
        prop_assert_eq!(a.in_sync.len(), wanted, "{} {:?}", partition, a);
        let zone = |s: &StorageId| map.members[s].failure_domain();
        let zones: std::collections::BTreeSet<_> = a.replicas.iter().map(zone).collect();
        let all: std::collections::BTreeSet<_> =
            map.members.values().map(Member::failure_domain).collect();
        prop_assert_eq!(zones.len(), wanted.min(all.len()), "{} {:?}", partition, a);
    }
    Ok(())
}

proptest! {
    #![proptest_config(super::config(48))]

    #[test]
    fn tables_come_to_have_as_many_replicas_as_they_are_altered_to(
        zoned in any::<bool>(), first in 1u32..6,
        then in proptest::collection::vec((1u32..6, 0usize..12), 1..5),
    ) {
        let zones = match zoned {
            true => [("a", 1), ("a", 1), ("b", 1), ("b", 1), ("c", 1), ("c", 1)],
            false => [("", 1); 6],
        };
        let mut map = cluster(&zones);
        tables(&mut map, first);
        for (replicas, steps) in then {
            alter(&mut map, "users", replicas, None);
            alter(&mut map, "visits", replicas, None);
            // The next alteration may come in the middle of this one.
            for step in 0..steps {
                let caps = CopyCaps { copies_max: 4 };
                for plan in [fill(&map, caps), drop_surplus(&map)] {
                    prop_assert_eq!(&plan.refused, &[]);
                    let applied = carry_out(&mut map, plan).unwrap();
                    prop_assert_eq!(&applied.skipped, &[]);
                }
                catch_up_where(&mut map, |p| p.partition as usize % 3 == step % 3);
            }
        }
        settle(&mut map)?;
        is_as_wanted(&map)?;
    }
}

#[test]
fn a_dead_replica_leaves_first_and_the_others_stay() {
    let mut map = cluster(&[("", 1); 5]);
    tables(&mut map, 5);
    let dead = StorageId(2);
    let plan = on_member_down(&Strategies::built_in(), &map, dead, Incarnation(1));
    carry_out(&mut map, plan).unwrap();
    alter(&mut map, "users", 4, None);
    alter(&mut map, "visits", 4, None);
    for _ in 0..8 {
        let plan = drop_surplus(&map);
        carry_out(&mut map, plan).unwrap();
        catch_up_where(&mut map, |_| true);
    }
    for (partition, _, a) in map.partitions() {
        assert!(!a.replicas.contains(&dead), "{partition} {a:?}");
        assert_eq!(a.replicas.len(), 4, "{partition} {a:?}");
    }
}

#[test]
fn a_surplus_replica_stays_while_another_one_is_not_in_sync() {
    let mut map = cluster(&[("", 1); 3]);
    create_table(&mut map, "users", &definition(1, 3, 1)).unwrap();
    let partition = PartitionId::new(TableId(1), 0);
    let current = map.assignment(partition).unwrap().clone();
    let primary = current.primary.unwrap();
    let alone = Command::ProposeInSync {
        partition,
        epoch: current.epoch,
        version: current.version,
        office: primary,
        in_sync: vec![primary.member],
        joiner: None,
        at_ms: 0,
    };
    map.apply(&alone).unwrap();
    alter(&mut map, "users", 2, Some(2));
    assert!(drop_surplus(&map).is_empty());
    assert_eq!(map.assignment(partition).unwrap().in_sync.len(), 1);
}

#[test]
fn a_member_that_is_dying_takes_the_place_of_the_one_that_was_to_leave() {
    let mut map = cluster(&[("", 1); 3]);
    tables(&mut map, 3);
    alter(&mut map, "visits", 2, None);
    let id = map.table_named("visits").unwrap().id;
    let partition = PartitionId::new(id, 0);
    let before = map.assignment(partition).unwrap().clone();
    let dead = before.replicas[0];
    let plan = on_member_down(&Strategies::built_in(), &map, dead, Incarnation(1));
    carry_out(&mut map, plan).unwrap();
    let plan = drop_surplus(&map);
    assert_eq!(plan.refused, []);
    carry_out(&mut map, plan).unwrap();
    let after = map.assignment(partition).unwrap();
    assert_eq!(after.replicas.last(), Some(&dead));
    assert_eq!(after.epoch, before.epoch.next());
    let again = drop_surplus(&map);
    assert!(again.assignments.iter().all(|c| c.partition.table != id));
}
