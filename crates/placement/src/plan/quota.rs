//! Shares by weight under limits, in whole numbers. Knows nothing about members or partitions.

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
    pub(crate) fn whole(number: u64) -> Self {
        Self {
            numerator: u128::from(number),
            denominator: 1,
        }
    }

    pub(crate) fn floor(self) -> u64 {
        u64::try_from(self.numerator / self.denominator).unwrap_or(u64::MAX)
    }

    pub(crate) fn ceil(self) -> u64 {
        u64::try_from(self.numerator.div_ceil(self.denominator)).unwrap_or(u64::MAX)
    }
}

/// A group of parts with a limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) parts: Vec<Part>,
    pub(crate) cap: u64,
}

/// Shares of `total` in proportion to the weights: what one cannot take because of its cap, or its
/// group's, the others get. Shares sum up to `total`, or to less if all are at their caps.
///
/// The level (units per weight) rises as caps are reached, and what is capped at one level is
/// capped at every higher one, so there are at most as many rounds as there are caps.
pub(crate) fn shares(total: u64, groups: &[Group]) -> Vec<Vec<Share>> {
    let mut part_capped: Vec<Vec<bool>> =
        groups.iter().map(|g| vec![false; g.parts.len()]).collect();
    let mut group_capped = vec![false; groups.len()];
    loop {
        let (mut fixed, mut weight) = (0u128, 0u128);
        for (g, group) in groups.iter().enumerate() {
            if group_capped[g] {
                fixed += u128::from(group.cap);
                continue;
            }
            let (capped, free) = sums(group, &part_capped[g]);
            fixed += capped;
            weight += free;
        }
        let left = u128::from(total).saturating_sub(fixed);
        let mut changed = false;
        for (g, group) in groups.iter().enumerate() {
            if group_capped[g] || weight == 0 {
                continue;
            }
            for (part, capped) in group.parts.iter().zip(&mut part_capped[g]) {
                let full = u128::from(part.weight) * left >= u128::from(part.cap) * weight;
                changed |= full && !*capped;
                *capped |= full;
            }
            let (capped, free) = sums(group, &part_capped[g]);
            if capped * weight + free * left > u128::from(group.cap) * weight {
                group_capped[g] = true;
                changed = true;
            }
        }
        if !changed {
            return finish(groups, &part_capped, &group_capped, left, weight);
        }
    }
}

/// The caps of the capped parts, and the weights of the others.
fn sums(group: &Group, capped: &[bool]) -> (u128, u128) {
    let of = |wanted: bool, value: fn(&Part) -> u64| {
        let parts = group
            .parts
            .iter()
            .zip(capped)
            .filter(|(_, c)| **c == wanted);
        parts.map(|(part, _)| u128::from(value(part))).sum()
    };
    (of(true, |part| part.cap), of(false, |part| part.weight))
}

fn finish(
    groups: &[Group],
    part_capped: &[Vec<bool>],
    group_capped: &[bool],
    left: u128,
    weight: u128,
) -> Vec<Vec<Share>> {
    let all = groups.iter().zip(part_capped).zip(group_capped);
    all.map(|((group, capped), group_full)| {
        if *group_full {
            // Inside a full group the level is lower: what its parts got is counted anew.
            let alone = Group {
                parts: group.parts.clone(),
                cap: u64::MAX,
            };
            return shares(group.cap, &[alone]).pop().unwrap_or_default();
        }
        let share = |(part, capped): (&Part, &bool)| match capped {
            true => Share::whole(part.cap),
            false if weight == 0 => Share::whole(0),
            false => Share {
                numerator: u128::from(part.weight) * left,
                denominator: weight,
            },
        };
        group.parts.iter().zip(capped).map(share).collect()
    })
    .collect()
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

/// Whole numbers from shares: each gets its floor, and what is left of `total` goes, one unit
/// each, to those with a fraction, in the order of `rank`.
pub(crate) fn round<R: Ord>(
    total: u64,
    shares: &[Share],
    mut rank: impl FnMut(usize, u64) -> R,
) -> Vec<u64> {
    let mut quotas: Vec<u64> = shares.iter().map(|share| share.floor()).collect();
    let left = total.saturating_sub(quotas.iter().sum());
    let mut fractional: Vec<usize> = (0..shares.len())
        .filter(|&i| shares[i].ceil() > quotas[i])
        .collect();
    fractional.sort_by_cached_key(|&i| (rank(i, quotas[i] + 1), i));
    for i in fractional
        .into_iter()
        .take(usize::try_from(left).unwrap_or(usize::MAX))
    {
        quotas[i] += 1;
    }
    quotas
}

/// The sum of shares of one group: they have one denominator, apart from whole ones.
pub(crate) fn sum(shares: &[Share]) -> Share {
    let denominator = shares
        .iter()
        .map(|share| share.denominator)
        .max()
        .unwrap_or(1);
    let numerator = shares
        .iter()
        .map(|share| share.numerator * (denominator / share.denominator))
        .sum();
    Share {
        numerator,
        denominator,
    }
}
