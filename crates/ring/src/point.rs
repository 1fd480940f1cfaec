//! A place on the ring. Knows nothing about what is hashed to it.

use core::fmt;

/// A place on the ring: all 2^64 of them form a circle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Point(pub u64);

impl Point {
    /// The first point.
    pub const MIN: Self = Self(0);
    /// The last point; the one after it is [`Point::MIN`].
    pub const MAX: Self = Self(u64::MAX);
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
