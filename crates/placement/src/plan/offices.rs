//! Who among the candidates takes which office, so that offices are spread evenly by weight with
//! the fewest moves. Knows nothing about why an office is to be filled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::shares::{Cost, Part, shares};
use crate::{ClusterMap, PartitionId, StorageId, TableId};

/// An office to be filled: who may take it, and who holds it now.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) partition: PartitionId,
    pub(crate) candidates: Vec<StorageId>,
    pub(crate) holder: Option<StorageId>,
}

/// Who is to take each seat of one table; a seat without candidates is left out, and so is one
/// that would only move beyond `moves_max`.
///
/// Each member's cost of one more office rises, first by whether it exceeds the floor and the
/// ceiling of its share of the table, then by all its offices per weight. Giving seats to the
/// cheapest and then following chains of moves for as long as one lowers the cost ends at the
/// optimum, because this is a flow with convex costs; each chain is a shortest one.
pub(crate) fn fill_seats(
    map: &ClusterMap,
    table: TableId,
    seats: &[Seat],
    moves_max: usize,
) -> BTreeMap<PartitionId, StorageId> {
    if seats.is_empty() {
        // The loads of all members are counted over all partitions: not for nothing.
        return BTreeMap::new();
    }
    let mut spread = Spread::new(map, table, seats);
    let mut holders: Vec<Option<StorageId>> = Vec::with_capacity(seats.len());
    for seat in seats {
        let holder = seat.holder.filter(|h| seat.candidates.contains(h));
        if let Some(holder) = holder {
            spread.add(holder);
        }
        holders.push(holder);
    }
    for (seat, holder) in seats.iter().zip(&mut holders) {
        if holder.is_none() {
            // The first of equals: candidates come in the order of preference.
            *holder = seat
                .candidates
                .iter()
                .copied()
                .min_by_key(|&c| spread.cost_of_next(c));
            holder.iter().for_each(|&h| spread.add(h));
        }
    }
    let mut moves_left = moves_max;
    // Each chain lowers the cost strictly, so this ends; the limit is against a mistake here.
    let chains_max = seats.len() * spread.weights.len().max(1) + 1;
    for _ in 0..chains_max {
        let Some(chain) = spread.cheaper_chain(seats, &holders) else {
            break;
        };
        if chain.len() > moves_left && moves_left < moves_max {
            break;
        }
        moves_left = moves_left.saturating_sub(chain.len());
        for (seat, to) in chain {
            holders[seat].into_iter().for_each(|from| spread.take(from));
            spread.add(to);
            holders[seat] = Some(to);
        }
        if moves_left == 0 {
            break;
        }
    }
    seats
        .iter()
        .zip(holders)
        .filter_map(|(seat, h)| Some((seat.partition, h?)))
        .collect()
}

/// What the members have and should have.
struct Spread {
    weights: BTreeMap<StorageId, u64>,
    /// Offices in other tables.
    elsewhere: BTreeMap<StorageId, u64>,
    /// Offices in this table: those that are no seats here, and the seats taken so far.
    here: BTreeMap<StorageId, u64>,
    floor_ceil: BTreeMap<StorageId, (u64, u64)>,
}

impl Spread {
    fn new(map: &ClusterMap, table: TableId, seats: &[Seat]) -> Self {
        let in_play: BTreeSet<PartitionId> = seats.iter().map(|seat| seat.partition).collect();
        let mut spread = Self {
            weights: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            here: BTreeMap::new(),
            floor_ceil: BTreeMap::new(),
        };
        for (partition, _, assignment) in map.partitions() {
            if in_play.contains(&partition) || !map.is_filled(assignment.primary) {
                continue;
            }
            let Some(holder) = assignment.primary_member() else {
                continue;
            };
            let counts = if partition.table == table {
                &mut spread.here
            } else {
                &mut spread.elsewhere
            };
            *counts.entry(holder).or_default() += 1;
        }
        // A member may be asked to hold what it holds and what it is a candidate for.
        let mut caps = spread.here.clone();
        for candidate in seats.iter().flat_map(|seat| &seat.candidates) {
            *caps.entry(*candidate).or_default() += 1;
        }
        let weight = |s: &StorageId| map.members.get(s).map_or(0, |m| u64::from(m.weight));
        spread.weights = caps.keys().map(|s| (*s, weight(s))).collect();
        let filled = seats
            .iter()
            .filter(|seat| !seat.candidates.is_empty())
            .count() as u64;
        let total = spread.here.values().sum::<u64>() + filled;
        let parts: Vec<Part> = caps
            .iter()
            .map(|(s, cap)| Part {
                weight: weight(s),
                cap: *cap,
            })
            .collect();
        let shares = shares(total, &parts);
        spread.floor_ceil = caps
            .keys()
            .copied()
            .zip(shares.iter().map(|s| (s.floor(), s.ceil())))
            .collect();
        spread
    }

