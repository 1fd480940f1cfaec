//! Names for each difference of a plan the constraint that caused it.
//! Knows nothing about how the plan was found.

use super::planner::{Cause, Move};
use super::shares::{Shares, Spread};
use super::topology::{NONE, Placement, Topology};

struct Causes<'a> {
    topology: &'a Topology,
    spread: &'a Spread,
    shares: &'a Shares,
    loads: Vec<u32>,
}

/// The differences between two layouts, by partition; who goes is paired with who comes in order.
pub(super) fn moves(
    topology: &Topology,
    spread: &Spread,
    shares: &Shares,
    current: &Placement,
    target: &Placement,
) -> Vec<Move> {
    let mut loads = vec![0; topology.nodes().len()];
    for &node in current.places.iter().filter(|&&node| node != NONE) {
        loads[node as usize] += 1;
    }
    let causes = Causes {
        topology,
        spread,
        shares,
        loads,
    };
    let mut moves = Vec::new();
    for (partition, (before, after)) in current.rows().zip(target.rows()).enumerate() {
        if before == after {
            continue;
        }
        let gone = before.iter().filter(|n| **n != NONE && !after.contains(n));
        let come = after.iter().filter(|n| !before.contains(n));
        let (mut gone, mut come) = (gone.copied(), come.copied());
        loop {
            let (from, to) = (gone.next(), come.next());
            if from.is_none() && to.is_none() {
                break;
            }
            let cause = causes.of(before, from, to);
            moves.push(Move {
                partition: partition as u32,
                from,
                to,
                cause,
            });
        }
    }
    moves
}

impl Causes<'_> {
    /// The first that applies, in the order of the variants.
    fn of(&self, before: &[u32], from: Option<u32>, to: Option<u32>) -> Cause {
        let Some(from) = from else {
            return Cause::Missing;
        };
        let able = |node: u32| self.topology.nodes()[node as usize].is_able();
        let zone = |node: u32| self.topology.zone_of(node as usize);
        let in_zone = |z: usize| {
            let there = |n: &&u32| **n != NONE && able(**n) && zone(**n) == z;
            before.iter().filter(there).count()
        };
        if !able(from) {
            return Cause::NotTaking;
        }
        let home = zone(from);
        if in_zone(home) > self.spread.cap[home] {
            return Cause::ZoneFull;
        }
        let Some(to) = to else {
            return Cause::Surplus;
        };
        let (from, target, to) = (from as usize, zone(to), to as usize);
        if self.loads[from] > self.shares.ceil[from] {
            Cause::AboveShare
        } else if in_zone(target) < self.spread.low[target] {
            Cause::ZoneShort
        } else if self.loads[to] < self.shares.floor[to] {
            Cause::BelowShare
        } else {
            Cause::Exchange
        }
    }
}
