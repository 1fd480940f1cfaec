//! MementoHash: nodes of which any may leave. Knows no weights and no zones.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::jump_back::jump_back;
use crate::mix::{below, derived};
use crate::{Locate, Point, distinct};

/// A bucket whose node has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Removed {
    /// How many nodes were left: its keys are spread over so many buckets.
    left: u32,
    /// The bucket that was removed before it.
    previous: u32,
}

/// Nodes by MementoHash: perfectly even, any node may leave, and only its own keys move.
///
/// Owner O(1) expected while few have left, O(ln²(*n*/*w*)) with *w* of *n* left; memory is the
/// list and an entry for each node that has left. **The answer depends on the order in which nodes
/// came and left**: all who ask must have made the same changes in the same order. A [`Ring`] or a
/// [`ReplicaTable`] does not.
///
/// Source: M. Coluzzi, A. Brocco, A. Antonucci, T. Leidi, "MementoHash: A Stateful, Minimal Memory,
/// Best Performing Consistent Hash Algorithm", 2023 (arXiv 2306.09783), algorithms 2 to 4, over
/// [`jump_back`] instead of Jump.
///
/// [`Ring`]: crate::Ring
/// [`ReplicaTable`]: crate::ReplicaTable
///
/// ```
/// use tablestore_ring::{Locate, Memento, Point};
/// let mut caches = Memento::new(["a", "b", "c"]);
/// let before = caches.owner(Point(7)).copied();
/// caches.remove(&"b");
/// assert!(before == Some("b") || caches.owner(Point(7)).copied() == before);
/// assert!(caches.add("b"), "back in its place, as it left last");
/// assert_eq!(caches.owner(Point(7)).copied(), before);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memento<N> {
    /// By bucket.
    nodes: Vec<Option<N>>,
    removed: BTreeMap<u32, Removed>,
    /// The bucket that was removed last; without a meaning while none is.
    last: u32,
}

impl<N: Eq> Memento<N> {
    /// The nodes in this order; one that comes twice counts once.
    pub fn new(nodes: impl IntoIterator<Item = N>) -> Self {
        let mut memento = Self {
            nodes: Vec::new(),
            removed: BTreeMap::new(),
            last: 0,
        };
        for node in nodes {
            memento.add(node);
        }
        memento
    }

    /// Adds a node, in the place that was vacated last; `false` if it is there already. Only keys
    /// that become its own change their owner. O(n), to look for it.
    pub fn add(&mut self, node: N) -> bool {
        if self.nodes().any(|other| *other == node) {
            return false;
        }
        match self.removed.remove(&self.last) {
            Some(removed) => {
                self.nodes[self.last as usize] = Some(node);
                self.last = removed.previous;
            }
            None => self.nodes.push(Some(node)),
        }
        true
    }

    /// Removes a node and hands it back. Only keys that were its own change their owner. O(n), to
    /// look for it.
    pub fn remove(&mut self, node: &N) -> Option<N> {
        let is_it = |other: &Option<N>| other.as_ref() == Some(node);
        let bucket = self.nodes.iter().position(is_it)?;
        if self.removed.is_empty() && bucket + 1 == self.nodes.len() {
            return self.nodes.pop().flatten();
        }
        let removed = Removed {
            left: self.len() as u32 - 1,
            previous: self.last,
        };
        self.removed.insert(bucket as u32, removed);
        self.last = bucket as u32;
        self.nodes[bucket].take()
    }

    /// The nodes in the order of their places.
    pub fn nodes(&self) -> impl Iterator<Item = &N> {
        self.nodes.iter().flatten()
    }
}

impl<N> Memento<N> {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.removed.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bucket_of(&self, point: Point) -> u32 {
        let mut bucket = jump_back(point, self.nodes.len() as u32);
        while let Some(removed) = self.removed.get(&bucket) {
            let mut next = below(derived(point, u64::from(bucket)), removed.left);
            // Buckets that had left before this one did handed their keys on at that time.
            while let Some(earlier) = self.removed.get(&next)
                && earlier.left >= removed.left
            {
                next = earlier.left;
            }
            bucket = next;
        }
        bucket
    }
}

impl<N> Locate for Memento<N> {
    type Node = N;

    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a N>]) -> usize {
        let node_of = |point| self.owner(point);
        distinct::fill(point, out, self.len(), node_of, self.nodes.iter().flatten())
    }

    fn owner(&self, point: Point) -> Option<&N> {
        if self.is_empty() {
            return None;
        }
        self.nodes.get(self.bucket_of(point) as usize)?.as_ref()
    }
}
