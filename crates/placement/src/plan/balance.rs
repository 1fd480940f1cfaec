//! An even spread, by weight: of offices among in-sync members at once, of replicas by copying.

use std::collections::BTreeSet;

use super::loads::{Loads, Quotas, quotas};
use super::replicas::copies;
use super::surplus::{is_calm, leaving, moving};
use super::{CopyCaps, Draft, Plan, Seat, fill_seats};
use crate::{
    Assignment, ClusterMap, Member, NextAssignment, PartitionId, StorageId, TableDefinition,
};

/// What limits the moving of offices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfficeCaps {
    /// How many offices one plan may move.
    pub moves_max: usize,
    /// Partitions that moved not long ago, or are busy otherwise; they stay.
    pub resting: BTreeSet<PartitionId>,
    /// Members that should not be given offices, for example because they are short of resources
    /// or have only just come back.
    pub unfit: BTreeSet<StorageId>,
}

/// Moves offices among in-sync members that are up, until each has the floor or the ceiling of its
/// share of every table by weight, as far as the in-sync sets allow. Offices of members that are
/// not up stay: other planners see to them.
#[must_use]
pub fn balance_primaries(map: &ClusterMap, caps: &OfficeCaps) -> Plan {
    let mut draft = Draft::new(map);
    for table in draft.tables() {
        let moves_left = caps.moves_max.saturating_sub(draft.len());
        if moves_left == 0 {
            break;
        }
        let seats: Vec<Seat> = (0u32..)
            .zip(&table.partitions)
            .filter_map(|(number, assignment)| {
                seat(map, caps, PartitionId::new(table.id, number), assignment)
            })
            .collect();
        for (partition, primary) in fill_seats(draft.map(), table.id, &seats, moves_left) {
            let current = draft.assignment(partition);
            if current.primary_member() == Some(primary) {
                continue;
            }
            let next = NextAssignment {
                primary: Some(primary),
                ..NextAssignment::keep(&current)
            };
            match draft.set(partition, next) {
                Ok(()) => draft.because("offices are spread evenly"),
                Err(rule) => draft.refused(partition, rule),
            }
        }
    }
    draft.finish()
}

fn seat(
    map: &ClusterMap,
    caps: &OfficeCaps,
    partition: PartitionId,
    assignment: &Assignment,
) -> Option<Seat> {
    let holder = assignment.primary_member()?;
    let up = |s: &StorageId| map.members.get(s).is_some_and(Member::is_placeable);
    if !map.is_filled(assignment.primary) || !up(&holder) || caps.resting.contains(&partition) {
        return None;
    }
    let fit = |s: &StorageId| *s == holder || (up(s) && !caps.unfit.contains(s));
    let candidates = assignment.in_sync.iter().copied().filter(fit).collect();
    Some(Seat {
        partition,
        candidates,
        holder: Some(holder),
    })
}

/// Starts to move replicas from members above their share to members below it, for example to a
/// node that has joined: each such partition gets one more replica, and [`super::drop_surplus`]
/// takes the one away that is last in its list, once the new one is in sync. Nothing is started
/// while a member is missing, because its shares would move twice.
///
/// Each move takes a replica from above a quota to below one, with all that is under way counted
/// as done, and quotas are the nearest to what is held: the distance to them falls with each move,
/// whatever the other tables do. So there are no more moves than that distance asks for, and they
/// end.
#[must_use]
pub fn balance_replicas(map: &ClusterMap, caps: CopyCaps) -> Plan {
    let mut draft = Draft::new(map);
    if !is_calm(map) {
        return draft.finish();
    }
    let mut budget = caps.copies_max.saturating_sub(copies(map));
    let mut loads = Loads::of(map);
    for table in draft.tables() {
        // Moves that are under way count as done.
        leaving(map, &mut loads, table);
    }
    for table in draft.tables() {
        let (partitions, replicas) = (table.definition.partitions, table.definition.replicas);
        let quotas = quotas(map, &loads, table.id, partitions, replicas);
        let calm_partitions: Vec<PartitionId> = (0u32..)
            .zip(&table.partitions)
            .filter(|(_, a)| a.replicas.len() == replicas as usize)
            .filter(|(_, a)| a.in_sync.len() == a.replicas.len())
            .map(|(number, _)| PartitionId::new(table.id, number))
            .collect();
        for partition in calm_partitions {
            if budget == 0 {
                break;
            }
            let best = best_move(map, &loads, &quotas, &table.definition, partition);
            let Some((from, to, replicas)) = best else {
                continue;
            };
            let next = NextAssignment {
                replicas,
                ..NextAssignment::keep(&draft.assignment(partition))
            };
            if draft.set(partition, next).is_ok() {
                draft.because("replicas are spread evenly");
                loads.add(table.id, to);
                loads.remove(table.id, from);
                budget -= 1;
            }
        }
    }
    draft.finish()
}

/// From who has most above its share to who has most below it, where zones allow; and the
/// replicas meanwhile.
fn best_move(
    map: &ClusterMap,
    loads: &Loads,
    quotas: &Quotas,
    definition: &TableDefinition,
    partition: PartitionId,
) -> Option<(StorageId, StorageId, Vec<StorageId>)> {
    let table = partition.table;
    let assignment = map.assignment(partition)?;
    let held = |s: StorageId| loads.of_table(table, s);
    let mut below: Vec<(u64, StorageId)> = quotas
        .members
        .iter()
        .filter(|(s, _)| !assignment.replicas.contains(s))
        .filter_map(|(s, quota)| Some((quota.checked_sub(held(*s)).filter(|n| *n > 0)?, *s)))
        .collect();
    below.sort_by_key(|(missing, s)| (std::cmp::Reverse(*missing), *s));
    let mut above: Vec<(u64, StorageId)> = assignment
        .replicas
        .iter()
        .filter_map(|s| Some((held(*s).checked_sub(*quotas.members.get(s)?)?, *s)))
        .filter(|(surplus, _)| *surplus > 0)
        .collect();
    above.sort_by_key(|(surplus, s)| (std::cmp::Reverse(*surplus), *s));
    let domain = |s: &StorageId| map.members.get(s).map(Member::failure_domain);
    for (_, from) in above {
        let others: Vec<_> = assignment
            .replicas
            .iter()
            .filter(|s| **s != from)
            .map(domain)
            .collect();
        let mut free = below.iter().filter(|(_, to)| !others.contains(&domain(to)));
        let best = free.find_map(|(_, to)| {
            let replicas = moving(map, definition, assignment, (from, *to))?;
            Some((from, *to, replicas))
        });
        if best.is_some() {
            return best;
        }
    }
    None
}
