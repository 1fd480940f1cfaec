//! What if these nodes failed: who would serve what, and what would be lost.
//! Knows nothing about plans; it looks at one layout as it is.

use super::topology::{Placement, Topology};

/// What one survivor has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The replicas that it holds.
    pub replicas: u32,
    /// The partitions that it serves as their primary.
    pub primaries: u32,
}

/// What a failure leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aftermath {
    /// Who serves each partition afterwards; nobody if no replica survives.
    pub holders: Vec<Option<u32>>,
    /// The partitions that have fewer replicas than before.
    pub weakened: Vec<u32>,
    /// Of these, the ones with fewer than must have a write: they take none, or are gone.
    pub unavailable: Vec<u32>,
    /// Of these, the ones without any replica.
    pub lost: Vec<u32>,
    /// The load of each node, by number; of one that failed it is nothing.
    pub loads: Vec<Load>,
}

/// What would be if these nodes failed, where `in_sync_min` replicas must have a write.
///
/// Nodes that are down have failed before; numbers of no node are ignored. A partition whose
/// primary fails goes to the survivor in its row that serves the fewest so far, the first of
/// them, in the order of the partitions. For a zone, name all nodes in it. O(P·R).
///
/// ```
/// use tablestore_placement::layout::{Placement, Node, Topology, what_if};
///
/// let nodes = (0..3).map(|id| Node::new(id, 1, id as u32)).collect();
/// let topology = Topology::new(nodes)?;
/// let layout = Placement::new(2, 2, vec![0, 1, 1, 2])?;
/// let after = what_if(&topology, &layout, &[0], 2);
/// assert_eq!(after.holders, [Some(1), Some(1)]);
/// assert_eq!((after.weakened, after.unavailable), (vec![0], vec![0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn what_if(
    topology: &Topology,
    layout: &Placement,
    failed: &[u32],
    in_sync_min: usize,
) -> Aftermath {
    let nodes = topology.nodes();
    let mut survives: Vec<bool> = nodes.iter().map(|node| node.is_live()).collect();
    let live = survives.clone();
    for &node in failed {
        if let Some(one) = survives.get_mut(node as usize) {
            *one = false;
        }
    }
    let is = |of: &[bool], node: u32| of.get(node as usize).copied().unwrap_or(false);
    let mut after = Aftermath {
        holders: vec![None; layout.partitions()],
        weakened: Vec::new(),
        unavailable: Vec::new(),
        lost: Vec::new(),
        loads: vec![Load::default(); nodes.len()],
    };
    for (partition, row) in (0u32..).zip(layout.rows()) {
        let before = row.iter().filter(|node| is(&live, **node)).count();
        let mut left = 0;
        for &node in row.iter().filter(|node| is(&survives, **node)) {
            after.loads[node as usize].replicas += 1;
            left += 1;
        }
        if left == before {
            continue;
        }
        after.weakened.push(partition);
        if left < in_sync_min || left == 0 {
            after.unavailable.push(partition);
        }
        if left == 0 {
            after.lost.push(partition);
        }
    }
    for (partition, row) in layout.rows().enumerate() {
        let primary = row.first().filter(|node| is(&live, **node));
        after.appoint(partition, primary.copied());
    }
    for serving in [&live, &survives] {
        for (partition, row) in layout.rows().enumerate() {
            if after.holders[partition].is_none_or(|node| !is(serving, node)) {
                let survivors = row.iter().copied().filter(|&node| is(serving, node));
                let served = |node: &u32| after.loads[*node as usize].primaries;
                let next = survivors.min_by_key(served);
                after.appoint(partition, next);
            }
        }
    }
    after
}

impl Aftermath {
    fn appoint(&mut self, partition: usize, next: Option<u32>) {
        let former = std::mem::replace(&mut self.holders[partition], next);
        if let Some(former) = former {
            self.loads[former as usize].primaries -= 1;
        }
        if let Some(next) = next {
            self.loads[next as usize].primaries += 1;
        }
    }
}
