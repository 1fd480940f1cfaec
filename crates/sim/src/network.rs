//! Which messages pass between slots, and how late. Knows nothing of what they say.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Slot;
use crate::rng::Chance;

/// The manners of a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Messages between two slots arrive in order and only once, as over TCP.
    pub(crate) ordered: bool,
    pub(crate) lost_per_mille: u64,
    pub(crate) repeated_per_mille: u64,
    pub(crate) late_per_mille: u64,
    pub(crate) late_us_max: u64,
    pub(crate) delay_us_max: u64,
}

/// Cuts and delays.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) manners: Manners,
    /// Numbered, so that overlapping cuts heal one by one.
    cuts: BTreeMap<u64, BTreeSet<(Slot, Slot)>>,
    cut_from_control: BTreeMap<u64, BTreeSet<Slot>>,
    numbers: u64,
    last_arrival: BTreeMap<(Slot, Slot), u64>,
}

impl Network {
    pub(crate) fn new(manners: Manners) -> Self {
        Self {
            manners,
            cuts: BTreeMap::new(),
            cut_from_control: BTreeMap::new(),
            numbers: 0,
            last_arrival: BTreeMap::new(),
        }
    }

    pub(crate) fn cut(&mut self, links: BTreeSet<(Slot, Slot)>, control: BTreeSet<Slot>) -> u64 {
        self.numbers += 1;
        self.cuts.insert(self.numbers, links);
        self.cut_from_control.insert(self.numbers, control);
        self.numbers
    }

    pub(crate) fn heal(&mut self, number: u64) {
        self.cuts.remove(&number);
        self.cut_from_control.remove(&number);
    }

    pub(crate) fn heal_all(&mut self) {
        self.cuts.clear();
        self.cut_from_control.clear();
    }

    pub(crate) fn passes(&self, from: Slot, to: Slot) -> bool {
        !self.cuts.values().any(|cut| cut.contains(&(from, to)))
    }

    pub(crate) fn reaches_control(&self, slot: Slot) -> bool {
        !self
            .cut_from_control
            .values()
            .any(|cut| cut.contains(&slot))
    }

    /// When copies of a message that is sent now arrive; none if it is lost.
    pub(crate) fn arrivals(
        &mut self,
        now: u64,
        from: Slot,
        to: Slot,
        chance: &mut Chance,
    ) -> Vec<u64> {
        let manners = self.manners;
        if !self.passes(from, to) || chance.happens(manners.lost_per_mille) {
            return Vec::new();
        }
        let mut arrivals = vec![now + self.delay(chance)];
        if manners.ordered {
            let last = self.last_arrival.entry((from, to)).or_default();
            *last = arrivals[0].max(*last + 1);
            arrivals[0] = *last;
        } else if chance.happens(manners.repeated_per_mille) {
            let again = now + self.delay(chance);
            arrivals.push(again);
        }
        arrivals
    }

    fn delay(&self, chance: &mut Chance) -> u64 {
        let delay = chance.between(50, self.manners.delay_us_max);
        if chance.happens(self.manners.late_per_mille) {
            delay + chance.below(self.manners.late_us_max)
        } else {
            delay
        }
    }
}
