//! Which replica of each partition is the primary: on every node one in R of what it holds.
//!
//! Knows nothing about how replicas were placed.
//!
//! A node with `l` replicas is to be the primary of ⌊l/R⌋ or ⌈l/R⌉ of them. That is always
//! possible: giving each replica 1/R of the office is a fractional solution, and such networks
//! have integral ones. Whoever is primary stays so while it may; the rest is settled by augmenting
//! paths (Berge 1957), many in each phase of O(P·R) (Dinitz 1970; Hopcroft and Karp 1973).

use std::collections::VecDeque;

use super::topology::NONE;

struct Primaries<'a> {
    rows: &'a [u32],
    replicas: usize,
    holders: Vec<Vec<u32>>,
    primaries: Vec<u32>,
    counts: Vec<u32>,
}

/// The primary of each partition; `rows` are full rows of `replicas`, `former` who it was.
pub(super) fn choose(
    rows: &[u32],
    replicas: usize,
    nodes: usize,
    former: impl Fn(usize) -> u32,
) -> Vec<u32> {
    let mut holders = vec![Vec::new(); nodes];
    for (partition, row) in rows.chunks_exact(replicas).enumerate() {
        for &node in row {
            holders[node as usize].push(partition as u32);
        }
    }
    let partitions = rows.len() / replicas;
    let mut state = Primaries {
        rows,
        replicas,
        holders,
        primaries: vec![NONE; partitions],
        counts: vec![0; nodes],
    };
    for partition in 0..partitions {
        let node = former(partition);
        if state.row(partition).contains(&node) {
            state.appoint(partition, node);
        }
    }
    for node in 0..nodes as u32 {
        state.take_over(node);
    }
    for partition in 0..partitions {
        let node = state.primaries[partition];
        if node != NONE && state.count(node) > state.high(node) {
            state.primaries[partition] = NONE;
            state.counts[node as usize] -= 1;
        }
    }
    for partition in 0..partitions {
        if state.primaries[partition] == NONE {
            state.appoint_somebody(partition);
        }
    }
    while state.raise_all() {}
    state.primaries
}

impl Primaries<'_> {
    fn row(&self, partition: usize) -> &[u32] {
        &self.rows[partition * self.replicas..][..self.replicas]
    }

    fn count(&self, node: u32) -> usize {
        self.counts[node as usize] as usize
    }

    fn low(&self, node: u32) -> usize {
        self.holders[node as usize].len() / self.replicas
    }

    fn high(&self, node: u32) -> usize {
        self.holders[node as usize].len().div_ceil(self.replicas)
    }

    fn appoint(&mut self, partition: usize, node: u32) {
        let former = std::mem::replace(&mut self.primaries[partition], node);
        if former != NONE {
            self.counts[former as usize] -= 1;
        }
        self.counts[node as usize] += 1;
    }

    /// Takes what a node lacks from those that have too many, then from those that can spare some.
    fn take_over(&mut self, node: u32) {
        for spare in [Self::high, Self::low] {
            for place in 0..self.holders[node as usize].len() {
                if self.count(node) >= self.low(node) {
                    return;
                }
                let partition = self.holders[node as usize][place] as usize;
                let giver = self.primaries[partition];
                if giver != NONE && giver != node && self.count(giver) > spare(self, giver) {
                    self.appoint(partition, node);
                }
            }
        }
    }

    /// The one of the row that lacks most, or along a path somebody who has room.
    fn appoint_somebody(&mut self, partition: usize) {
        let row = self.row(partition).iter().copied();
        let free = row.filter(|&node| self.count(node) < self.high(node));
        let lacking = |&node: &u32| {
            let (count, low) = (self.count(node), self.low(node));
            (
                count >= low,
                count * self.replicas * 1024 / self.holders[node as usize].len(),
            )
        };
        if let Some(node) = free.min_by_key(lacking) {
            return self.appoint(partition, node);
        }
        let mut from = vec![(NONE, NONE); self.counts.len()];
        let mut queue = VecDeque::new();
        for &node in self.row(partition) {
            from[node as usize] = (NONE, partition as u32);
            queue.push_back(node);
        }
        while let Some(node) = queue.pop_front() {
            if self.count(node) < self.high(node) {
                return self.shift(node, &from);
            }
            for &held in &self.holders[node as usize] {
                if self.primaries[held as usize] != node {
                    continue;
                }
                for &other in self.row(held as usize) {
                    if from[other as usize] == (NONE, NONE) {
                        from[other as usize] = (node, held);
                        queue.push_back(other);
                    }
                }
            }
        }
    }

    /// Appoints the end of a path, then the one before it, up to its beginning.
    fn shift(&mut self, end: u32, from: &[(u32, u32)]) {
        let mut node = end;
        while node != NONE {
            let (before, partition) = from[node as usize];
            self.appoint(partition as usize, node);
            node = before;
        }
    }

    /// Makes nodes that lack something the primaries of more; whether any was. O(P·R).
    fn raise_all(&mut self) -> bool {
        let lacks = |state: &Self, node: u32| state.count(node) < state.low(node);
        let all = 0..self.counts.len() as u32;
        let lacking: Vec<u32> = all.filter(|&node| lacks(self, node)).collect();
        if lacking.is_empty() {
            return false;
        }
        let levels = self.levels(&lacking);
        let mut tried = vec![0; self.counts.len()];
        let mut raised = false;
        for node in lacking {
            while lacks(self, node) && self.raise(node, &levels, &mut tried) {
                raised = true;
            }
        }
        raised
    }

    /// How many partitions away each node is from those that lack something.
    fn levels(&self, lacking: &[u32]) -> Vec<u32> {
        let mut levels = vec![NONE; self.counts.len()];
        lacking.iter().for_each(|&node| levels[node as usize] = 0);
        let mut queue: VecDeque<u32> = lacking.iter().copied().collect();
        while let Some(taker) = queue.pop_front() {
            for &partition in &self.holders[taker as usize] {
                let giver = self.primaries[partition as usize];
                if levels[giver as usize] == NONE {
                    levels[giver as usize] = levels[taker as usize] + 1;
                    queue.push_back(giver);
                }
            }
        }
        levels
    }

    /// Makes a node the primary of one partition more, along a path of rising levels to somebody
    /// who can spare one. What was `tried` in vain is not tried again at these levels.
    fn raise(&mut self, node: u32, levels: &[u32], tried: &mut [usize]) -> bool {
        let mut path: Vec<(u32, u32)> = Vec::new();
        let mut taker = node;
        loop {
            if taker != node && self.count(taker) > self.low(taker) {
                for &(taker, partition) in path.iter().rev() {
                    self.appoint(partition as usize, taker);
                }
                return true;
            }
            let level = levels[taker as usize] + 1;
            let rises = |&&partition: &&u32| {
                let giver = self.primaries[partition as usize];
                levels[giver as usize] == level
            };
            let rest = &self.holders[taker as usize][tried[taker as usize]..];
            if let Some(place) = rest.iter().position(|partition| rises(&partition)) {
                tried[taker as usize] += place;
                path.push((taker, rest[place]));
                taker = self.primaries[rest[place] as usize];
                continue;
            }
            tried[taker as usize] = self.holders[taker as usize].len();
            let Some((before, _)) = path.pop() else {
                return false;
            };
            tried[before as usize] += 1;
            taker = before;
        }
    }
}
