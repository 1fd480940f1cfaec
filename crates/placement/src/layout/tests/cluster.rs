//! Layouts of the tables of a map.

use super::super::{NONE, NodeState, check, of_table, plan};
use crate::testing::{cluster, create_table, definition};
use crate::{MemberState, StorageId};

#[test]
fn a_table_of_a_map_is_planned_and_checked() {
    let mut map = cluster(&[("a", 1), ("a", 1), ("b", 1), ("", 1), ("", 1)]);
    let id = create_table(&mut map, "table", &definition(16, 3, 2)).expect("a table fits");
    map.members
        .get_mut(&StorageId(2))
        .expect("it registered")
        .state = MemberState::Draining;
    let table = of_table(&map, &map.tables[&id]).expect("a small map");
    assert_eq!(
        table.topology.zones(),
        4,
        "members without a zone are in their own"
    );
    assert_eq!(table.topology.nodes()[1].state, NodeState::Leaving);
    assert_eq!(table.members[1], StorageId(2));
    for (row, assignment) in table.current.rows().zip(&map.tables[&id].partitions) {
        assert_eq!(
            Some(table.members[row[0] as usize]),
            assignment.primary_member()
        );
        assert_eq!(row.len(), assignment.replicas.len());
    }
    let plan = plan(&table.topology, &table.current, 3).expect("somebody takes");
    let proof = check(&table.topology, &table.current, 3, &plan).expect("the plan is sound");
    assert!(proof.is_optimal() && proof.copies > 0);
}

#[test]
fn a_partition_that_nobody_serves_and_a_replica_of_nobody_are_empty_places() {
    let mut map = cluster(&[("a", 1), ("b", 1), ("c", 1)]);
    let id = create_table(&mut map, "table", &definition(2, 2, 1)).expect("a table fits");
    let table = map.tables.get_mut(&id).expect("it was created");
    table.partitions[0].replicas = vec![StorageId(77), StorageId(2)];
    table.partitions[0].primary = None;
    let table = of_table(&map, &map.tables[&id]).expect("a small map");
    assert_eq!(table.current.row(0), [NONE, 1]);
}

#[test]
fn an_empty_map_makes_a_layout_on_which_nothing_can_be_planned() {
    let mut map = cluster(&[("a", 1)]);
    let id = create_table(&mut map, "table", &definition(2, 1, 1)).expect("a table fits");
    map.members.clear();
    let table = of_table(&map, &map.tables[&id]).expect("a small map");
    assert!(plan(&table.topology, &table.current, 1).is_err());
}
