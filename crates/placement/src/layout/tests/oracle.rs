//! The optimum by the book: a minimum-cost flow on the explicit network, found by Bellman and Ford.

use super::super::shares::{Shares, Spread};
use super::random::Case;

/// Dearer than all moves of a small case: what a lower bound is worth.
const MUST: i64 = 100_000;

struct Edge {
    to: usize,
    capacity: i64,
    cost: i64,
}

#[derive(Default)]
struct Network {
    edges: Vec<Edge>,
    out: Vec<Vec<usize>>,
}

impl Network {
    fn connect(&mut self, from: usize, to: usize, capacity: i64, cost: i64) {
        let vertices = from.max(to) + 1;
        if self.out.len() < vertices {
            self.out.resize(vertices, Vec::new());
        }
        self.out[from].push(self.edges.len());
        self.edges.push(Edge { to, capacity, cost });
        self.out[to].push(self.edges.len());
        let (to, cost) = (from, -cost);
        self.edges.push(Edge {
            to,
            capacity: 0,
            cost,
        });
    }

    /// Sends one unit at a time along a cheapest path; flow and cost of the maximum.
    fn solve(&mut self, source: usize, sink: usize) -> (i64, i64) {
        let (mut flow, mut total) = (0, 0);
        loop {
            let mut costs = vec![i64::MAX; self.out.len()];
            let mut from = vec![usize::MAX; self.out.len()];
            costs[source] = 0;
            let mut queue = std::collections::VecDeque::from([source]);
            while let Some(vertex) = queue.pop_front() {
                for &e in &self.out[vertex] {
                    let edge = &self.edges[e];
                    let cost = costs[vertex] + edge.cost;
                    if edge.capacity > 0 && cost < costs[edge.to] {
                        costs[edge.to] = cost;
                        from[edge.to] = e;
                        queue.push_back(edge.to);
                    }
                }
            }
            if costs[sink] == i64::MAX {
                return (flow, total);
            }
            flow += 1;
            total += costs[sink];
            let mut vertex = sink;
            while vertex != source {
                let e = from[vertex];
                self.edges[e].capacity -= 1;
                self.edges[e ^ 1].capacity += 1;
                vertex = self.edges[e ^ 1].to;
            }
        }
    }
}

/// The fewest new replicas of any layout that keeps the rules.
pub(super) fn fewest_copies(case: &Case) -> u64 {
    let topology = &case.topology;
    let spread = Spread::of(topology, case.replicas);
    let partitions = case.current.partitions();
    let shares = Shares::of(topology, &spread, partitions);
    let (nodes, zones) = (topology.nodes().len(), topology.zones());
    let (source, sink) = (0, 1);
    let node_vertex = |node: usize| 2 + node;
    let zone_vertex = |p: usize, zone: usize| 2 + nodes + partitions + p * zones + zone;
    let mut network = Network::default();
    let mut musts = 0;
    for (p, row) in case.current.rows().enumerate() {
        let vertex = 2 + nodes + p;
        network.connect(source, vertex, spread.replicas as i64, 0);
        for zone in 0..zones {
            let (low, cap) = (spread.low[zone] as i64, spread.cap[zone] as i64);
            network.connect(vertex, zone_vertex(p, zone), low, -MUST);
            network.connect(vertex, zone_vertex(p, zone), cap - low, 0);
            musts += low;
        }
        for node in topology.able() {
            let cost = i64::from(!row.contains(&(node as u32)));
            let zone = zone_vertex(p, topology.zone_of(node));
            network.connect(zone, node_vertex(node), 1, cost);
        }
    }
    for node in topology.able() {
        let (floor, ceil) = (i64::from(shares.floor[node]), i64::from(shares.ceil[node]));
        network.connect(node_vertex(node), sink, floor, -MUST);
        network.connect(node_vertex(node), sink, ceil - floor, 0);
        musts += floor;
    }
    let (flow, cost) = network.solve(source, sink);
    assert_eq!(
        flow,
        (spread.replicas * partitions) as i64,
        "shares can be met"
    );
    u64::try_from(cost + musts * MUST).expect("all that must be is")
}
