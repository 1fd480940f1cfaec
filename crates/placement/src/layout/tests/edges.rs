//! The edges: nobody, one node, one heavy zone, more replicas than zones or nodes.

use super::super::{
    Cause, NONE, Node, NodeState, Placement, PlacementInvalid, Plan, PlanRefused, Topology,
    TopologyInvalid, check, plan,
};

fn topology(nodes: &[(u32, u32)]) -> Topology {
    let node = |(id, &(weight, zone)): (u64, &(u32, u32))| Node::new(id, weight, zone);
    Topology::new((0..).zip(nodes).map(node).collect()).expect("ids are distinct")
}

fn planned(topology: &Topology, current: &Placement, replicas: usize) -> Plan {
    let plan = plan(topology, current, replicas).expect("somebody takes");
    let proof = check(topology, current, replicas, &plan).expect("the plan is sound");
    assert!(proof.is_optimal());
    plan
}

fn loads(plan: &Plan, nodes: usize) -> Vec<usize> {
    let of = |node: u32| {
        plan.target
            .rows()
            .flatten()
            .filter(|held| **held == node)
            .count()
    };
    (0..nodes as u32).map(of).collect()
}

fn empty(partitions: usize) -> Placement {
    Placement::empty(partitions).expect("few partitions")
}

#[test]
fn no_nodes_are_refused() {
    let refused = plan(&topology(&[]), &empty(4), 3);
    assert_eq!(refused, Err(PlanRefused::NoNodes));
}

#[test]
fn weight_zero_everywhere_is_refused() {
    let refused = plan(&topology(&[(0, 0), (0, 1)]), &empty(4), 3);
    assert_eq!(refused, Err(PlanRefused::NobodyTakes));
}

#[test]
fn no_replicas_are_refused() {
    let refused = plan(&topology(&[(1, 0)]), &empty(4), 0);
    assert_eq!(refused, Err(PlanRefused::Replicas(0)));
}

#[test]
fn a_node_that_does_not_exist_is_refused() {
    let current = Placement::new(1, 2, vec![0, 7]).expect("distinct");
    let refused = plan(&topology(&[(1, 0)]), &current, 1);
    let (partition, node) = (0, 7);
    assert_eq!(refused, Err(PlanRefused::UnknownNode { partition, node }));
}

#[test]
fn equal_ids_are_refused_and_so_are_repeated_places() {
    let twice = vec![Node::new(5, 1, 0), Node::new(5, 1, 1)];
    assert_eq!(Topology::new(twice), Err(TopologyInvalid::SameId(5)));
    let repeated = Placement::new(2, 2, vec![0, NONE, 1, 1]);
    assert_eq!(repeated, Err(PlacementInvalid::Repeated(1)));
}

#[test]
fn no_partitions_are_an_empty_plan() {
    let plan = planned(&topology(&[(1, 0), (1, 1)]), &empty(0), 2);
    assert_eq!(plan.copies(), 0);
}

#[test]
fn one_node_holds_everything_once() {
    let plan = planned(&topology(&[(3, 0)]), &empty(5), 3);
    assert_eq!(plan.target.replicas(), 1);
    assert_eq!(loads(&plan, 1), [5]);
}

#[test]
fn a_zone_with_most_of_the_weight_holds_each_partition_once() {
    let topology = topology(&[(50, 0), (50, 0), (1, 1), (1, 2), (2, 2)]);
    let plan = planned(&topology, &empty(8), 3);
    assert_eq!(loads(&plan, 5), [4, 4, 8, 3, 5]);
}

#[test]
fn fewer_zones_than_replicas_are_all_used() {
    let topology = topology(&[(1, 0), (1, 0), (1, 0), (1, 1)]);
    let plan = planned(&topology, &empty(6), 3);
    assert_eq!(loads(&plan, 4), [4, 4, 4, 6]);
}

#[test]
fn a_fourth_node_in_the_only_zone_gets_its_share() {
    let before = planned(&topology(&[(1, 0), (1, 0), (1, 0)]), &empty(8), 3);
    let after = planned(&topology(&[(1, 0); 4]), &before.target, 3);
    assert_eq!(loads(&after, 4), [6, 6, 6, 6]);
    assert_eq!(after.copies(), 6);
}

#[test]
fn what_is_planned_stays_as_it_is() {
    let topology = topology(&[(1, 0), (2, 0), (1, 1), (3, 1), (2, 2)]);
    let first = planned(&topology, &empty(16), 3);
    let second = planned(&topology, &first.target, 3);
    assert_eq!(second.target, first.target);
    assert_eq!(second.certificate.moves, []);
}

#[test]
fn a_leaving_node_is_emptied_and_the_cause_is_named() {
    let mut nodes: Vec<Node> = (0..4).map(|id| Node::new(id, 1, id as u32)).collect();
    let topology = Topology::new(nodes.clone()).expect("ids are distinct");
    let first = planned(&topology, &empty(8), 3);
    nodes[1].state = NodeState::Leaving;
    let topology = Topology::new(nodes).expect("ids are distinct");
    let next = planned(&topology, &first.target, 3);
    assert_eq!(loads(&next, 4), [8, 0, 8, 8]);
    let causes = next.certificate.moves.iter().map(|one| one.cause);
    assert!(causes.eq([Cause::NotTaking; 6]));
}

#[test]
fn plans_of_a_small_cluster_look_like_this() {
    let mut nodes: Vec<Node> = (0..4).map(|id| Node::new(id, 1, id as u32 % 3)).collect();
    let first = planned(
        &Topology::new(nodes.clone()).expect("distinct"),
        &empty(6),
        2,
    );
    nodes.push(Node::new(9, 1, 2));
    let next = planned(&Topology::new(nodes).expect("distinct"), &first.target, 2);
    insta::assert_debug_snapshot!((first.target, next));
}
