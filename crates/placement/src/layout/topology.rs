//! Nodes and layouts as plain data, checked once when they are made.
//! Knows nothing about shares, plans or cluster maps.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// No node: a place in a layout that nobody fills.
pub const NONE: u32 = u32::MAX;
/// The most nodes of a topology: sums of weights stay below 2^52, and products below 2^128.
pub const NODES_MAX: usize = 1 << 20;
/// The most partitions of a layout, so that vertices of the flow are numbered by 32 bits.
pub const PARTITIONS_MAX: usize = 1 << 20;
/// The most replicas of a partition: rows are searched one by one.
pub const REPLICAS_MAX: usize = 64;

/// What may be expected of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It works and takes its share.
    #[default]
    Up,
    /// It was not heard of for a while: it keeps its share, and is sent no copies meanwhile.
    Suspect,
    /// It works, and everything moves away from it.
    Leaving,
    /// It is dead: what it held counts as lost.
    Down,
}

/// One node of a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Who it is; no two are the same.
    pub id: u64,
    /// Its share relative to the others; 0 takes nothing.
    pub weight: u32,
    /// The label of what it fails together with.
    pub zone: u32,
    /// What may be expected of it.
    pub state: NodeState,
}

impl Node {
    /// A node that works.
    #[must_use]
    pub fn new(id: u64, weight: u32, zone: u32) -> Self {
        let state = NodeState::Up;
        Self {
            id,
            weight,
            zone,
            state,
        }
    }

    /// Whether it takes a share.
    #[must_use]
    pub fn is_able(&self) -> bool {
        self.weight > 0 && matches!(self.state, NodeState::Up | NodeState::Suspect)
    }

    /// Whether what it holds can be read.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state != NodeState::Down
    }
}

/// Why nodes are no topology. Nothing was made; the caller mends the list.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopologyInvalid {
    /// Two nodes have one id.
    #[error("two nodes have the id {0}")]
    SameId(u64),
    /// There are more nodes than [`NODES_MAX`].
    #[error("{0} nodes are more than {NODES_MAX}")]
    TooManyNodes(usize),
}

/// The nodes, numbered as they were given, and their zones, numbered by label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    nodes: Vec<Node>,
    zone_of: Vec<usize>,
    zones: usize,
}

impl Topology {
    /// The topology of these nodes. None at all is one too, on which nothing can be planned.
    ///
    /// # Errors
    /// If two have one id, or there are too many.
    pub fn new(nodes: Vec<Node>) -> Result<Self, TopologyInvalid> {
        if nodes.len() > NODES_MAX {
            return Err(TopologyInvalid::TooManyNodes(nodes.len()));
        }
        let mut ids = BTreeSet::new();
        if let Some(node) = nodes.iter().find(|node| !ids.insert(node.id)) {
            return Err(TopologyInvalid::SameId(node.id));
        }
        let labels: BTreeSet<u32> = nodes.iter().map(|node| node.zone).collect();
        let numbers: BTreeMap<u32, usize> = labels.into_iter().zip(0..).collect();
        let zone_of = nodes.iter().map(|node| numbers[&node.zone]).collect();
        let zones = numbers.len();
        Ok(Self {
            nodes,
            zone_of,
            zones,
        })
    }

    /// The nodes by number.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of zones, able nodes in them or not.
    #[must_use]
    pub fn zones(&self) -> usize {
        self.zones
    }

    /// The number of a node's zone, in the order of the labels.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn zone_of(&self, node: usize) -> usize {
        self.zone_of[node]
    }

    /// The numbers of the nodes that take a share.
    pub fn able(&self) -> impl Iterator<Item = usize> {
        let able = |(number, node): (usize, &Node)| node.is_able().then_some(number);
        self.nodes.iter().enumerate().filter_map(able)
    }
}

/// Why places are no layout. Nothing was made; the caller mends the list.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementInvalid {
    /// The places are not partitions times replicas.
    #[error("{places} places are not {partitions} × {replicas}")]
    Uneven {
        /// How many places there are.
        places: usize,
        /// How many partitions there should be.
        partitions: usize,
        /// How many places each should have.
        replicas: usize,
    },
    /// There are more partitions than [`PARTITIONS_MAX`] or replicas than [`REPLICAS_MAX`].
    #[error("{partitions} × {replicas} is more than {PARTITIONS_MAX} × {REPLICAS_MAX}")]
    TooLarge {
        /// How many partitions there are.
        partitions: usize,
        /// How many places each has.
        replicas: usize,
    },
    /// One partition names one node twice.
    #[error("partition {0} names a node twice")]
    Repeated(usize),
}

/// Which nodes hold which partition: a row of places for each, the primary first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub(super) partitions: usize,
    pub(super) replicas: usize,
    pub(super) places: Vec<u32>,
}

impl Placement {
    /// The layout of these places, row by row; [`NONE`] where nobody is.
    ///
    /// # Errors
    /// If they are not as many as asked for, too many, or a row names a node twice.
    pub fn new(
        partitions: usize,
        replicas: usize,
        places: Vec<u32>,
    ) -> Result<Self, PlacementInvalid> {
        if partitions > PARTITIONS_MAX || replicas > REPLICAS_MAX {
            return Err(PlacementInvalid::TooLarge {
                partitions,
                replicas,
            });
        }
        if places.len() != partitions * replicas {
            return Err(PlacementInvalid::Uneven {
                places: places.len(),
                partitions,
                replicas,
            });
        }
        let layout = Self {
            partitions,
            replicas,
            places,
        };
        let repeats = |row: &[u32]| {
            let mut seen = (0..row.len()).map(|i| (row[i], &row[..i]));
            seen.any(|(node, before)| node != NONE && before.contains(&node))
        };
        match (0..partitions).find(|&p| repeats(layout.row(p))) {
            Some(partition) => Err(PlacementInvalid::Repeated(partition)),
            None => Ok(layout),
        }
    }

    /// The layout before anything is placed.
    ///
    /// # Errors
    /// If there are too many partitions.
    pub fn empty(partitions: usize) -> Result<Self, PlacementInvalid> {
        Self::new(partitions, 0, Vec::new())
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// How many places each partition has.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The places of one partition, the primary first.
    ///
    /// # Panics
    /// If there is no such partition.
    #[must_use]
    pub fn row(&self, partition: usize) -> &[u32] {
        assert!(partition < self.partitions, "the partition exists");
        &self.places[partition * self.replicas..][..self.replicas]
    }

    /// The rows of all partitions, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.partitions).map(|partition| self.row(partition))
    }
}
