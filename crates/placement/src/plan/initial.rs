//! The first assignment of a table's partitions: an even layout, near the ring's preference.

use tablestore_ring::{Locate, PartitionTable, Ring, Server};

use super::loads::Loads;
use super::target::Numbers;
use super::{Seat, fill_seats};
use crate::layout::NodeState;
use crate::{
    Assignment, AssignmentVersion, ClusterMap, Epoch, Member, NewTable, NextAssignment,
    PartitionId, StorageId, Strategies, StrategyUnknown, TableDefinition, TableId, check,
};

/// The most tokens' worth of weight that a member has on the ring. The layout gives each member
/// its exact share; the ring only orders, so a coarse weight does and keeps the ring small.
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
    let Some(rows) = rows(map, table) else {
        return Vec::new();
    };
    let seats: Vec<Seat> = (0u32..)
        .zip(rows)
        .map(|(number, candidates)| Seat {
            partition: PartitionId::new(table.id, number),
            candidates,
            holder: None,
        })
        .collect();
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

/// The replicas of each partition: how many each member has is what a layout from nothing says,
/// and which are those that differ least from the ring's order of preference.
///
/// A layout from nothing goes round the members, so that a few of them would share all partitions
/// of one and take all its offices when it fails; the ring scatters them. Weights of as much as
/// each is to have make that the share of each, because some layout meets it.
fn rows(map: &ClusterMap, table: &NewTable<'_>) -> Option<Vec<Vec<StorageId>>> {
    let definition = table.definition;
    let points = PartitionTable::new(definition.partitions).ok()?;
    let state = |member: &Member| match member.is_placeable() {
        true => NodeState::Up,
        false => NodeState::Down,
    };
    let numbers = Numbers::of(map, &Loads::of(map), table.id, state);
    let nothing = vec![Vec::new(); definition.partitions as usize];
    let Some(even) = numbers.plan(nothing.iter(), definition.replicas) else {
        // Nobody is up: there are partitions, and the framework says what they lack.
        return Some(nothing);
    };
    let mut units = vec![0; map.members.len()];
    let places = even.target.rows().flatten();
    places.for_each(|&node| units[node as usize] += 1);
    let ring = ring(map);
    let preferred: Vec<Vec<StorageId>> = (0..definition.partitions)
        .map(|number| {
            let point = points.point_of_partition(number);
            let order = ring.preference(point, even.target.replicas());
            order.into_iter().map(|id| StorageId(*id)).collect()
        })
        .collect();
    let numbers = numbers.weighing(&units);
    let plan = numbers.plan(preferred.iter(), definition.replicas)?;
    let rows = plan.target.rows().zip(&preferred).map(|(row, preferred)| {
        let mut row = numbers.members(row);
        let place = |s: &StorageId| preferred.iter().position(|one| one == s);
        row.sort_by_key(|s| place(s).unwrap_or(preferred.len()));
        row
    });
    Some(rows.collect())
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
