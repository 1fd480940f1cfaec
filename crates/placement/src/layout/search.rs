//! The search for the deficits nearest to any excess: shortest paths in the residual network.
//!
//! Knows nothing about shares or layouts: it sees excesses, deficits and costs.
//!
//! Dijkstra's algorithm on reduced costs, with Dial's buckets (1969), from all excesses at once.
//! Only nodes have potentials. Partitions and zones of partitions are passed through at once and
//! keep the lowest label that reached them; a zone remembers the best offer to all its nodes, so
//! that most offers are refused without a look at them. A round is O(P·(R² + Z) + N).

use super::flow::Flow;
use super::topology::NONE;

const FAR: i32 = i32::MAX;

/// A replica that moves, along a path: from whom (if anybody), to whom (if anybody).
#[derive(Clone, Copy, Debug)]
pub(super) struct Arc {
    pub from: u32,
    pub to: u32,
    /// The partition, or [`NONE`] for arcs to and from the sink.
    pub via: u32,
}

/// How a search ended: what has a deficit, how far it is, and the last arc to it.
struct Terminal {
    distance: i32,
    last: Option<Arc>,
    node: u32,
}

/// One search: labels are costs from an excess, offset by its potential.
pub(super) struct Search<'f, 'a> {
    flow: &'f Flow<'a>,
    labels: Vec<i32>,
    arcs: Vec<Arc>,
    done: Vec<bool>,
    partition_labels: Vec<i32>,
    slot_labels: Vec<i32>,
    slots: usize,
    best_offers: Vec<i32>,
    /// Nodes that the best offer to their zone did not reach, as they hold its partition.
    passed_over: Vec<Vec<u32>>,
    /// The lowest label that was offered to all zones, and the zones that it did not reach.
    everywhere: i32,
    left_out: Vec<usize>,
    buckets: Vec<Vec<u32>>,
    terminals: Vec<Terminal>,
    nearest: i32,
}

impl<'f, 'a> Search<'f, 'a> {
    pub(super) fn new(flow: &'f Flow<'a>) -> Self {
        let nodes = flow.potentials.len();
        let zones = flow.zone_nodes.len();
        let nobody = Arc {
            from: NONE,
            to: NONE,
            via: NONE,
        };
        Self {
            flow,
            labels: vec![FAR; nodes],
            arcs: vec![nobody; nodes],
            done: vec![false; nodes],
            partition_labels: vec![FAR; flow.partitions],
            slot_labels: vec![FAR; flow.partitions * flow.slots()],
            slots: flow.slots(),
            best_offers: vec![FAR; zones],
            passed_over: vec![Vec::new(); zones],
            everywhere: FAR,
            left_out: Vec::new(),
            buckets: Vec::new(),
            terminals: Vec::new(),
            nearest: FAR,
        }
    }

    /// Enters all excesses: nodes, the sink, and partitions that lack replicas.
    pub(super) fn start(&mut self, open: &[u32]) {
        let flow = self.flow;
        let sink = flow.sink() as u32;
        for node in 0..sink {
            if flow.node_excess(node) > 0 {
                self.enter(node);
            }
        }
        if flow.sink_excess() > 0 {
            self.enter(sink);
        }
        let highest: Vec<Option<i32>> = flow
            .zone_nodes
            .iter()
            .map(|nodes| nodes.iter().map(|&n| flow.potentials[n as usize]).max())
            .collect();
        for partition in open.iter().map(|&p| p as usize) {
            if flow.zones_all_used {
                for zone in 0..highest.len() {
                    if flow.count(partition, zone) < flow.spread.low[zone] {
                        let label = self.label_of_lack(partition, &[zone], &highest);
                        self.slot_labels[partition * self.slots + zone] = label;
                        self.offer(partition, zone, label, NONE);
                    }
                }
            }
            if flow.partition_excess(partition) > 0 {
                let cap = &flow.spread.cap;
                let zones = 0..highest.len();
                let zones: Vec<usize> = zones
                    .filter(|&z| flow.count(partition, z) < cap[z])
                    .collect();
                let label = self.label_of_lack(partition, &zones, &highest);
                self.partition_labels[partition] = label;
                for zone in zones {
                    self.offer(partition, zone, label, NONE);
                }
            }
        }
    }

