//! Clusters and what changes in them. Knows nothing about plans.

use tablestore_placement::layout::{Node, NodeState};

#[derive(Clone, Copy, Debug)]
pub enum Change {
    AddOne,
    RemoveOne,
    DoubleOneWeight,
    RemoveZone,
    AddTenth,
}

pub const CHANGES: [Change; 5] = [
    Change::AddOne,
    Change::RemoveOne,
    Change::DoubleOneWeight,
    Change::RemoveZone,
    Change::AddTenth,
];

impl Change {
    pub fn name(self) -> &'static str {
        match self {
            Self::AddOne => "add one",
            Self::RemoveOne => "remove one",
            Self::DoubleOneWeight => "double one weight",
            Self::RemoveZone => "remove a zone",
            Self::AddTenth => "add 10 %",
        }
    }

    pub fn apply(self, nodes: &mut Vec<Node>) {
        let zones = 1 + nodes.iter().map(|node| node.zone).max().unwrap_or(0);
        let count = nodes.len() as u64;
        let new = |id: u64| Node::new(id, 1 + id as u32 % 2, id as u32 % zones);
        match self {
            Self::AddOne => nodes.push(new(count)),
            Self::RemoveOne => nodes[count as usize / 2].state = NodeState::Down,
            Self::DoubleOneWeight => nodes[count as usize / 2].weight *= 2,
            Self::RemoveZone => {
                let gone = nodes.iter_mut().filter(|node| node.zone == 1);
                gone.for_each(|node| node.state = NodeState::Down);
            }
            Self::AddTenth => nodes.extend((count..count + count / 10).map(new)),
        }
    }
}

/// Nodes in turn over the zones, with weights that repeat neither with them nor evenly.
pub fn cluster(nodes: u64, zones: u32, weights: u32) -> Vec<Node> {
    let weight = |id: u64| 1 + (id * id / 3 + id / 7) as u32 % weights;
    (0..nodes)
        .map(|id| Node::new(id, weight(id), id as u32 % zones))
        .collect()
}
