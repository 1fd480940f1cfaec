//! The state of the flow: who holds what now, who held it before, and the price of each node.
//!
//! Knows nothing about how shorter paths are found; [`super::search`] does.
//!
//! The network: each partition sends R units to its (partition, zone) pairs, within what zones may
//! have; each pair sends one to a node at most; each node sends between its floor and its ceiling
//! to the sink. A unit costs 1 when the node did not hold the partition before. Only who holds
//! what is stored: the flow on all other arcs is what holds, clamped to the bounds of the arc, and
//! what does not fit is an excess or a deficit that the search settles.

use super::shares::{Shares, Spread};
use super::topology::{NONE, Placement, Topology};

pub(super) struct Flow<'a> {
    pub spread: &'a Spread,
    pub shares: &'a Shares,
    pub partitions: usize,
    /// What was held before by nodes that take a share: rows of `before_width`, [`NONE`] padded.
    before: Vec<u32>,
    before_width: usize,
    /// Rows of `stride` places, of which the first `lengths` are used.
    rows: Vec<u32>,
    stride: usize,
    lengths: Vec<u32>,
    pub loads: Vec<u32>,
    /// The partitions of each node, and maybe some that it no longer holds.
    pub holders: Vec<Vec<u32>>,
    /// The nodes that take a share, by zone.
    pub zone_nodes: Vec<Vec<u32>>,
    zone_of: Vec<u32>,
    /// Whether there are fewer zones than replicas: then a zone may have too few.
    pub zones_all_used: bool,
    /// The partitions that were not whole when this was last looked at; all others are.
    pub open: Vec<u32>,
    /// The potential of each node, and last that of the sink.
    pub potentials: Vec<i32>,
    /// What flows out of all nodes together, each within its bounds.
    sunk: i64,
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        topology: &'a Topology,
        spread: &'a Spread,
        shares: &'a Shares,
        current: &Placement,
    ) -> Self {
        let nodes = topology.nodes().len();
        let partitions = current.partitions();
        let width = current.replicas();
        let stride = width + spread.replicas;
        let mut flow = Self {
            spread,
            shares,
            partitions,
            before: vec![NONE; partitions * width],
            before_width: width,
            rows: vec![NONE; partitions * stride],
            stride,
            lengths: vec![0; partitions],
            loads: vec![0; nodes],
            holders: vec![Vec::new(); nodes],
            zone_nodes: vec![Vec::new(); topology.zones()],
            zone_of: (0..nodes).map(|n| topology.zone_of(n) as u32).collect(),
            zones_all_used: spread.low.iter().any(|&low| low > 0),
            open: Vec::new(),
            potentials: vec![0; nodes + 1],
            sunk: shares.floor.iter().map(|&floor| i64::from(floor)).sum(),
        };
        for node in topology.able() {
            flow.zone_nodes[topology.zone_of(node)].push(node as u32);
        }
        let able = |node: &u32| {
            topology
                .nodes()
                .get(*node as usize)
                .is_some_and(|n| n.is_able())
        };
        for (partition, row) in current.rows().enumerate() {
            for (place, node) in row.iter().copied().filter(able).enumerate() {
                flow.before[partition * width + place] = node;
                flow.add(partition, node);
            }
        }
        let open = (0..partitions).filter(|&p| flow.is_open(p));
        flow.open = open.map(|p| p as u32).collect();
        flow
    }

    /// Whether a partition has too many or too few replicas, in all or in a zone.
    pub(super) fn is_open(&self, partition: usize) -> bool {
        let row = self.row(partition);
        let unspread = |zone: usize| {
            let count = self.count(partition, zone);
            count < self.spread.low[zone] || count > self.spread.cap[zone]
        };
        row.len() != self.spread.replicas
            || row.iter().any(|&node| unspread(self.zone(node)))
            || (self.zones_all_used && (0..self.spread.low.len()).any(unspread))
    }

    pub(super) fn row(&self, partition: usize) -> &[u32] {
        let length = self.lengths[partition] as usize;
        &self.rows[partition * self.stride..][..length]
    }

    /// Who held it before, in the order of the layout.
    pub(super) fn before(&self, partition: usize) -> &[u32] {
        let row = &self.before[partition * self.before_width..][..self.before_width];
        let length = row.iter().position(|&node| node == NONE);
        &row[..length.unwrap_or(row.len())]
    }

    pub(super) fn cost(&self, partition: usize, node: u32) -> i32 {
        i32::from(!self.before(partition).contains(&node))
    }

    pub(super) fn zone(&self, node: u32) -> usize {
        self.zone_of[node as usize] as usize
    }

    pub(super) fn holds(&self, partition: usize, node: u32) -> bool {
        self.row(partition).contains(&node)
    }

    /// How many replicas of a partition are in a zone.
    pub(super) fn count(&self, partition: usize, zone: usize) -> usize {
        let in_zone = |node: &&u32| self.zone(**node) == zone;
        self.row(partition).iter().filter(in_zone).count()
    }

    /// The number that a zone has among those of a partition: its own where every zone has some,
    /// otherwise the place of its first replica.
    pub(super) fn slot(&self, partition: usize, zone: usize) -> Option<usize> {
        if self.zones_all_used {
            return Some(zone);
        }
        let row = self.row(partition);
        row.iter().position(|&node| self.zone(node) == zone)
    }

    pub(super) fn slots(&self) -> usize {
        if self.zones_all_used {
            self.spread.cap.len()
        } else {
            self.stride
        }
    }

    /// What a partition has to spread beyond what flows to its zones; negative if too much does.
    pub(super) fn partition_excess(&self, partition: usize) -> i64 {
        let wanted = self.spread.replicas as i64;
        if self.zones_all_used {
            let flow = |zone: usize| {
                let count = self.count(partition, zone);
                count.clamp(self.spread.low[zone], self.spread.cap[zone]) as i64
            };
            return wanted - (0..self.spread.cap.len()).map(flow).sum::<i64>();
        }
        // Every zone has one at most: count the first of each.
        let row = self.row(partition);
        let first = |i: &usize| {
            let zone = self.zone(row[*i]);
            row[..*i].iter().all(|&node| self.zone(node) != zone)
        };
        let distinct = (0..row.len()).filter(first).count();
        wanted - distinct as i64
    }

    /// What the sink has received beyond its due; negative if nodes may still take odd units.
    pub(super) fn sink_excess(&self) -> i64 {
        self.sunk - (self.spread.replicas * self.partitions) as i64
    }

    pub(super) fn node_excess(&self, node: u32) -> i64 {
        let n = node as usize;
        let (load, floor, ceil) = (self.loads[n], self.shares.floor[n], self.shares.ceil[n]);
        i64::from(load) - i64::from(load.clamp(floor, ceil))
    }

    pub(super) fn may_take_odd(&self, node: u32) -> bool {
        self.loads[node as usize] < self.shares.ceil[node as usize]
    }

    pub(super) fn may_give_odd(&self, node: u32) -> bool {
        self.loads[node as usize] > self.shares.floor[node as usize]
    }

    fn clamped(&self, node: u32) -> i64 {
        let n = node as usize;
        i64::from(self.loads[n].clamp(self.shares.floor[n], self.shares.ceil[n]))
    }

    pub(super) fn add(&mut self, partition: usize, node: u32) {
        let length = self.lengths[partition] as usize;
        self.rows[partition * self.stride + length] = node;
        self.lengths[partition] += 1;
        self.holders[node as usize].push(partition as u32);
        self.sunk -= self.clamped(node);
        self.loads[node as usize] += 1;
        self.sunk += self.clamped(node);
    }

    pub(super) fn remove(&mut self, partition: usize, node: u32) {
        let length = self.lengths[partition] as usize;
        let row = &mut self.rows[partition * self.stride..][..length];
        let place = row.iter().position(|&held| held == node);
        let place = place.expect("what is removed is held");
        row.swap(place, length - 1);
        self.lengths[partition] -= 1;
        self.sunk -= self.clamped(node);
        self.loads[node as usize] -= 1;
        self.sunk += self.clamped(node);
    }

    pub(super) fn sink(&self) -> usize {
        self.potentials.len() - 1
    }
}
