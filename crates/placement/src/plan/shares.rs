//! Shares by weight under limits, and the cost of one unit more. Knows nothing about members or
//! partitions.

use std::cmp::Ordering;

/// Something that gets a part of a total in proportion to its weight, but never more than `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) weight: u64,
    pub(crate) cap: u64,
}

/// An exact share, a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    numerator: u128,
    denominator: u128,
}

impl Share {
    pub(crate) fn floor(self) -> u64 {
        u64::try_from(self.numerator / self.denominator).unwrap_or(u64::MAX)
    }

    pub(crate) fn ceil(self) -> u64 {
        u64::try_from(self.numerator.div_ceil(self.denominator)).unwrap_or(u64::MAX)
    }
}

/// Shares of `total` in proportion to the weights: what one cannot take because of its cap, the
/// others get. Shares sum up to `total`, or to less if all are at their caps.
///
/// The level (units per weight) rises as caps are reached, and what is capped at one level is
/// capped at every higher one, so there are at most as many rounds as there are parts.
pub(crate) fn shares(total: u64, parts: &[Part]) -> Vec<Share> {
    let mut capped = vec![false; parts.len()];
    loop {
        let (mut fixed, mut weight) = (0u128, 0u128);
        for (part, capped) in parts.iter().zip(&capped) {
            match capped {
                true => fixed += u128::from(part.cap),
                false => weight += u128::from(part.weight),
            }
        }
        let left = u128::from(total).saturating_sub(fixed);
        let mut changed = false;
        for (part, capped) in parts.iter().zip(&mut capped) {
            let full = u128::from(part.weight) * left >= u128::from(part.cap) * weight;
            changed |= full && weight > 0 && !*capped;
            *capped |= full && weight > 0;
        }
        if changed {
            continue;
        }
        let share = |(part, capped): (&Part, &bool)| match capped {
            true => (part.cap.into(), 1),
            false => (u128::from(part.weight) * left, weight.max(1)),
        };
        let exact = parts.iter().zip(&capped).map(share);
        return exact
            .map(|(numerator, denominator)| Share {
                numerator,
                denominator,
            })
            .collect();
    }
}

/// How much it would cost to give one of `weight` a unit when it would then have `units`: the
/// units per weight at the middle of that unit (the rule of Sainte-Laguë). No weight costs most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    half_units: u128,
    weight: u128,
}

impl Cost {
    pub(crate) fn of_unit(units: u64, weight: u64) -> Self {
        Self {
            half_units: u128::from(units) * 2 - u128::from(units > 0),
            weight: weight.into(),
        }
    }
}

impl Ord for Cost {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.weight, other.weight) {
            (0, 0) => self.half_units.cmp(&other.half_units),
            (0, _) => Ordering::Greater,
            (_, 0) => Ordering::Less,
            _ => (self.half_units * other.weight).cmp(&(other.half_units * self.weight)),
        }
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cost {}
