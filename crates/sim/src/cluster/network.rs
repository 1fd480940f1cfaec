//! Which way is open between machines, and how long things take on it. Knows nothing of what is
//! said.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Slot;
use crate::rng::Chance;

/// Cuts and delays.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) delay_us: (u64, u64),
    pub(crate) late_per_mille: u64,
    pub(crate) late_us_max: u64,
    /// Time that a kibibyte takes.
    pub(crate) us_per_kib: u64,
    /// By number, the ways that are cut.
    cuts: BTreeMap<usize, BTreeSet<(Slot, Slot)>>,
}

impl Network {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        Self {
            delay_us: (30, chance.pick(&[100, 300, 2_000]).unwrap_or(300)),
            late_per_mille: chance.pick(&[0, 0, 5, 50]).unwrap_or(0),
            late_us_max: chance.pick(&[5_000, 60_000]).unwrap_or(5_000),
            us_per_kib: chance.pick(&[1, 8, 80]).unwrap_or(8),
            cuts: BTreeMap::new(),
        }
    }

    pub(crate) fn cut(&mut self, number: usize, ways: BTreeSet<(Slot, Slot)>) {
        self.cuts.insert(number, ways);
    }

    pub(crate) fn heal(&mut self, number: usize) {
        self.cuts.remove(&number);
    }

    /// Whether nothing is cut.
    pub(crate) fn is_whole(&self) -> bool {
        self.cuts.is_empty()
    }

    /// Whether something sent there would arrive.
    pub(crate) fn passes(&self, from: Slot, to: Slot) -> bool {
        from == to || !self.cuts.values().any(|cut| cut.contains(&(from, to)))
    }

    /// Whether both hear each other.
    pub(crate) fn connects(&self, one: Slot, other: Slot) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    pub(crate) fn delay(&self, chance: &mut Chance) -> u64 {
        let (least, most) = self.delay_us;
        let delay = chance.between(least, most);
        if chance.happens(self.late_per_mille) {
            return delay + chance.below(self.late_us_max);
        }
        delay
    }
}
