//! The weakest points of a layout: every node, zone and pair of nodes is tried.
//! Knows nothing about plans; it is [`what_if`](super::what_if), counted for many failures at once.

use super::topology::{NONE, Placement, Topology};

/// What fails together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// A zone, by its number in the topology.
    Zone(usize),
    /// A node, by number.
    Node(u32),
    /// Two nodes.
    Pair(u32, u32),
}

/// What a failure would do, the worst first when compared from the last to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weakness {
    /// Partitions without any replica.
    pub lost: u32,
    /// Partitions with fewer replicas than must have a write, the lost among them.
    pub unavailable: u32,
    /// Partitions with fewer replicas than before, the unavailable among them.
    pub weakened: u32,
    /// The most partitions that one survivor serves then.
    pub primaries_max: u32,
    /// What fails.
    pub failure: Failure,
}

struct Trials<'a> {
    layout: &'a Placement,
    in_sync_min: usize,
    live: Vec<bool>,
    failed: Vec<bool>,
    holders: Vec<Vec<u32>>,
    /// Who serves each partition while nothing more fails, and how many each node serves.
    serving: Vec<u32>,
    primaries: Vec<u32>,
    /// Nodes by how many partitions they serve, the most first.
    busiest: Vec<u32>,
}

/// The weakest points, the worst first: at most `most` of all zones, nodes and pairs of nodes that
/// are live, where `in_sync_min` replicas must have a write.
///
/// Each failure costs what the failed nodes hold, times R: O(N·P·R²) for all pairs.
#[must_use]
pub fn weakest_points(
    topology: &Topology,
    layout: &Placement,
    in_sync_min: usize,
    most: usize,
) -> Vec<Weakness> {
    let mut trials = Trials::new(topology, layout, in_sync_min);
    let live: Vec<u32> = (0..topology.nodes().len() as u32)
        .filter(|&node| trials.live[node as usize])
        .collect();
    let mut found = Vec::new();
    for zone in 0..topology.zones() {
        let inside = live.iter().copied();
        let inside: Vec<u32> = inside
            .filter(|&node| topology.zone_of(node as usize) == zone)
            .collect();
        if !inside.is_empty() {
            found.push(trials.run(Failure::Zone(zone), &inside));
        }
    }
    for (place, &one) in live.iter().enumerate() {
        found.push(trials.run(Failure::Node(one), &[one]));
        for &other in &live[place + 1..] {
            found.push(trials.run(Failure::Pair(one, other), &[one, other]));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(most);
    found
}

impl<'a> Trials<'a> {
    fn new(topology: &Topology, layout: &'a Placement, in_sync_min: usize) -> Self {
        let nodes = topology.nodes();
        let mut trials = Self {
            layout,
            in_sync_min,
            live: nodes.iter().map(|node| node.is_live()).collect(),
            failed: vec![false; nodes.len()],
            holders: vec![Vec::new(); nodes.len()],
            serving: vec![NONE; layout.partitions()],
            primaries: vec![0; nodes.len()],
            busiest: (0..nodes.len() as u32).collect(),
        };
        for (partition, row) in (0u32..).zip(layout.rows()) {
            for &node in row {
                if let Some(held) = trials.holders.get_mut(node as usize) {
                    held.push(partition);
                }
            }
            let primary = row.first().copied();
            if let Some(primary) = primary.filter(|&node| trials.survives(node)) {
                trials.serving[partition as usize] = primary;
                trials.primaries[primary as usize] += 1;
            }
        }
        for partition in 0..layout.partitions() as u32 {
            if trials.serving[partition as usize] != NONE {
                continue;
            }
            if let Some(next) = trials.successor(partition) {
                trials.serving[partition as usize] = next;
                trials.primaries[next as usize] += 1;
            }
        }
        let primaries = &trials.primaries;
        let fewest = |node: &u32| std::cmp::Reverse(primaries[*node as usize]);
        trials.busiest.sort_by_key(fewest);
        trials
    }

    fn survives(&self, node: u32) -> bool {
        let n = node as usize;
        self.live.get(n).is_some_and(|live| *live) && !self.failed[n]
    }

    fn has_failed(&self, node: u32) -> bool {
        let n = node as usize;
        self.failed.get(n).is_some_and(|failed| *failed) && self.live[n]
    }

    fn successor(&self, partition: u32) -> Option<u32> {
        let row = self.layout.row(partition as usize).iter().copied();
        let survivors = row.filter(|&node| self.survives(node));
        survivors.min_by_key(|&node| self.primaries[node as usize])
    }

    fn run(&mut self, failure: Failure, nodes: &[u32]) -> Weakness {
        let mut weakness = Weakness {
            lost: 0,
            unavailable: 0,
            weakened: 0,
            primaries_max: 0,
            failure,
        };
        for &node in nodes {
            self.failed[node as usize] = true;
        }
        let mut headless = Vec::new();
        for &node in nodes {
            for &partition in &self.holders[node as usize] {
                if self.serving[partition as usize] == node {
                    headless.push(partition);
                }
                let row = self.layout.row(partition as usize);
                // A partition that several of them hold counts with the first.
                if row.iter().find(|held| self.has_failed(**held)) != Some(&node) {
                    continue;
                }
                let left = row.iter().filter(|held| self.survives(**held)).count();
                weakness.weakened += 1;
                weakness.unavailable += u32::from(left == 0 || left < self.in_sync_min);
                weakness.lost += u32::from(left == 0);
            }
        }
        headless.sort_unstable();
        let mut taken = Vec::with_capacity(headless.len());
        for partition in headless {
            if let Some(next) = self.successor(partition) {
                self.primaries[next as usize] += 1;
                taken.push(next);
            }
        }
        let busiest = self.busiest.iter().find(|node| self.survives(**node));
        let served = taken
            .iter()
            .chain(busiest)
            .map(|node| self.primaries[*node as usize]);
        weakness.primaries_max = served.max().unwrap_or(0);
        for node in taken {
            self.primaries[node as usize] -= 1;
        }
        for &node in nodes {
            self.failed[node as usize] = false;
        }
        weakness
    }
}
