//! Shares: how much of everything each node should have, and whole numbers near it.
//!
//! Knows nothing about who holds which partition, only how many each holds.
//!
//! Water-filling: a node's share is its weight times a level, at most one replica of every
//! partition; a zone's is the sum, kept within what zones may have. One level serves all zones but
//! those at a bound, which have levels of their own. Levels are fractions of integers, found by
//! bisection over the points where a node or a zone reaches a bound: O(N log N).

use super::planner::Level;
use super::topology::Topology;

/// How many replicas of one partition each zone has: at least `low`, at most `cap`.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub replicas: usize,
    pub low: Vec<usize>,
    pub cap: Vec<usize>,
}

impl Spread {
    /// As even as the sizes of the zones admit: a level such that zones are filled up to it, or up
    /// to one below.
    pub(super) fn of(topology: &Topology, replicas: usize) -> Self {
        let mut sizes = vec![0; topology.zones()];
        for node in topology.able() {
            sizes[topology.zone_of(node)] += 1;
        }
        let replicas = replicas.min(sizes.iter().sum());
        let filled = |level: usize| sizes.iter().map(|&size| level.min(size)).sum::<usize>();
        let level = (1..).find(|&level| filled(level) >= replicas).unwrap_or(1);
        Self {
            replicas,
            low: sizes.iter().map(|&size| size.min(level - 1)).collect(),
            cap: sizes.iter().map(|&size| size.min(level)).collect(),
        }
    }
}

/// The floor and ceiling of each node's share, and the levels they come from.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    pub level: Level,
    pub zone_levels: Vec<Level>,
    pub floor: Vec<u32>,
    pub ceil: Vec<u32>,
}

impl Shares {
    pub(super) fn of(topology: &Topology, spread: &Spread, partitions: usize) -> Self {
        let zones = weights_of_zones(topology);
        let partitions = partitions as u64;
        let bound = |per_partition: &[usize], zone: usize| per_partition[zone] as u64 * partitions;
        let bounds: Vec<(u64, u64)> = (0..zones.len())
            .map(|zone| (bound(&spread.low, zone), bound(&spread.cap, zone)))
            .collect();
        let total = spread.replicas as u64 * partitions;
        let (level, zone_levels) = levels(&zones, &bounds, partitions, total);
        let share = |node: usize, up: bool| {
            let able = topology.nodes()[node].is_able();
            let weight = if able {
                topology.nodes()[node].weight
            } else {
                0
            };
            let share = zone_levels[topology.zone_of(node)].share(weight, partitions, up);
            u32::try_from(share).expect("a share is at most the partitions")
        };
        let nodes = 0..topology.nodes().len();
        Self {
            floor: nodes.clone().map(|node| share(node, false)).collect(),
            ceil: nodes.map(|node| share(node, true)).collect(),
            level,
            zone_levels,
        }
    }

    /// Whole numbers that add up: zones first, then the nodes of each; an odd unit goes to whoever
    /// holds most now. Only a start: the flow may give it to another.
    pub(super) fn quotas(
        &self,
        topology: &Topology,
        spread: &Spread,
        partitions: usize,
        loads: &[u32],
    ) -> Vec<u32> {
        let mut members = vec![Vec::new(); topology.zones()];
        for node in topology.able() {
            members[topology.zone_of(node)].push(node);
        }
        let mut sizes: Vec<ZoneQuota> = Vec::with_capacity(members.len());
        for (zone, nodes) in members.iter().enumerate() {
            let weights = sorted_weights(nodes.iter().map(|&n| topology.nodes()[n].weight));
            let (sum, denominator) = self.zone_levels[zone].sum(&weights, partitions as u64);
            let load = nodes.iter().map(|&node| u64::from(loads[node])).sum();
            sizes.push(ZoneQuota {
                floor: (sum / denominator) as u64,
                odd: sum % denominator != 0,
                load,
            });
        }
        let total = (spread.replicas * partitions) as u64;
        let mut left = total - sizes.iter().map(|zone| zone.floor).sum::<u64>();
        let mut order: Vec<usize> = (0..sizes.len()).filter(|&zone| sizes[zone].odd).collect();
        order.sort_by_key(|&zone| (sizes[zone].load <= sizes[zone].floor, zone));
        for zone in order {
            if left > 0 {
                sizes[zone].floor += 1;
                left -= 1;
            }
        }
        let mut quotas = self.floor.clone();
        for (nodes, zone) in members.iter().zip(&sizes) {
            let mut left =
                zone.floor - nodes.iter().map(|&n| u64::from(self.floor[n])).sum::<u64>();
            let odd = |node: &&usize| self.ceil[**node] > self.floor[**node];
            let mut order: Vec<usize> = nodes.iter().filter(odd).copied().collect();
            order.sort_by_key(|&node| (loads[node] <= self.floor[node], node));
            for node in order {
                if left > 0 {
                    quotas[node] += 1;
                    left -= 1;
                }
            }
        }
        quotas
    }
}

struct ZoneQuota {
    floor: u64,
    odd: bool,
    load: u64,
}

fn sorted_weights(weights: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut weights: Vec<u32> = weights.collect();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    weights
}

