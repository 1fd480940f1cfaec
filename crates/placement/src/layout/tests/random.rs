//! Random topologies and changes to them, from a seed.

use super::super::{NONE, Node, NodeState, Placement, Topology, plan};

/// `SplitMix64`: small, and the same everywhere.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A case: nodes, what is held, and how many replicas are asked for.
pub(super) struct Case {
    pub topology: Topology,
    pub current: Placement,
    pub replicas: usize,
}

fn node(random: &mut Random, id: u64, zones: u64) -> Node {
    let heavy = random.one_in(12);
    let weight = match random.below(10) {
        0 => 0,
        _ if heavy => 1 + random.below(40) as u32,
        _ => 1 + random.below(4) as u32,
    };
    let state = match random.below(24) {
        0 => NodeState::Leaving,
        1 => NodeState::Down,
        2 => NodeState::Suspect,
        _ => NodeState::Up,
    };
    let zone = random.below(zones) as u32;
    Node {
        state,
        ..Node::new(id, weight, zone)
    }
}

fn able(nodes: &[Node]) -> bool {
    nodes.iter().any(Node::is_able)
}

/// A change to a planned layout: mostly one that happens, sometimes any rows at all.
pub(super) fn case(seed: u64, partitions_max: u64, nodes_max: u64) -> Case {
    let mut random = Random(seed);
    let partitions = 1 + random.below(partitions_max) as usize;
    let replicas = 1 + random.below(4) as usize;
    let zones = 1 + random.below(7);
    let count = 1 + random.below(nodes_max);
    let mut nodes: Vec<Node> = (0..count).map(|id| node(&mut random, id, zones)).collect();
    if !able(&nodes) {
        nodes[0] = Node::new(0, 1, 0);
    }
    let topology = Topology::new(nodes.clone()).expect("ids are distinct");
    let empty = Placement::empty(partitions).expect("few partitions");
    let mut current = plan(&topology, &empty, replicas)
        .expect("somebody takes")
        .target;
    if random.one_in(6) {
        current = arbitrary(&mut random, partitions, count as u32);
    }
    for _ in 0..=random.below(3) {
        change(&mut random, &mut nodes, zones);
    }
    if !able(&nodes) {
        nodes[0] = Node::new(0, 1, 0);
    }
    let replicas = match random.below(8) {
        0 => 1 + random.below(5) as usize,
        _ => replicas,
    };
    let topology = Topology::new(nodes).expect("ids are distinct");
    Case {
        topology,
        current,
        replicas,
    }
}

fn change(random: &mut Random, nodes: &mut Vec<Node>, zones: u64) {
    let id = nodes.len() as u64;
    let picked = random.below(id) as usize;
    match random.below(6) {
        0 | 1 => nodes.push(node(random, id, zones)),
        2 => nodes[picked].state = NodeState::Down,
        3 => nodes[picked].weight = nodes[picked].weight * 2 + 1,
        4 => nodes[picked].zone = random.below(zones) as u32,
        _ => {
            let zone = nodes[picked].zone;
            let gone = nodes.iter_mut().filter(|node| node.zone == zone);
            gone.for_each(|node| node.state = NodeState::Leaving);
        }
    }
}

fn arbitrary(random: &mut Random, partitions: usize, nodes: u32) -> Placement {
    let width = 1 + random.below(4) as usize;
    let mut places = Vec::new();
    for _ in 0..partitions {
        let mut row: Vec<u32> = Vec::new();
        for _ in 0..width {
            let node = random.below(u64::from(nodes)) as u32;
            row.push(if row.contains(&node) { NONE } else { node });
        }
        places.extend(row);
    }
    Placement::new(partitions, width, places).expect("rows repeat nobody")
}
