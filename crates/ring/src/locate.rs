//! The one question a ring answers. Knows nothing about how the answer is found.

use alloc::vec;
use alloc::vec::Vec;

use crate::Point;

/// Answers which distinct nodes serve a point, in order of preference.
///
/// # Contract
///
/// With *m* nodes that can serve the point, a call sets `out[..n]` to `Some` of *n* = min(*m*,
/// `out.len()`) **distinct** nodes, sets the remainder of `out` to `None`, and returns *n*. It does
/// not allocate. The same point gives the same answer until the nodes change, and a shorter buffer
/// receives a prefix of what a longer one receives, so the first node is always the owner.
///
/// With the feature `testing`, `tablestore_ring::testing::check` runs these rules against
/// an implementation.
pub trait Locate {
    /// What a point is served by.
    type Node;

    /// Fills `out` with distinct nodes for `point`, best first; how many there were.
    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a Self::Node>]) -> usize;

    /// The node that comes first for `point`; `None` if there is none at all.
    fn owner(&self, point: Point) -> Option<&Self::Node> {
        let mut out = [None];
        self.locate(point, &mut out);
        out[0]
    }

    /// At most `count` nodes in order of preference, in a new vector.
    fn preference(&self, point: Point, count: usize) -> Vec<&Self::Node> {
        let mut out = vec![None; count];
        self.locate(point, &mut out);
        out.into_iter().flatten().collect()
    }
}

impl<L: Locate + ?Sized> Locate for &L {
    type Node = L::Node;

    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a Self::Node>]) -> usize {
        (**self).locate(point, out)
    }
}