    fn add(&mut self, storage: StorageId) {
        *self.here.entry(storage).or_default() += 1;
    }

    fn take(&mut self, storage: StorageId) {
        let count = self.here.entry(storage).or_default();
        *count = count.saturating_sub(1);
    }

    /// The cost of the `units`-th office of this table at a member.
    fn cost(&self, storage: StorageId, units: u64) -> (u8, Cost) {
        let (floor, ceil) = self.floor_ceil.get(&storage).copied().unwrap_or((0, 0));
        let class = u8::from(units > floor) + u8::from(units > ceil);
        let elsewhere = self.elsewhere.get(&storage).copied().unwrap_or(0);
        let weight = self.weights.get(&storage).copied().unwrap_or(0);
        (class, Cost::of_unit(elsewhere + units, weight))
    }

    fn held(&self, storage: StorageId) -> u64 {
        self.here.get(&storage).copied().unwrap_or(0)
    }

    fn cost_of_next(&self, storage: StorageId) -> (u8, Cost) {
        self.cost(storage, self.held(storage) + 1)
    }

    fn cost_of_last(&self, storage: StorageId) -> (u8, Cost) {
        self.cost(storage, self.held(storage))
    }

    /// A shortest chain of moves (seat, to) that takes one office from an expensive member and
    /// leaves one more at a cheaper one.
    fn cheaper_chain(
        &self,
        seats: &[Seat],
        holders: &[Option<StorageId>],
    ) -> Option<Vec<(usize, StorageId)>> {
        let mut held_by: BTreeMap<StorageId, Vec<usize>> = BTreeMap::new();
        for (seat, holder) in holders.iter().enumerate() {
            let Some(holder) = *holder else { continue };
            held_by.entry(holder).or_default().push(seat);
        }
        let mut sources: Vec<StorageId> = held_by.keys().copied().collect();
        sources.sort_by_key(|&s| std::cmp::Reverse(self.cost_of_last(s)));
        sources
            .into_iter()
            .find_map(|source| self.chain_from(source, seats, &held_by))
    }

    fn chain_from(
        &self,
        source: StorageId,
        seats: &[Seat],
        held_by: &BTreeMap<StorageId, Vec<usize>>,
    ) -> Option<Vec<(usize, StorageId)>> {
        // How each member was reached: by which seat of which member.
        let mut reached: BTreeMap<StorageId, (usize, StorageId)> = BTreeMap::new();
        let mut queue = VecDeque::from([source]);
        let mut best: Option<StorageId> = None;
        while let Some(from) = queue.pop_front() {
            for &seat in held_by.get(&from).into_iter().flatten() {
                for &to in &seats[seat].candidates {
                    if to == source || reached.contains_key(&to) {
                        continue;
                    }
                    reached.insert(to, (seat, from));
                    queue.push_back(to);
                    let cheaper = best.is_none_or(|b| self.cost_of_next(to) < self.cost_of_next(b));
                    if cheaper && self.cost_of_next(to) < self.cost_of_last(source) {
                        best = Some(to);
                    }
                }
            }
        }
        let mut chain = Vec::new();
        let mut at = best?;
        while at != source {
            let (seat, from) = *reached.get(&at)?;
            chain.push((seat, at));
            at = from;
        }
        Some(chain)
    }
}
