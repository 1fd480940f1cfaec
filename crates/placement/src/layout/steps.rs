//! The next steps from what is held to a target, such that redundancy never falls below where it
//! started.
//!
//! Knows nothing about plans, time or how rows are copied. It is a pure function that is asked
//! again whenever a step is done: so a run of steps can be stopped and resumed between any two,
//! and it is cancelled by asking for the layout that it started from.

use super::topology::{NONE, Placement, Topology};

/// One replica as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The number of the node that holds it.
    pub node: u32,
    /// Whether it has every acknowledged write; before, it is no redundancy.
    pub is_synced: bool,
}

/// What is held now: the copies of each partition, the primary first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// By partition.
    pub rows: Vec<Vec<Copy>>,
}

impl Holdings {
    /// A layout of which everything is synced.
    #[must_use]
    pub fn synced(layout: &Placement) -> Self {
        let copies = |row: &[u32]| {
            let held = row.iter().filter(|node| **node != NONE);
            let is_synced = true;
            held.map(|&node| Copy { node, is_synced }).collect()
        };
        Self {
            rows: layout.rows().map(copies).collect(),
        }
    }

    /// Carries a step out. A new copy is not synced yet. What does not apply changes nothing.
    pub fn take(&mut self, step: Step) {
        let (Step::Add { partition, node }
        | Step::Lead { partition, node }
        | Step::Drop { partition, node }) = step;
        let Some(row) = self.rows.get_mut(partition as usize) else {
            return;
        };
        let place = row.iter().position(|copy| copy.node == node);
        let is_synced = false;
        match (step, place) {
            (Step::Add { .. }, None) => row.push(Copy { node, is_synced }),
            (Step::Lead { .. }, Some(place)) => row[..=place].rotate_right(1),
            (Step::Drop { .. }, Some(place)) => drop(row.remove(place)),
            _ => {}
        }
    }
}

/// How many copies may be under way at once on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Arriving at it.
    pub receiving: usize,
    /// Leaving it, as the primary of the partition or else its first synced replica.
    pub sending: usize,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Start a copy on the node.
    Add {
        /// Of this partition.
        partition: u32,
        /// There.
        node: u32,
    },
    /// Make the node's synced replica the primary.
    Lead {
        /// Of this partition.
        partition: u32,
        /// It.
        node: u32,
    },
    /// Give the node's replica up.
    Drop {
        /// Of this partition.
        partition: u32,
        /// There.
        node: u32,
    },
}

struct Steps<'a> {
    topology: &'a Topology,
    budget: Budget,
    receiving: Vec<usize>,
    sending: Vec<usize>,
    steps: Vec<Step>,
}

/// The steps that may be taken now, all of them, in this order; none when the target is reached, or
/// while only copies under way could lead on.
///
/// - A copy is started before what it replaces is given up, and within the budget of the node
///   that receives it, which is up, and of the one that sends it.
/// - The target's primary takes over as soon as it is synced.
/// - A replica that the target does not have is given up once all others are synced: then as
///   many live synced replicas remain as the target has. What is not synced is no redundancy and
///   is given up at once, unless nobody else has anything.
///
/// So of live synced replicas a partition always has as many as when it started, or as the target
/// has, whichever is less. Rows beyond those of the target are left alone. O(P·R²).
#[must_use]
pub fn next_steps(
    topology: &Topology,
    holdings: &Holdings,
    target: &Placement,
    budget: Budget,
) -> Vec<Step> {
    let nodes = topology.nodes().len();
    let mut steps = Steps {
        topology,
        budget,
        receiving: vec![0; nodes],
        sending: vec![0; nodes],
        steps: Vec::new(),
    };
    let rows = || (0..).zip(holdings.rows.iter().zip(target.rows()));
    for (_, (row, wanted)) in rows() {
        steps.count_under_way(row, wanted);
    }
    for (partition, (row, wanted)) in rows() {
        steps.of_partition(partition, row, wanted);
    }
    steps.steps
}

impl Steps<'_> {
    fn is_live(&self, node: u32) -> bool {
        let node = self.topology.nodes().get(node as usize);
        node.is_some_and(|node| node.is_live())
    }

    fn is_sound(&self, copy: &Copy) -> bool {
        copy.is_synced && self.is_live(copy.node)
    }

    fn source(&self, row: &[Copy]) -> Option<usize> {
        let source = row.iter().find(|copy| self.is_sound(copy));
        source.map(|copy| copy.node as usize)
    }

    fn count_under_way(&mut self, row: &[Copy], wanted: &[u32]) {
        let Some(source) = self.source(row) else {
            return;
        };
        let under_way = |copy: &&Copy| {
            !copy.is_synced && wanted.contains(&copy.node) && self.is_live(copy.node)
        };
        let receivers: Vec<u32> = row.iter().filter(under_way).map(|copy| copy.node).collect();
        for node in receivers {
            self.receiving[node as usize] += 1;
            self.sending[source] += 1;
        }
    }

    fn of_partition(&mut self, partition: u32, row: &[Copy], wanted: &[u32]) {
        let copy_of = |node: u32| row.iter().find(|copy| copy.node == node);
        for &node in wanted.iter().filter(|&&node| copy_of(node).is_none()) {
            self.add(partition, node, row);
        }
        let first = row.first().map_or(NONE, |copy| copy.node);
        let leads = |node: u32| copy_of(node).is_some_and(|copy| self.is_sound(copy));
        // The target's own primary, or for the time being anybody in place of a dead one.
        let mut leader = first;
        match wanted.first() {
            Some(&primary) if leads(primary) => leader = primary,
            _ if !leads(first) => {
                let sound = row.iter().find(|copy| self.is_sound(copy));
                leader = sound.map_or(first, |copy| copy.node);
            }
            _ => {}
        }
        let complete = wanted
            .iter()
            .filter(|&&node| node != NONE)
            .all(|&node| leads(node));
        if leader != first {
            let node = leader;
            self.steps.push(Step::Lead { partition, node });
        }
        for copy in row.iter().filter(|copy| !wanted.contains(&copy.node)) {
            let worthless = !copy.is_synced && self.source(row).is_some();
            if copy.node != leader && (complete || worthless) {
                let node = copy.node;
                self.steps.push(Step::Drop { partition, node });
            }
        }
    }

    fn add(&mut self, partition: u32, node: u32, row: &[Copy]) {
        let target = self.topology.nodes().get(node as usize);
        let (Some(target), Some(source)) = (target, self.source(row)) else {
            return;
        };
        let receiver = node as usize;
        let up = target.state == super::NodeState::Up;
        if up
            && self.receiving[receiver] < self.budget.receiving
            && self.sending[source] < self.budget.sending
        {
            self.receiving[receiver] += 1;
            self.sending[source] += 1;
            self.steps.push(Step::Add { partition, node });
        }
    }
}