    fn enter(&mut self, node: u32) {
        let label = self.flow.potentials[node as usize];
        self.labels[node as usize] = label;
        self.push(node, 0);
    }

    /// The lowest label of a partition that lacks a replica at which no reduced cost is negative.
    fn label_of_lack(&self, partition: usize, zones: &[usize], highest: &[Option<i32>]) -> i32 {
        let flow = self.flow;
        let strangers = zones.iter().filter_map(|&z| highest[z]).map(|y| y - 1);
        let former = flow
            .before(partition)
            .iter()
            .filter(|&&node| zones.contains(&flow.zone(node)) && !flow.holds(partition, node));
        let former = former.map(|&node| flow.potentials[node as usize]);
        strangers.chain(former).max().unwrap_or(0)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.buckets.iter().all(Vec::is_empty)
    }

    pub(super) fn found_nothing(&self) -> bool {
        self.terminals.is_empty()
    }

    fn push(&mut self, node: u32, distance: i32) {
        let bucket = usize::try_from(distance).expect("reduced costs are never negative");
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, Vec::new());
        }
        self.buckets[bucket].push(node);
    }

    fn relax(&mut self, node: u32, label: i32, from: u32, via: u32) {
        if label < self.labels[node as usize] {
            self.labels[node as usize] = label;
            self.arcs[node as usize] = Arc {
                from,
                to: node,
                via,
            };
            self.push(node, label - self.flow.potentials[node as usize]);
        }
    }

    /// Offers a replica of a partition to all nodes of a zone.
    fn offer(&mut self, partition: usize, zone: usize, label: i32, from: u32) {
        let flow = self.flow;
        let via = partition as u32;
        for &node in flow.before(partition) {
            if flow.zone(node) == zone && !flow.holds(partition, node) {
                self.relax(node, label, from, via);
            }
        }
        let cost = label + 1;
        if cost < self.best_offers[zone] {
            self.best_offers[zone] = cost;
            self.passed_over[zone].clear();
            for &node in &flow.zone_nodes[zone] {
                if flow.holds(partition, node) {
                    // Whose label is as low already gains nothing from a later offer.
                    if self.labels[node as usize] > cost {
                        self.passed_over[zone].push(node);
                    }
                } else {
                    self.relax(node, cost, from, via);
                }
            }
        } else if !self.passed_over[zone].is_empty() {
            let mut passed_over = std::mem::take(&mut self.passed_over[zone]);
            for &node in &passed_over {
                if !flow.holds(partition, node) {
                    self.relax(node, cost, from, via);
                }
            }
            if cost == self.best_offers[zone] {
                passed_over.retain(|&node| flow.holds(partition, node));
            }
            self.passed_over[zone] = passed_over;
        }
    }

    pub(super) fn run(&mut self) {
        let mut distance = 0;
        while distance < self.buckets.len() as i32 && distance <= self.nearest {
            let Some(node) = self.buckets[distance as usize].pop() else {
                distance += 1;
                continue;
            };
            let label = self.labels[node as usize];
            let is_current = label - self.flow.potentials[node as usize] == distance;
            if self.done[node as usize] || !is_current {
                continue;
            }
            self.done[node as usize] = true;
            let sink = self.flow.sink() as u32;
            let lacks = match node == sink {
                true => self.flow.sink_excess() < 0,
                false => self.flow.node_excess(node) < 0,
            };
            if lacks {
                self.end(distance, None, node);
            } else if node == sink {
                for other in 0..sink {
                    if self.flow.may_give_odd(other) {
                        self.relax(other, label, sink, NONE);
                    }
                }
            } else {
                self.expand(node, label);
            }
        }
    }

    fn end(&mut self, distance: i32, last: Option<Arc>, node: u32) {
        if distance < self.nearest {
            self.terminals.clear();
            self.nearest = distance;
        }
        if distance == self.nearest {
            self.terminals.push(Terminal {
                distance,
                last,
                node,
            });
        }
    }

    fn expand(&mut self, node: u32, label: i32) {
        let flow = self.flow;
        let sink = flow.sink() as u32;
        if flow.may_take_odd(node) {
            self.relax(sink, label, node, NONE);
        }
        let zone = flow.zone(node);
        for &partition in &flow.holders[node as usize] {
            let p = partition as usize;
            if flow.holds(p, node) {
                self.give(p, node, zone, label - flow.cost(p, node));
            }
        }
    }

    /// What can become of a replica that its node gives away.
    fn give(&mut self, partition: usize, node: u32, zone: usize, label: i32) {
        let flow = self.flow;
        let slot = flow
            .slot(partition, zone)
            .expect("the node holds the partition");
        let known = &mut self.slot_labels[partition * self.slots + slot];
        if *known <= label {
            return;
        }
        *known = label;
        let count = flow.count(partition, zone);
        let drop = Arc {
            from: node,
            to: NONE,
            via: partition as u32,
        };
        if count > flow.spread.cap[zone] {
            let distance = label - self.lowest(partition, |z| z == zone);
            return self.end(distance, Some(drop), node);
        }
        self.offer(partition, zone, label, node);
        if count <= flow.spread.low[zone] || self.partition_labels[partition] <= label {
            return;
        }
        self.partition_labels[partition] = label;
        if flow.partition_excess(partition) < 0 {
            let leaves = |z| flow.count(partition, z) > flow.spread.low[z];
            let distance = label - self.lowest(partition, leaves);
            return self.end(distance, Some(drop), node);
        }
        self.spread_out(partition, node, zone, label);
    }

    /// Offers a replica that leaves its zone to all others that have room for it.
    fn spread_out(&mut self, partition: usize, node: u32, home: usize, label: i32) {
        let flow = self.flow;
        for &former in flow.before(partition) {
            if !flow.holds(partition, former) {
                self.enter_zone(partition, node, home, flow.zone(former), label);
            }
        }
        let mut zones = std::mem::take(&mut self.left_out);
        if label < self.everywhere {
            self.everywhere = label;
            zones = (0..flow.zone_nodes.len()).collect();
        }
        for &zone in &zones {
            if !self.is_reached(zone) {
                self.enter_zone(partition, node, home, zone, label);
            }
        }
        zones.retain(|&zone| !self.is_reached(zone));
        self.left_out = zones;
    }

    /// Whether no offer at the lowest label so far, or above, helps anybody in the zone.
    fn is_reached(&self, zone: usize) -> bool {
        let reached = self.best_offers[zone] <= self.everywhere.saturating_add(1);
        (reached && self.passed_over[zone].is_empty()) || self.flow.zone_nodes[zone].is_empty()
    }

    fn enter_zone(&mut self, partition: usize, node: u32, home: usize, zone: usize, label: i32) {
        let flow = self.flow;
        if zone == home || flow.count(partition, zone) >= flow.spread.cap[zone] {
            return;
        }
        if let Some(slot) = flow.slot(partition, zone) {
            let known = &mut self.slot_labels[partition * self.slots + slot];
            if *known <= label {
                return;
            }
            *known = label;
        }
        self.offer(partition, zone, label, node);
    }

    /// The lowest label at which a replica can arrive from one of these zones.
    fn lowest(&self, partition: usize, is_from: impl Fn(usize) -> bool) -> i32 {
        let flow = self.flow;
        let row = flow.row(partition).iter();
        let row = row.filter(|&&node| is_from(flow.zone(node)));
        let label = |&node: &u32| flow.potentials[node as usize] - flow.cost(partition, node);
        row.map(label).min().unwrap_or(0)
    }

    /// The new potentials, and the paths to what is nearest.
    pub(super) fn finish(self) -> (Vec<i32>, Vec<Vec<Arc>>) {
        let flow = self.flow;
        let nearest = self.nearest;
        let mut potentials = flow.potentials.clone();
        for (potential, label) in potentials.iter_mut().zip(&self.labels) {
            if *label != FAR {
                *potential -= (nearest - (*label - *potential)).max(0);
            }
        }
        let path = |terminal: &Terminal| {
            debug_assert_eq!(terminal.distance, nearest, "only the nearest are kept");
            let mut path: Vec<Arc> = terminal.last.into_iter().collect();
            let mut node = terminal.node;
            loop {
                let arc = self.arcs[node as usize];
                if arc.to == NONE {
                    break;
                }
                path.push(arc);
                if arc.from == NONE {
                    break;
                }
                node = arc.from;
            }
            path.reverse();
            path
        };
        let paths = self
            .terminals
            .iter()
            .map(path)
            .filter(|path| !path.is_empty());
        (potentials, paths.collect())
    }
}
