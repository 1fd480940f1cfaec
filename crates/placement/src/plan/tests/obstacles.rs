//! What keeps partitions on a member that drains, in words.

use crate::plan::*;
use crate::testing::{carry_out, catch_up, cluster, create_table, definition, registration};
use crate::*;

fn told(map: &ClusterMap, storage: u64) -> Vec<String> {
    let obstacles = drain_obstacles(map, StorageId(storage));
    obstacles.iter().map(Obstacle::to_string).collect()
}

fn drained(map: &ClusterMap, storage: u64) -> ClusterMap {
    let mut map = map.clone();
    let (strategies, caps) = (Strategies::built_in(), CopyCaps { copies_max: 100 });
    for _ in 0..8 {
        let plan = drain(&strategies, &map, StorageId(storage), caps);
        carry_out(&mut map, plan).expect("it fits");
        catch_up(&mut map);
    }
    map
}

fn with_table(members: &[(&str, u32)]) -> ClusterMap {
    let mut map = cluster(members);
    create_table(&mut map, "orders", &definition(8, 3, 2)).expect("created");
    map
}

#[test]
fn three_copies_on_three_members_need_a_fourth_one() {
    let map = with_table(&[("", 1), ("", 1), ("", 1)]);
    let expected = "8 partitions of table orders cannot move: it wants 3 copies and only 2 other \
                    nodes can hold them: add a node, or alter the table to fewer replicas";
    assert_eq!(told(&map, 3), [expected]);
    let mut map = drained(&map, 3);
    assert_eq!(told(&map, 3), [expected]);
    assert_eq!(places_left(&map, StorageId(3)), (8, 0));
    map.apply(&Command::Register(registration(4, "", 1)))
        .expect("joined");
    assert_eq!(told(&map, 3), [""; 0]);
    let map = drained(&map, 3);
    assert!(drain_done(&map, StorageId(3)));
    assert_eq!(places_left(&map, StorageId(3)), (0, 0));
}

#[test]
fn a_member_that_drains_too_can_take_nothing() {
    let map = with_table(&[("", 1); 4]);
    assert_eq!(told(&map, 4), [""; 0]);
    let map = drained(&map, 3);
    assert!(drain_done(&map, StorageId(3)));
    assert!(told(&map, 4)[0].contains("only 2 other nodes"));
}

#[test]
fn copies_on_members_that_are_down_are_named() {
    let mut map = with_table(&[("", 1); 4]);
    let mut down = Plan::default();
    let of = map.partitions().next().expect("the first").2.clone();
    let (leaves, other) = (of.replicas[0], of.replicas[1]);
    down.members
        .push((other, Incarnation(1), MemberState::Down));
    for (partition, _, current) in map.partitions() {
        if current.in_sync.contains(&other) {
            let office = current.primary_member();
            let mut next = NextAssignment::keep(current);
            next.in_sync.retain(|s| *s != other);
            next.primary = office
                .filter(|s| *s != other)
                .or_else(|| next.in_sync.first().copied());
            down.assignments.push(AssignmentChange {
                partition,
                expected: (current.epoch, current.version),
                next,
                stopped: Vec::new(),
            });
        }
    }
    carry_out(&mut map, down).expect("it fits");
    let name = map.members[&other].name.clone();
    // First a fourth copy comes to where that is possible.
    let map = drained(&map, leaves.0);
    let told = told(&map, leaves.0);
    assert!(!told.is_empty(), "they wait for {name}");
    let way = format!("other copies are on {name}");
    assert!(told.iter().any(|one| one.contains(&way)), "{told:?}");
}
