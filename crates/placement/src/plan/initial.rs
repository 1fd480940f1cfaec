//! The first assignment of a table's partitions: the ring's order of preference within quotas.

use std::collections::BTreeMap;

use tablestore_ring::{Locate, PartitionTable, Ring, Server};

use super::loads::{Loads, domains, quotas};
use super::{Seat, fill_seats};
use crate::{
    Assignment, AssignmentVersion, ClusterMap, Epoch, NewTable, NextAssignment, PartitionId,
    StorageId, Strategies, StrategyUnknown, TableDefinition, TableId, check,
};

/// The most tokens' worth of weight that a member has on the ring. Quotas give each member its
/// exact share; the ring only orders, so a coarse weight does and keeps the ring small.
const RING_WEIGHT_MAX: u32 = 16;

/// The assignments of a new table, planned by its strategy.
///
/// Every member gets the floor or the ceiling of its share of replicas and of primaries, by
/// weight; the replicas of a partition are in distinct zones when there are enough. With fewer
/// members than replicas there are as many replicas as members.
///
/// # Errors
/// If its strategy is not among these.
pub fn initial(
    strategies: &Strategies,
    map: &ClusterMap,
    definition: &TableDefinition,
) -> Result<Vec<Assignment>, StrategyUnknown> {
    let strategy = strategies.named(&definition.strategy)?;
    let table = NewTable {
        id: TableId(map.next_table),
        definition,
    };
    let unassigned = Assignment::default();
    let first = |next: NextAssignment| Assignment {
        epoch: Epoch(0).next(),
        version: AssignmentVersion(0).next(),
        ..check::resolve(map, &unassigned, &next)
    };
    Ok(strategy
        .assign(map, &table)
        .into_iter()
        .map(first)
        .collect())
}

/// The replicas and primaries of a new table, all in sync because all are empty.
pub(crate) fn first_assignments(map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
    let definition = table.definition;
    let Ok(points) = PartitionTable::new(definition.partitions) else {
        return Vec::new();
    };
    let loads = Loads::of(map);
    let quotas = quotas(
        map,
        &loads,
        table.id,
        definition.partitions,
        definition.replicas,
    );
    let ring = ring(map);
    let mut picker = Picker::new(map, quotas.members, quotas.replicas);
    let mut seats = Vec::new();
    for number in 0..definition.partitions {
        let order = ring.preference(points.point_of_partition(number), ring.len());
        let left = u64::from(definition.partitions - number);
        seats.push(Seat {
            partition: PartitionId::new(table.id, number),
            candidates: picker.pick(&order, left),
            holder: None,
        });
    }
    let primaries = fill_seats(map, table.id, &seats, usize::MAX);
    seats
        .into_iter()
        .map(|seat| NextAssignment {
            primary: primaries.get(&seat.partition).copied(),
            replicas: seat.candidates.clone(),
            in_sync: seat.candidates,
        })
        .collect()
}

/// The ring of the placeable members.
fn ring(map: &ClusterMap) -> Ring<u64> {
    let mut ring = Ring::new();
    let servers = map
        .members
        .values()
        .filter(|member| member.is_placeable())
        .map(|member| {
            let weight = member.weight.min(RING_WEIGHT_MAX);
            Server::new(member.storage.0)
                .weight(weight)
                .zone(member.zone.clone())
        });
    ring.extend(servers)
        .expect("storage ids are distinct and weights are small");
    ring
}

/// Spends the quotas, partition by partition, so that none is left at the end.
///
/// What a member or a domain has left, divided by the partitions left, says how often it must and
/// may be picked now: floor and ceiling. Picks within these bounds always exist and keep the same
/// true for the next partition (the bounds form a laminar family, whose flows are integral).
struct Picker {
    domain_of: BTreeMap<StorageId, usize>,
    domains: Vec<Vec<StorageId>>,
    left: BTreeMap<StorageId, u64>,
    replicas: usize,
}

impl Picker {
    fn new(map: &ClusterMap, left: BTreeMap<StorageId, u64>, replicas: usize) -> Self {
        let domains: Vec<Vec<StorageId>> = domains(map)
            .values()
            .map(|members| members.iter().map(|member| member.storage).collect())
            .collect();
        let domain_of = domains
            .iter()
            .enumerate()
            .flat_map(|(d, members)| members.iter().map(move |s| (*s, d)))
            .collect();
        Self {
            domain_of,
            domains,
            left,
            replicas,
        }
    }

    /// The replicas of the next of `partitions_left` partitions, in the order of preference.
    fn pick(&mut self, order: &[&u64], partitions_left: u64) -> Vec<StorageId> {
        let domain_left: Vec<u64> = self
            .domains
            .iter()
            .map(|d| d.iter().map(|s| self.left_of(*s)).sum())
            .collect();
        let mut of_domain = vec![0u64; self.domains.len()];
        let mut picked: Vec<usize> = Vec::with_capacity(self.replicas);
        // First whom no later partition could make up for, then the domains that must have more,
        // then whoever may.
        for step in 0..3 {
            for (rank, storage) in order.iter().enumerate() {
                let storage = StorageId(**storage);
                let Some(&domain) = self.domain_of.get(&storage) else {
                    continue;
                };
                let left = domain_left[domain];
                let wanted = match step {
                    0 => self.left_of(storage) >= partitions_left,
                    1 => of_domain[domain] < left / partitions_left,
                    _ => of_domain[domain] < left.div_ceil(partitions_left),
                };
                let free = self.left_of(storage) > 0 && !picked.contains(&rank);
                if wanted && free && picked.len() < self.replicas {
                    picked.push(rank);
                    of_domain[domain] += 1;
                }
            }
        }
        picked.sort_unstable();
        let picked: Vec<_> = picked
            .into_iter()
            .map(|rank| StorageId(*order[rank]))
            .collect();
        for storage in &picked {
            self.left.entry(*storage).and_modify(|left| *left -= 1);
        }
        picked
    }

    fn left_of(&self, storage: StorageId) -> u64 {
        self.left.get(&storage).copied().unwrap_or(0)
    }
}
