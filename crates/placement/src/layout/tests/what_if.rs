//! What if, and the weakest points, against counting one by one.

use super::super::{Failure, Node, Placement, Topology, Weakness, plan, weakest_points, what_if};
use super::random::case;

fn as_weakness(topology: &Topology, layout: &Placement, failure: Failure) -> Weakness {
    let failed: Vec<u32> = match failure {
        Failure::Node(node) => vec![node],
        Failure::Pair(one, other) => vec![one, other],
        Failure::Zone(zone) => (0..topology.nodes().len() as u32)
            .filter(|&node| topology.zone_of(node as usize) == zone)
            .collect(),
    };
    let after = what_if(topology, layout, &failed, 2);
    Weakness {
        lost: after.lost.len() as u32,
        unavailable: after.unavailable.len() as u32,
        weakened: after.weakened.len() as u32,
        primaries_max: after
            .loads
            .iter()
            .map(|load| load.primaries)
            .max()
            .unwrap_or(0),
        failure,
    }
}

#[test]
fn every_weakest_point_is_what_would_be_if_it_failed() {
    for seed in 0..200 {
        let case = case(seed, 20, 8);
        let points = weakest_points(&case.topology, &case.current, 2, usize::MAX);
        for point in &points {
            let failure = point.failure;
            assert_eq!(
                *point,
                as_weakness(&case.topology, &case.current, failure),
                "seed {seed}"
            );
        }
        assert!(points.is_sorted_by(|a, b| a >= b), "the worst is first");
        let live = case
            .topology
            .nodes()
            .iter()
            .filter(|node| node.is_live())
            .count();
        let others = |point: &&Weakness| !matches!(point.failure, Failure::Zone(_));
        assert_eq!(points.iter().filter(others).count(), live * (live + 1) / 2);
    }
}

#[test]
fn every_partition_has_the_next_holder_among_its_survivors() {
    for seed in 0..200 {
        let case = case(seed, 20, 8);
        let layout = plan(&case.topology, &case.current, case.replicas).expect("somebody takes");
        let layout = layout.target;
        let after = what_if(&case.topology, &layout, &[0, 2], 2);
        let live = |node: u32| case.topology.nodes()[node as usize].is_live();
        for (row, holder) in layout.rows().zip(&after.holders) {
            let survivors = row
                .iter()
                .filter(|&&node| ![0, 2].contains(&node) && live(node));
            let survivors: Vec<&u32> = survivors.collect();
            assert_eq!(holder.is_none(), survivors.is_empty());
            assert!(holder.is_none_or(|holder| survivors.contains(&&holder)));
            if let Some(primary) = survivors.first().filter(|first| **first == &row[0]) {
                assert_eq!(*holder, Some(**primary), "who survives stays primary");
            }
        }
        let served: u32 = after.loads.iter().map(|load| load.primaries).sum();
        assert_eq!(served as usize, after.holders.iter().flatten().count());
    }
}

#[test]
fn two_nodes_that_hold_both_replicas_are_the_weakest_point() {
    let nodes = (0..3).map(|id| Node::new(id, 1, id as u32)).collect();
    let topology = Topology::new(nodes).expect("ids are distinct");
    let layout = Placement::new(3, 2, vec![0, 1, 1, 2, 2, 1]).expect("distinct");
    let worst = weakest_points(&topology, &layout, 1, 1);
    assert_eq!(worst[0].failure, Failure::Pair(1, 2));
    assert_eq!((worst[0].lost, worst[0].weakened), (2, 3));
}
