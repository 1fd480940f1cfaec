//! Points made from points: the mixing that every algorithm beside the ring uses, a format.
//!
//! Source: the finalizer of SplitMix64, G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom
//! Number Generators", OOPSLA 2014, with the constants of S. Vigna's `splitmix64.c`.

use crate::Point;

/// The step of SplitMix64's state: the golden ratio in 64 bits.
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection in which each bit of the input decides over half of the bits of the output.
#[inline]
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The point that number `number` derives from `point`.
#[inline]
pub(crate) const fn derived(point: Point, number: u64) -> Point {
    Point(mix(point.0 ^ mix(number.wrapping_add(STEP))))
}

/// A number below `bound` in proportion to a point: the top bits of their product.
#[inline]
pub(crate) const fn below(point: Point, bound: u32) -> u32 {
    ((point.0 as u128 * bound as u128) >> 64) as u32
}
