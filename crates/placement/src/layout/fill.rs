//! The bulk of a plan: replicas that can be dropped, filled and handed over directly.
//!
//! Knows nothing about paths; whatever is left over is for [`super::search`]. All that is done
//! here lies on tight arcs of the flow, so that it keeps the optimality of the potentials.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::flow::Flow;

impl Flow<'_> {
    /// Drops what is too much in a zone or partition from whoever has too much anyway. Before any
    /// potential has risen, every such drop is tight.
    pub(super) fn drop_conflicts(&mut self) {
        for partition in self.open.clone().into_iter().map(|p| p as usize) {
            while let Some(node) = self.droppable(partition) {
                self.remove(partition, node);
            }
        }
    }

    /// The node with the largest excess among those that a partition has too many of.
    fn droppable(&self, partition: usize) -> Option<u32> {
        let row = self.row(partition);
        let too_long = row.len() > self.spread.replicas && self.partition_excess(partition) < 0;
        let giver = |node: u32| {
            let zone = self.zone(node);
            let count = self.count(partition, zone);
            let surplus = count > self.spread.cap[zone];
            let may = surplus || (too_long && count > self.spread.low[zone]);
            let gives =
                self.node_excess(node) > 0 || (self.sink_excess() > 0 && self.may_give_odd(node));
            may && gives
        };
        let givers = row.iter().copied().filter(|&node| giver(node));
        givers.max_by_key(|&node| (self.node_excess(node), Reverse(node)))
    }

    /// Fills partitions that lack replicas: zones with most left first, and in each the node with
    /// most left. From nothing this always succeeds (Gale and Ryser: taking the largest remainders
    /// keeps each at most the partitions that are left). O(P·R·log N).
    pub(super) fn fill(&mut self, quotas: &[u32]) {
        let left = |flow: &Self, node: u32| {
            i64::from(quotas[node as usize]) - i64::from(flow.loads[node as usize])
        };
        let heap = |nodes: &Vec<u32>| -> BinaryHeap<(i64, Reverse<u32>)> {
            let entry = |&node: &u32| (left(self, node), Reverse(node));
            nodes
                .iter()
                .map(entry)
                .filter(|(left, _)| *left > 0)
                .collect()
        };
        let mut nodes: Vec<_> = self.zone_nodes.iter().map(heap).collect();
        let sum = |heap: &BinaryHeap<(i64, Reverse<u32>)>| heap.iter().map(|e| e.0).sum::<i64>();
        let mut zones: BinaryHeap<(i64, Reverse<usize>)> = (0..nodes.len())
            .map(|zone| (sum(&nodes[zone]), Reverse(zone)))
            .collect();
        let mut aside = Vec::new();
        for partition in self.open.clone().into_iter().map(|p| p as usize) {
            for needy in [true, false] {
                while let Some((zone_left, Reverse(zone))) = zones.peek().copied() {
                    if zone_left <= 0 || !self.lacks(partition, needy) {
                        break;
                    }
                    zones.pop();
                    let count = self.count(partition, zone);
                    let bound = if needy {
                        &self.spread.low
                    } else {
                        &self.spread.cap
                    };
                    let wanted = count < bound[zone];
                    let taken = wanted && self.take(partition, &mut nodes[zone], &left);
                    let entry = (zone_left - i64::from(taken), Reverse(zone));
                    if taken && self.count(partition, zone) < bound[zone] {
                        zones.push(entry);
                    } else {
                        aside.push(entry);
                    }
                }
                zones.extend(aside.drain(..));
            }
        }
    }

    /// Whether a partition has too few replicas in a zone that must have some, or too few at all.
    fn lacks(&self, partition: usize, needy: bool) -> bool {
        if !needy {
            return self.partition_excess(partition) > 0;
        }
        let short = |zone: usize| self.count(partition, zone) < self.spread.low[zone];
        self.zones_all_used && (0..self.spread.low.len()).any(short)
    }

    /// Gives the partition to the node with most left that does not hold it yet.
    fn take(
        &mut self,
        partition: usize,
        heap: &mut BinaryHeap<(i64, Reverse<u32>)>,
        left: &impl Fn(&Self, u32) -> i64,
    ) -> bool {
        let mut passed = Vec::new();
        let mut taken = false;
        while let Some((_, Reverse(node))) = heap.pop() {
            if self.holds(partition, node) {
                passed.push((left(self, node), Reverse(node)));
                continue;
            }
            if self.absorbs(node) {
                self.add(partition, node);
                taken = true;
            }
            let rest = left(self, node);
            if taken && rest > 0 {
                heap.push((rest, Reverse(node)));
            }
            if taken {
                break;
            }
        }
        heap.extend(passed);
        taken
    }

    /// Whether one more replica on a node settles a deficit: its own, or the sink's.
    pub(super) fn absorbs(&self, node: u32) -> bool {
        let n = node as usize;
        self.loads[n] < self.shares.floor[n]
            || (self.may_take_odd(node)
                && self.sink_excess() < 0
                && self.potentials[n] == self.potentials[self.sink()])
    }

    /// Whether one replica less on a node settles an excess: its own, or the sink's.
    fn releases(&self, node: u32) -> bool {
        let n = node as usize;
        self.loads[n] > self.shares.ceil[n]
            || (self.may_give_odd(node)
                && self.sink_excess() > 0
                && self.potentials[n] == self.potentials[self.sink()])
    }

    /// Hands replicas straight from nodes with too many to nodes with too few, where the arc is
    /// tight. O(P·R) times the zones that lack something.
    pub(super) fn hand_over(&mut self) {
        let mut open: Vec<Vec<u32>> = self.zone_nodes.clone();
        for nodes in &mut open {
            nodes.retain(|&node| self.absorbs(node));
        }
        let mut zones: Vec<usize> = (0..open.len()).filter(|&z| !open[z].is_empty()).collect();
        for node in 0..self.loads.len() as u32 {
            if zones.is_empty() {
                return;
            }
            if !self.releases(node) {
                continue;
            }
            let held = self.holders[node as usize].clone();
            for partition in held.into_iter().map(|p| p as usize) {
                if !self.releases(node) {
                    break;
                }
                if !self.holds(partition, node) {
                    continue;
                }
                if let Some(taker) = self.taker(partition, node, &zones, &open) {
                    self.remove(partition, node);
                    self.add(partition, taker);
                    if !self.absorbs(taker) {
                        let zone = self.zone(taker);
                        open[zone].retain(|&other| self.absorbs(other));
                        zones.retain(|&z| !open[z].is_empty());
                    }
                }
            }
        }
    }

    /// A node that lacks something and may take this replica directly, at a tight price.
    fn taker(
        &self,
        partition: usize,
        giver: u32,
        zones: &[usize],
        open: &[Vec<u32>],
    ) -> Option<u32> {
        let home = self.zone(giver);
        let count = self.count(partition, home);
        if count > self.spread.cap[home] {
            return None;
        }
        let label = self.potentials[giver as usize] - self.cost(partition, giver);
        let leaves = count > self.spread.low[home];
        let enters = |zone: usize| {
            let (low, cap) = (self.spread.low[zone], self.spread.cap[zone]);
            zone == home || (leaves && (low..cap).contains(&self.count(partition, zone)))
        };
        let fits = |node: &u32| {
            let cost = self.cost(partition, *node);
            self.potentials[*node as usize] == label + cost
                && !self.holds(partition, *node)
                && self.absorbs(*node)
        };
        let zones = zones.iter().copied().filter(|&zone| enters(zone));
        zones.flat_map(|zone| &open[zone]).copied().find(fits)
    }
}
