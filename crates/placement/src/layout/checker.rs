//! The checker: accepts a plan or says what is wrong with it, whoever made it.
//!
//! Knows nothing about the planner: it shares the data types and no code, and recomputes all that
//! a certificate claims. Its logic is in this one file: 200 lines of code at most.

use super::planner::{Cause, Certificate, Level, Move, Plan};
use super::proof::{PRICE_MAX, Proof, Refusal};
use super::topology::{NONE, Placement, Topology};

/// The largest number in a level, so that no product overflows: all weights together are less.
const LEVEL_MAX: u128 = 1 << 56;

struct Rules<'a> {
    topology: &'a Topology,
    replicas: usize,
    /// At least and at most so many replicas of a partition, by zone.
    spread: Vec<(usize, usize)>,
    /// At least and at most so many replicas, by node.
    bounds: Vec<(u64, u64)>,
}

/// Checks that a plan keeps the rules, that its moves and causes are true, and that its prices
/// prove its bound. O(P·N).
///
/// The bound holds by weak duality: whatever the prices, the least that each partition pays for
/// its replicas, less the most that nodes with loads within their bounds take in, is at most what
/// any layout pays that keeps the rules. It is over all of them: whoever gets the odd units. It
/// says nothing about how even primaries change, nor about the order of steps.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    topology: &Topology,
    current: &Placement,
    replicas: usize,
    plan: &Plan,
) -> Result<Proof, Refusal> {
    let (target, certificate) = (&plan.target, &plan.certificate);
    let rules = Rules::of(topology, current, replicas, target, certificate)?;
    rules.target(target)?;
    let moves = rules.moves(current, target);
    if moves != certificate.moves {
        return Err(Refusal::Moves);
    }
    let copies = moves.iter().filter(|one| one.to.is_some()).count() as u64;
    match rules.bound(current, &certificate.prices) {
        bound if bound == certificate.bound => Ok(Proof { copies, bound }),
        bound => Err(Refusal::Bound(bound)),
    }
}

impl<'a> Rules<'a> {
    fn of(
        topology: &'a Topology,
        current: &Placement,
        wanted: usize,
        target: &Placement,
        proof: &Certificate,
    ) -> Result<Self, Refusal> {
        let nodes = topology.nodes().len();
        let mut sizes = vec![0; topology.zones()];
        topology
            .able()
            .for_each(|node| sizes[topology.zone_of(node)] += 1);
        let replicas = wanted.min(sizes.iter().sum());
        let known = |node: &u32| *node == NONE || (*node as usize) < nodes;
        let priced = |price: &i64| price.unsigned_abs() <= PRICE_MAX;
        let fits = current.rows().flatten().all(known)
            && (target.partitions(), target.replicas()) == (current.partitions(), replicas)
            && (proof.prices.len(), proof.zone_levels.len()) == (nodes, sizes.len())
            && proof.prices.iter().all(priced);
        let room = |n: usize| sizes.iter().map(|size| n.min(*size)).sum::<usize>();
        let most = (1..=replicas).find(|&n| room(n) >= replicas);
        let most = most.filter(|_| fits).ok_or(Refusal::Shape)?;
        let bounds_of = |&size: &usize| (size.min(most - 1), size.min(most));
        let spread = sizes.iter().map(bounds_of).collect();
        let mut rules = Self {
            topology,
            replicas,
            spread,
            bounds: vec![(0, 0); nodes],
        };
        let fair = rules.share_out(current.partitions() as u128, proof);
        fair.then_some(rules).ok_or(Refusal::Levels)
    }

    /// Sets the floor and ceiling of each node's share. Whether the levels are fair: all zones
    /// have the common one, but for those that may not have more, or must not have less.
    fn share_out(&mut self, partitions: u128, proof: &Certificate) -> bool {
        let wide = |level: &Level| (u128::from(level.numerator), u128::from(level.denominator));
        let common = wide(&proof.level);
        let levels: Vec<(u128, u128)> = proof.zone_levels.iter().map(wide).collect();
        let sane = |(n, d): &(u128, u128)| *n < LEVEL_MAX && (1..LEVEL_MAX).contains(d);
        if !levels.iter().chain([&common]).all(sane) {
            return false;
        }
        let mut total = 0;
        for (zone, (numerator, denominator)) in levels.into_iter().enumerate() {
            let mut sum = 0;
            let t = self.topology;
            for node in t.able().filter(|&n| t.zone_of(n) == zone) {
                let share = numerator * u128::from(t.nodes()[node].weight);
                let share = share.min(partitions * denominator);
                let (floor, ceil) = (share / denominator, share.div_ceil(denominator));
                self.bounds[node] = (floor as u64, ceil as u64);
                sum += share;
            }
            let full = |count: usize| count as u128 * partitions * denominator;
            let (low, most) = (full(self.spread[zone].0), full(self.spread[zone].1));
            let (level, level_of_all) = (numerator * common.1, common.0 * denominator);
            let fair = (level <= level_of_all && sum == most)
                || (level >= level_of_all && sum == low)
                || (level == level_of_all && (low..=most).contains(&sum));
            // Zones at a bound have whole sums; the others have the common denominator.
            let whole = sum % denominator == 0;
            if !fair || !(whole || denominator == common.1) {
                return false;
            }
            total += sum / denominator * common.1 + sum % denominator;
        }
        total == self.replicas as u128 * partitions * common.1
    }

