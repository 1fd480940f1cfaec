//! Steps: never less redundancy than at the start, within the budget, stopped and resumed anywhere.

use super::super::{
    Budget, Holdings, Node, NodeState, Placement, Step, Topology, next_steps, plan,
};
use super::random::{Random, case};

const CASES: u64 = 400;
/// More rounds than any of the small cases needs.
const ROUNDS_MAX: usize = 10_000;

fn redundancy(topology: &Topology, holdings: &Holdings) -> Vec<usize> {
    let live = |node: u32| topology.nodes()[node as usize].is_live();
    let sound = |row: &Vec<super::super::Copy>| {
        row.iter()
            .filter(|copy| copy.is_synced && live(copy.node))
            .count()
    };
    holdings.rows.iter().map(sound).collect()
}

fn unsynced(holdings: &Holdings) -> Vec<(usize, usize)> {
    let places = |(p, row): (usize, &Vec<super::super::Copy>)| {
        let open = (0..row.len()).filter(|&place| !row[place].is_synced);
        open.map(|place| (p, place)).collect::<Vec<_>>()
    };
    holdings.rows.iter().enumerate().flat_map(places).collect()
}

/// Takes some of the steps and ends some of the copies, until nothing is left to do or `rounds`
/// are over. Redundancy is compared after every single step.
fn run(
    random: &mut Random,
    topology: &Topology,
    holdings: &mut Holdings,
    target: &Placement,
    least: &[usize],
    rounds: usize,
) -> bool {
    let budget = Budget {
        receiving: 1 + random.below(2) as usize,
        sending: 1 + random.below(3) as usize,
    };
    for _ in 0..rounds {
        let steps = next_steps(topology, holdings, target, budget);
        let open = unsynced(holdings);
        if steps.is_empty() && open.is_empty() {
            return true;
        }
        let taken = 1 + random.below(steps.len() as u64 + 1) as usize;
        for step in steps.into_iter().take(taken) {
            holdings.take(step);
            let now = redundancy(topology, holdings);
            assert!(
                now.iter().zip(least).all(|(now, least)| now >= least),
                "{step:?}"
            );
        }
        for node in 0..topology.nodes().len() as u32 {
            let arriving = holdings.rows.iter().flatten();
            let arriving = arriving.filter(|copy| copy.node == node && !copy.is_synced);
            assert!(arriving.count() <= 2, "node {node} is within its budget");
        }
        for (partition, place) in unsynced(holdings) {
            if random.one_in(2) {
                holdings.rows[partition][place].is_synced = true;
            }
        }
    }
    false
}

#[test]
fn redundancy_never_falls_below_its_start_and_the_target_is_reached() {
    for seed in 0..CASES {
        let case = case(seed, 10, 8);
        let revived = case.topology.nodes().iter().map(|node| match node.state {
            NodeState::Suspect => Node::new(node.id, node.weight, node.zone),
            _ => *node,
        });
        let topology = Topology::new(revived.collect()).expect("ids are distinct");
        let plan = plan(&topology, &case.current, case.replicas).expect("somebody takes");
        let mut holdings = Holdings::synced(&case.current);
        let start = redundancy(&topology, &holdings);
        let wanted = plan.target.replicas();
        let least: Vec<usize> = start.iter().map(|&start| start.min(wanted)).collect();
        let mut random = Random(seed);
        let stops = random.below(6) as usize;
        run(
            &mut random,
            &topology,
            &mut holdings,
            &plan.target,
            &least,
            stops,
        );
        let ended = run(
            &mut random,
            &topology,
            &mut holdings,
            &plan.target,
            &least,
            ROUNDS_MAX,
        );
        assert!(ended, "seed {seed} comes to rest");
        for (row, (held, start)) in plan.target.rows().zip(holdings.rows.iter().zip(&start)) {
            let held: Vec<u32> = held.iter().map(|copy| copy.node).collect();
            // What nobody holds any more cannot be copied.
            assert!(
                *start == 0 || is_same(&held, row),
                "seed {seed}: {held:?} is not {row:?}"
            );
        }
    }
}

fn is_same(a: &[u32], b: &[u32]) -> bool {
    let (mut x, mut y) = (a.to_vec(), b.to_vec());
    x.sort_unstable();
    y.sort_unstable();
    x == y && a.first() == b.first()
}

#[test]
fn a_plan_that_is_cancelled_leads_back_to_where_it_started() {
    for seed in 0..CASES {
        let mut random = Random(seed);
        let nodes = (0..4 + random.below(4)).map(|id| Node::new(id, 1, id as u32 % 3));
        let nodes: Vec<Node> = nodes.collect();
        let topology = Topology::new(nodes.clone()).expect("ids are distinct");
        let empty = Placement::empty(8).expect("few partitions");
        let before = plan(&topology, &empty, 3).expect("somebody takes").target;
        let mut more = nodes;
        more.push(Node::new(99, 2, 1));
        let topology = Topology::new(more).expect("ids are distinct");
        let plan = plan(&topology, &before, 3).expect("somebody takes");
        let mut holdings = Holdings::synced(&before);
        let stops = random.below(8) as usize;
        run(
            &mut random,
            &topology,
            &mut holdings,
            &plan.target,
            &[3; 8],
            stops,
        );
        assert!(run(
            &mut random,
            &topology,
            &mut holdings,
            &before,
            &[3; 8],
            ROUNDS_MAX
        ));
        for (row, held) in before.rows().zip(&holdings.rows) {
            let held: Vec<u32> = held.iter().map(|copy| copy.node).collect();
            assert!(is_same(&held, row), "seed {seed}: {held:?} is not {row:?}");
        }
    }
}

#[test]
fn no_more_copies_are_started_than_the_budget_allows() {
    let nodes = (0..4).map(|id| Node::new(id, 1, id as u32)).collect();
    let topology = Topology::new(nodes).expect("ids are distinct");
    let current = Placement::new(3, 1, vec![0, 0, 1]).expect("distinct");
    let target = Placement::new(3, 2, vec![0, 2, 0, 3, 1, 2]).expect("distinct");
    let holdings = Holdings::synced(&current);
    let started = |receiving, sending| {
        let budget = Budget { receiving, sending };
        let steps = next_steps(&topology, &holdings, &target, budget);
        steps
            .into_iter()
            .map(|step| match step {
                Step::Add { partition, node } => (partition, node),
                other => panic!("{other:?} adds nothing"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(started(9, 9), [(0, 2), (1, 3), (2, 2)]);
    assert_eq!(started(1, 9), [(0, 2), (1, 3)]);
    assert_eq!(started(9, 1), [(0, 2), (2, 2)]);
    assert_eq!(started(0, 9), []);
}