/// The weights of the able nodes of each zone, the heaviest first.
fn weights_of_zones(topology: &Topology) -> Vec<Vec<u32>> {
    let mut zones = vec![Vec::new(); topology.zones()];
    for node in topology.able() {
        zones[topology.zone_of(node)].push(topology.nodes()[node].weight);
    }
    zones
        .into_iter()
        .map(|zone| sorted_weights(zone.into_iter()))
        .collect()
}

/// The lowest level at which nodes of these weights, the heaviest first, have `total`.
fn level_for(weights: &[u32], partitions: u64, total: u64) -> Level {
    let mut rest: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    for (full, &weight) in weights.iter().enumerate() {
        let left = total.saturating_sub(full as u64 * partitions);
        if u128::from(left) * u128::from(weight) <= u128::from(partitions) * u128::from(rest) {
            return Level::new(left, rest);
        }
        rest -= u64::from(weight);
    }
    Level::new(0, 1)
}

/// What a zone has at a level, within its bounds, as a multiple of one over the denominator.
fn bounded(level: Level, zone: &[u32], bounds: (u64, u64), partitions: u64) -> u128 {
    let (sum, denominator) = level.sum(zone, partitions);
    let (low, high) = bounds;
    sum.clamp(
        u128::from(low) * denominator,
        u128::from(high) * denominator,
    )
}

/// The level of all zones and that of each.
fn levels(
    zones: &[Vec<u32>],
    bounds: &[(u64, u64)],
    partitions: u64,
    total: u64,
) -> (Level, Vec<Level>) {
    let mut points: Vec<Level> = vec![Level::new(0, 1)];
    for (zone, &(low, high)) in zones.iter().zip(bounds) {
        points.push(level_for(zone, partitions, low));
        points.push(level_for(zone, partitions, high));
        let mut weights = zone.clone();
        weights.dedup();
        points.extend(
            weights
                .iter()
                .map(|&w| Level::new(partitions, u64::from(w))),
        );
    }
    points.sort_unstable_by(|a, b| a.compare(*b));
    let reached = |level: &Level| {
        let each = zones.iter().zip(bounds);
        let sum: u128 = each
            .map(|(zone, &b)| bounded(*level, zone, b, partitions))
            .sum();
        sum >= u128::from(total) * u128::from(level.denominator)
    };
    // Between two neighbouring points everything grows evenly or not at all.
    let above = points.partition_point(|level| !reached(level));
    let above = above.min(points.len() - 1);
    let (before, after) = (points[above.saturating_sub(1)], points[above]);
    let (mut fixed, mut rest) = (0u64, 0u64);
    let bound_of = |zone: &[u32], (low, high): (u64, u64)| {
        let (now, denominator) = before.sum(zone, partitions);
        let (then, denominator_then) = after.sum(zone, partitions);
        if now >= u128::from(high) * denominator {
            Some(high)
        } else if then <= u128::from(low) * denominator_then {
            Some(low)
        } else {
            None
        }
    };
    for (zone, &b) in zones.iter().zip(bounds) {
        if let Some(bound) = bound_of(zone, b) {
            fixed += bound;
            continue;
        }
        for &weight in zone {
            if before.fills(weight, partitions) {
                fixed += partitions;
            } else {
                rest += u64::from(weight);
            }
        }
    }
    let level = match rest {
        0 => after,
        rest => Level::new(total.saturating_sub(fixed), rest),
    };
    let each = zones
        .iter()
        .zip(bounds)
        .map(|(zone, &b)| match bound_of(zone, b) {
            Some(bound) => level_for(zone, partitions, bound),
            None => level,
        });
    (level, each.collect())
}

impl Level {
    fn new(numerator: u64, denominator: u64) -> Self {
        Self {
            numerator,
            denominator,
        }
    }

    fn compare(self, other: Self) -> std::cmp::Ordering {
        let left = u128::from(self.numerator) * u128::from(other.denominator);
        left.cmp(&(u128::from(other.numerator) * u128::from(self.denominator)))
    }

    fn fills(self, weight: u32, partitions: u64) -> bool {
        let wanted = u128::from(self.numerator) * u128::from(weight);
        wanted >= u128::from(partitions) * u128::from(self.denominator)
    }

    /// What a node of this weight has, rounded down or up.
    fn share(self, weight: u32, partitions: u64, up: bool) -> u64 {
        let wanted = u128::from(self.numerator) * u128::from(weight);
        let denominator = u128::from(self.denominator);
        let full = u128::from(partitions);
        let whole = if up {
            wanted.div_ceil(denominator)
        } else {
            wanted / denominator
        };
        whole.min(full) as u64
    }

    /// What nodes of these weights, the heaviest first, have together: numerator, denominator.
    fn sum(self, weights: &[u32], partitions: u64) -> (u128, u128) {
        let denominator = u128::from(self.denominator);
        let full = weights.partition_point(|&weight| self.fills(weight, partitions));
        let rest: u128 = weights[full..].iter().map(|&w| u128::from(w)).sum();
        let sum =
            u128::from(self.numerator) * rest + full as u128 * u128::from(partitions) * denominator;
        (sum, denominator)
    }
}