    fn is_able(&self, node: u32) -> bool {
        let node = self.topology.nodes().get(node as usize);
        node.is_some_and(|node| node.is_able())
    }

    fn in_zone(&self, row: &[u32], zone: usize) -> usize {
        let there = |node: u32| self.is_able(node) && self.zone(node) == zone;
        row.iter().filter(|node| there(**node)).count()
    }

    fn zone(&self, node: u32) -> usize {
        self.topology.zone_of(node as usize)
    }

    fn target(&self, target: &Placement) -> Result<(), Refusal> {
        let mut loads = vec![(0u64, 0u64); self.bounds.len()];
        for (partition, row) in target.rows().enumerate() {
            let repeated = (0..row.len()).any(|i| row[..i].contains(&row[i]));
            if repeated || !row.iter().all(|&node| self.is_able(node)) {
                return Err(Refusal::Row(partition));
            }
            let counts = (0..self.spread.len()).map(|zone| self.in_zone(row, zone));
            if !counts
                .zip(&self.spread)
                .all(|(n, (low, most))| (low..=most).contains(&&n))
            {
                return Err(Refusal::Spread(partition));
            }
            row.iter().for_each(|&node| loads[node as usize].0 += 1);
            loads[row[0] as usize].1 += 1;
        }
        let replicas = self.replicas as u64;
        for (node, ((load, primaries), bounds)) in loads.into_iter().zip(&self.bounds).enumerate() {
            if load < bounds.0 || load > bounds.1 {
                return Err(Refusal::Load(node));
            }
            if primaries < load / replicas || primaries > load.div_ceil(replicas) {
                return Err(Refusal::Primaries(node));
            }
        }
        Ok(())
    }

    fn moves(&self, current: &Placement, target: &Placement) -> Vec<Move> {
        let mut loads = vec![0; self.bounds.len()];
        let held = current.rows().flatten().filter(|node| **node != NONE);
        held.for_each(|&node| loads[node as usize] += 1);
        let mut moves = Vec::new();
        for (partition, (before, after)) in (0..).zip(current.rows().zip(target.rows())) {
            let gone = before.iter().filter(|n| **n != NONE && !after.contains(n));
            let gone: Vec<u32> = gone.copied().collect();
            let come = after.iter().filter(|node| !before.contains(node));
            let come: Vec<u32> = come.copied().collect();
            for i in 0..gone.len().max(come.len()) {
                let (from, to) = (gone.get(i).copied(), come.get(i).copied());
                let cause = self.cause(before, from, to, &loads);
                moves.push(Move {
                    partition,
                    from,
                    to,
                    cause,
                });
            }
        }
        moves
    }

    fn cause(&self, row: &[u32], from: Option<u32>, to: Option<u32>, loads: &[u64]) -> Cause {
        let full = |node: u32| self.in_zone(row, self.zone(node)) > self.spread[self.zone(node)].1;
        let short = |node: u32| self.in_zone(row, self.zone(node)) < self.spread[self.zone(node)].0;
        match (from, to) {
            (None, _) => Cause::Missing,
            (Some(from), _) if !self.is_able(from) => Cause::NotTaking,
            (Some(from), _) if full(from) => Cause::ZoneFull,
            (_, None) => Cause::Surplus,
            (Some(from), Some(to)) => match (from as usize, to as usize) {
                (from, _) if loads[from] > self.bounds[from].1 => Cause::AboveShare,
                _ if short(to) => Cause::ZoneShort,
                (_, to) if loads[to] < self.bounds[to].0 => Cause::BelowShare,
                _ => Cause::Exchange,
            },
        }
    }

    /// What each partition pays at least: each zone gives its cheapest, as many as it must; what
    /// is still lacking comes from the cheapest of the next that zones may give.
    fn bound(&self, current: &Placement, prices: &[i64]) -> u64 {
        let sum = |costs: &[i64]| costs.iter().map(|&cost| i128::from(cost)).sum::<i128>();
        let mut paid = 0;
        for row in current.rows() {
            let mut zones = vec![Vec::new(); self.spread.len()];
            for node in self.topology.able() {
                let new = i64::from(!row.contains(&(node as u32)));
                zones[self.topology.zone_of(node)].push(prices[node] + new);
            }
            let (mut optional, mut lacking) = (Vec::new(), self.replicas);
            for (costs, &(low, most)) in zones.iter_mut().zip(&self.spread) {
                costs.sort_unstable();
                paid += sum(&costs[..low]);
                optional.extend_from_slice(&costs[low..most]);
                lacking -= low;
            }
            optional.sort_unstable();
            paid += sum(&optional[..lacking]);
        }
        for (&price, &(floor, ceil)) in prices.iter().zip(&self.bounds) {
            let price = i128::from(price);
            paid -= (price * i128::from(floor)).max(price * i128::from(ceil));
        }
        u64::try_from(paid.max(0)).unwrap_or(u64::MAX)
    }
}
