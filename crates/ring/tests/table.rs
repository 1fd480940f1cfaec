//! The compiled table against what it was compiled from.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use proptest::prelude::*;
use tablestore_ring::{DivisionsDiffer, Locate, PartitionTable, Point, ReplicaTable, Ring, Server};

fn ring(servers: u16) -> Ring<u16> {
    let mut ring = Ring::new();
    let server = |id: u16| Server::new(id * 3).zone(format!("z{}", id % 4));
    ring.extend((0..servers).map(server)).unwrap();
    ring
}

fn table(servers: u16, replicas: usize) -> ReplicaTable<u16> {
    ReplicaTable::compile(&ring(servers), PartitionTable::new(256).unwrap(), replicas).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_answers_as_its_source_does_at_the_start_of_the_partition(
        servers in 0_u16..20,
        replicas in 0_usize..5,
        point: u64,
    ) {
        let (ring, table) = (ring(servers), table(servers, replicas));
        let partition = table.division().partition_of(Point(point));
        let expected = ring.preference(table.division().point_of_partition(partition), replicas);
        prop_assert_eq!(&table.preference(Point(point), 9), &expected);
        prop_assert_eq!(table.owner(Point(point)), expected.first().copied());
        prop_assert_eq!(table.of_partition(partition).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_difference_of_two_tables_is_exact(
        before in 0_u16..20,
        after in 0_u16..20,
        replicas in 1_usize..4,
        other in 1_usize..4,
    ) {
        let (before, after) = (table(before, replicas), table(after, other));
        let lists = |table: &ReplicaTable<u16>, p: u32| -> Vec<u16> {
            table.of_partition(p).copied().collect()
        };
        let differing: Vec<_> = (0..256)
            .filter(|p| lists(&before, *p) != lists(&after, *p))
            .collect();
        let found: Vec<_> = before.diff(&after).unwrap().collect();
        prop_assert_eq!(found.iter().map(|one| one.partition).collect::<Vec<_>>(), differing);
        for one in found {
            prop_assert_eq!(one.from, before.of_partition(one.partition).collect::<Vec<_>>());
            prop_assert_eq!(one.to, after.of_partition(one.partition).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_plan_becomes_a_table() {
    let lists = [vec!["b", "a"], vec![], vec!["c", "b", "a"], vec!["a"]];
    let division = PartitionTable::new(4).unwrap();
    let table = ReplicaTable::from_plan(division, 2, |p| &lists[p as usize]).unwrap();
    assert_eq!(table.nodes(), ["a", "b", "c"]);
    assert_eq!(table.preference(Point(0), 5), [&"b", &"a"]);
    assert_eq!(table.owner(Point(1 << 62)), None);
    assert_eq!(table.preference(Point(2 << 62), 5), [&"c", &"b"]);
    assert_eq!(table.owner(Point::MAX), Some(&"a"));
}

#[test]
fn a_single_partition_is_the_whole_circle() {
    let one = ReplicaTable::compile(&ring(5), PartitionTable::new(1).unwrap(), 2).unwrap();
    for point in [Point::MIN, Point(1 << 63), Point::MAX] {
        assert_eq!(one.preference(point, 2), ring(5).preference(Point::MIN, 2));
        assert_eq!(one.owner(point), ring(5).owner(Point::MIN));
        let index = one.owner_index(point).unwrap();
        assert_eq!(Some(&one.nodes()[index]), one.owner(point));
    }
}

#[test]
fn tables_of_different_divisions_have_no_difference() {
    let coarse = ReplicaTable::compile(&ring(3), PartitionTable::new(8).unwrap(), 1).unwrap();
    let error = coarse.diff(&table(3, 1)).err();
    assert_eq!(
        error,
        Some(DivisionsDiffer {
            before: 8,
            after: 256
        })
    );
}
