//! How much is missing when a cluster as a whole is short.
//!
//! Knows nothing about single machines' levels, nor about who can provide more.

use super::{Share, Space};

/// Nodes that would bring a cluster back under its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityWanted {
    /// How many.
    pub nodes: u64,
    /// Of what size each.
    pub size: u64,
    /// What is missing in all.
    pub missing: u64,
}

/// How many nodes like the median of `nodes` are missing, so that all of them together use no more
/// than `used_max`; `None` if nothing is missing, or no size can be told.
pub fn capacity_wanted(nodes: &[Space], used_max: Share) -> Option<CapacityWanted> {
    let mut sizes: Vec<u64> = nodes.iter().map(|node| node.total).collect();
    sizes.sort_unstable();
    let size = *sizes.get(sizes.len() / 2)?;
    let sum =
        |of: fn(&Space) -> u64| -> u128 { nodes.iter().map(|node| u128::from(of(node))).sum() };
    let used = sum(|space| space.total.saturating_sub(space.available));
    // In thousandths of a percent, so that the sum is exact in integers.
    let permitted = (used_max.as_percent() * 1000.0) as u128;
    let wanted = (used * 100_000).checked_div(permitted)?;
    let missing = wanted.saturating_sub(sum(|space| space.total));
    let missing = u64::try_from(missing).unwrap_or(u64::MAX);
    if missing == 0 || size == 0 {
        return None;
    }
    Some(CapacityWanted {
        nodes: missing.div_ceil(size),
        size,
        missing,
    })
}
