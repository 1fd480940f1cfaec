//! An even spread, by weight: of offices among in-sync members at once, of replicas by copying.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::loads::Loads;
use super::replicas::copies;
use super::surplus::{is_calm, moving};
use super::target::Target;
use super::{CopyCaps, Draft, Plan, Seat, fill_seats};
use crate::{
    Assignment, ClusterMap, Member, MemberState, NextAssignment, PartitionId, StorageId, Table,
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
    for table in draft.movable_tables() {
        let next = |current: &Assignment, primary| NextAssignment {
            primary: Some(primary),
            ..NextAssignment::keep(current)
        };
        even_out(&mut draft, map, table, caps, |a| &a.in_sync, next);
    }
    draft.finish()
}

/// Moves offices of partitions on shared storage among all members that are up, as
/// [`balance_primaries`] does where only in-sync members can take them. Each move makes clients
/// wait until the new owner has opened the partition.
#[must_use]
pub fn balance_owners(map: &ClusterMap, caps: &OfficeCaps) -> Plan {
    let mut draft = Draft::new(map);
    let members: Vec<StorageId> = map.members.keys().copied().collect();
    for table in draft.shared_tables() {
        let next = |_: &Assignment, owner| NextAssignment::owned_by(owner);
        even_out(&mut draft, map, table, caps, |_| &members, next);
    }
    draft.finish()
}

/// Moves offices of one table among the members that can take them.
fn even_out<'a>(
    draft: &mut Draft<'_>,
    map: &ClusterMap,
    table: &'a Table,
    caps: &OfficeCaps,
    takers: impl Fn(&'a Assignment) -> &'a [StorageId],
    next: impl Fn(&Assignment, StorageId) -> NextAssignment,
) {
    let moves_left = caps.moves_max.saturating_sub(draft.len());
    if moves_left == 0 {
        return;
    }
    let assignments = (0u32..).zip(&table.partitions);
    let seats: Vec<Seat> = assignments
        .filter_map(|(number, assignment)| {
            let partition = PartitionId::new(table.id, number);
            seat(map, caps, partition, assignment, takers(assignment))
        })
        .collect();
    for (partition, holder) in fill_seats(draft.map(), table.id, &seats, moves_left) {
        let current = draft.assignment(partition);
        if current.primary_member() == Some(holder) {
            continue;
        }
        match draft.set(partition, next(&current, holder)) {
            Ok(()) => draft.because("offices are spread evenly"),
            Err(rule) => draft.refused(partition, rule),
        }
    }
}

fn seat(
    map: &ClusterMap,
    caps: &OfficeCaps,
    partition: PartitionId,
    assignment: &Assignment,
    takers: &[StorageId],
) -> Option<Seat> {
    let holder = assignment.primary_member()?;
    let up = |s: &StorageId| map.members.get(s).is_some_and(Member::is_placeable);
    if !map.is_filled(assignment.primary) || !up(&holder) || caps.resting.contains(&partition) {
        return None;
    }
    let fit = |s: &StorageId| *s == holder || (up(s) && !caps.unfit.contains(s));
    let candidates = takers.iter().copied().filter(fit).collect();
    Some(Seat {
        partition,
        candidates,
        holder: Some(holder),
    })
}

/// Starts to move replicas to where an even layout has them, for example to a node that has
/// joined: each such partition gets the new replicas, and [`super::drop_surplus`] takes those away
/// that are last in its list, once the new ones are in sync. Nothing is started while a member is
/// missing, because its shares would move twice.
///
/// Of all even layouts it goes to the one with the fewest copies ([`crate::layout`]), with all
/// that is under way counted as done; so there are no more copies than that, and they end.
#[must_use]
pub fn balance_replicas(map: &ClusterMap, caps: CopyCaps) -> Plan {
    let mut draft = Draft::new(map);
    let mut budget = caps.copies_max.saturating_sub(copies(map));
    if budget == 0 || !is_calm(map) {
        return draft.finish();
    }
    let loads = Loads::of(map);
    for table in draft.copied_tables() {
        // Replicas of an active table change one at a time.
        let at_once = match table.definition.data_path().has_offices() {
            true => usize::MAX,
            false => 1,
        };
        let Some(target) = Target::of(map, &loads, table, &BTreeSet::new()) else {
            continue;
        };
        let wanted = table.definition.replicas as usize;
        let calm_partitions = (0u32..)
            .zip(&table.partitions)
            .filter(|(_, a)| a.replicas.len() == wanted && a.in_sync.len() == wanted)
            .map(|(number, a)| (PartitionId::new(table.id, number), a));
        for (partition, current) in calm_partitions {
            let mut moves = moves(map, current, target.row(partition));
            moves.truncate(budget.min(at_once));
            let Some(replicas) = moving(map, &table.definition, current, &moves) else {
                continue;
            };
            let next = NextAssignment {
                replicas,
                ..NextAssignment::keep(current)
            };
            if !moves.is_empty() && draft.set(partition, next).is_ok() {
                draft.because("replicas are spread evenly");
                budget -= moves.len();
            }
        }
    }
    draft.finish()
}

/// Who hands its replica to whom, within a zone where possible. Whoever drains goes first, as it
/// will be the first to leave, then who leaves its zone, out of the fullest first: so that the
/// first few of the moves alone leave the partition in no fewer zones.
fn moves(map: &ClusterMap, current: &Assignment, row: &[StorageId]) -> Vec<(StorageId, StorageId)> {
    let member = |s: &StorageId| map.members.get(s);
    let zone = |s: &StorageId| member(s).map(Member::failure_domain);
    let drains = |s: &StorageId| member(s).is_some_and(|m| m.state == MemberState::Draining);
    let mut comes: Vec<StorageId> = row.to_vec();
    comes.retain(|s| !current.replicas.contains(s));
    let goes = current.replicas.iter().filter(|s| !row.contains(s));
    let mut goes: Vec<StorageId> = goes.copied().collect();
    let mut moves = Vec::new();
    for within in [true, false] {
        goes.retain(|from| {
            let near = |to: &StorageId| !within || zone(to) == zone(from);
            let Some(place) = comes.iter().position(near) else {
                return true;
            };
            moves.push((*from, comes.remove(place)));
            false
        });
    }
    let beside = |s: &StorageId| {
        let there = current
            .replicas
            .iter()
            .filter(|other| zone(other) == zone(s));
        there.count()
    };
    let within = |from: &StorageId, to: &StorageId| zone(from) == zone(to);
    moves.sort_by_key(|(from, to)| (!drains(from), within(from, to), Reverse(beside(from))));
    moves
}
