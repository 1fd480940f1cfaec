//! JumpBackHash: a list of nodes of which the last comes and goes. Knows no weights and no zones.

use alloc::vec::Vec;

use crate::mix::{STEP, mix};
use crate::{Locate, Point, distinct};

/// The bucket of `point` among `buckets`, by JumpBackHash; 0 if there are fewer than two.
///
/// When a bucket is added, keys move to it alone, and all buckets are equally likely. O(1)
/// expected, integers only, no memory.
///
/// Source: O. Ertl, "JumpBackHash: Say Goodbye to the Modulo Operation to Distribute Keys Uniformly
/// to Buckets", 2024 (arXiv 2403.18682), its final algorithm; the generator is SplitMix64, seeded
/// with the point.
#[inline]
pub fn jump_back(point: Point, buckets: u32) -> u32 {
    if buckets <= 1 {
        return 0;
    }
    let mut state = point.0;
    let mut next = || {
        state = state.wrapping_add(STEP);
        mix(state)
    };
    let first = next();
    // One bit for each power of two below `buckets`: whether a bucket from there on is active.
    let mut active = (first ^ (first >> 32)) & (u64::MAX >> u64::from(buckets - 1).leading_zeros());
    while active != 0 {
        let power = 1_u64 << active.ilog2();
        // Bits of `first` that its exclusive or with itself leaves free: one half or the other.
        let shift = (active.count_ones() & 1) * 32;
        let mut bucket = power + ((first >> shift) & (power - 1));
        loop {
            if bucket < u64::from(buckets) {
                return bucket as u32;
            }
            let more = next();
            bucket = more & (2 * power - 1);
            if bucket < power {
                break;
            }
            if bucket < u64::from(buckets) {
                return bucket as u32;
            }
            bucket = (more >> 32) & (2 * power - 1);
            if bucket < power {
                break;
            }
        }
        active ^= power;
    }
    0
}

/// Nodes by JumpBackHash: perfectly even, no memory but the list, but only the last can leave.
///
/// For shards that are numbered and grow or shrink at the end. Owner O(1) expected, `k` nodes
/// O(k²). The answer depends on the order of the list. Further nodes are those of derived points;
/// with them a node that is added takes over, besides its own, few places of others.
///
/// ```
/// use tablestore_ring::{JumpBack, Locate, Point};
/// let mut shards: JumpBack<&str> = JumpBack::new(["s0", "s1", "s2"]);
/// let before = shards.owner(Point(99)).copied();
/// shards.push("s3");
/// let after = shards.owner(Point(99)).copied();
/// assert!(after == before || after == Some("s3"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JumpBack<N> {
    nodes: Vec<N>,
}

impl<N> JumpBack<N> {
    /// The nodes in this order. They are not compared: distinct ones are the caller's part.
    pub fn new(nodes: impl IntoIterator<Item = N>) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
        }
    }

    /// Adds a node after the last. Only keys that become its own change their owner.
    pub fn push(&mut self, node: N) {
        self.nodes.push(node);
    }

    /// Removes the last node. Only keys that were its own change their owner.
    pub fn pop(&mut self) -> Option<N> {
        self.nodes.pop()
    }

    /// The nodes in order.
    pub fn nodes(&self) -> &[N] {
        &self.nodes
    }
}

impl<N> Locate for JumpBack<N> {
    type Node = N;

    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a N>]) -> usize {
        let node_of = |point| self.owner(point);
        distinct::fill(point, out, self.nodes.len(), node_of, self.nodes.iter())
    }

    #[inline]
    fn owner(&self, point: Point) -> Option<&N> {
        self.nodes
            .get(jump_back(point, self.nodes.len() as u32) as usize)
    }
}
