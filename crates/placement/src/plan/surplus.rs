//! Replicas that are too many go, once enough others are in sync.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::loads::Loads;
use super::target::{Target, leaving_by_place};
use super::{Draft, Plan};
use crate::{
    Assignment, ClusterMap, MemberState, NextAssignment, PartitionId, StorageId, Table,
    TableDefinition,
};

/// Drops replicas from partitions that have more than their table asks for: what a finished move
/// leaves behind, or what was copied for a member that has come back. Dead and draining ones go
/// first, then the last of the partition's list, unless more would be copied later because of it.
/// A replica is dropped only while as many others as the table asks for live and are in sync.
///
/// Of an active table the last of the list leaves, as soon as the others say that they have its
/// rows; here it is only chosen.
#[must_use]
pub fn drop_surplus(map: &ClusterMap) -> Plan {
    let mut draft = Draft::new(map);
    let loads = OnceCell::new();
    for table in draft.movable_tables() {
        let mut leaving = leaving_by_place(map, table);
        if leaving.is_empty() {
            continue;
        }
        if is_calm(map) {
            let loads = loads.get_or_init(|| Loads::of(map));
            let target = Target::of(map, loads, table, &BTreeSet::new());
            leaving = target.map_or(leaving, |target| target.leaving);
        }
        for (partition, leaving) in leaving {
            // Whoever is chosen but cannot go yet is waited for, lest a newcomer that is still
            // learning be dropped in its place.
            let goes: BTreeSet<StorageId> = leaving.into_iter().take(1).collect();
            let goes_now = drop_leaving(&mut draft, partition, &table.definition, &goes);
            if goes_now {
                draft.because("a surplus replica is dropped");
            }
        }
    }
    for table in draft.copied_tables() {
        if !table.definition.data_path().has_offices() {
            choose_leavers(&mut draft, table);
        }
    }
    draft.finish()
}

/// Where an active table is to have fewer replicas from now on: of each partition that has too
/// many, all of them, in such an order that the last is to leave first. Empty for other tables.
#[must_use]
pub fn order_of_leaving(
    map: &ClusterMap,
    table: &Table,
    replicas: u32,
) -> Vec<(u32, Vec<StorageId>)> {
    let definition = TableDefinition {
        replicas,
        ..table.definition.clone()
    };
    if definition.data_path().has_offices() {
        return Vec::new();
    }
    let order = |(number, current): (u32, &Assignment)| {
        let mut rest = current.clone();
        rest.replicas.retain(|s| current.in_sync.contains(s));
        let surplus = rest.replicas.len().checked_sub(replicas as usize)?;
        let mut leaving = Vec::new();
        for _ in 0..surplus {
            let Some(&goes) = by_fitness_to_go(map, &definition, &rest).first() else {
                break;
            };
            rest.replicas.retain(|s| *s != goes);
            leaving.insert(0, goes);
        }
        rest.replicas.extend(&leaving);
        (!leaving.is_empty()).then_some((number, rest.replicas))
    };
    (0u32..).zip(&table.partitions).filter_map(order).collect()
}

/// Of an active table with too many replicas puts the one last that should leave first: who is dead
/// before who drains, and none that the rule of zones keeps.
fn choose_leavers(draft: &mut Draft<'_>, table: &Table) {
    for (number, current) in (0u32..).zip(&table.partitions) {
        let surplus = current.replicas.len() > table.definition.replicas as usize;
        if !surplus || current.joiner().is_some() {
            continue;
        }
        let leaver = by_fitness_to_go(draft.map(), &table.definition, current);
        let leaver = leaver.first().copied();
        let Some(leaver) = leaver.filter(|s| current.replicas.last() != Some(s)) else {
            continue;
        };
        let mut next = NextAssignment::keep(current);
        next.replicas.retain(|storage| *storage != leaver);
        next.replicas.push(leaver);
        let partition = PartitionId::new(table.id, number);
        match draft.set(partition, next) {
            Ok(()) => draft.because("another replica of an active table is to leave"),
            Err(rule) => draft.refused(partition, rule),
        }
    }
}

/// The replicas in which moves are under way, from each to its pair; `None` if others than the
/// sources would leave in the end, or those could not.
pub(super) fn moving(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
    moves: &[(StorageId, StorageId)],
) -> Option<Vec<StorageId>> {
    let mut replicas = current.replicas.clone();
    replicas.retain(|s| moves.iter().all(|(from, _)| s != from));
    replicas.extend(moves.iter().map(|(_, to)| *to));
    replicas.extend(moves.iter().rev().map(|(from, _)| *from));
    let then = Assignment {
        replicas,
        ..current.clone()
    };
    let mut first = by_place(map, definition, &then);
    first.truncate(moves.len());
    let as_meant = first.len() == moves.len() && moves.iter().all(|(from, _)| first.contains(from));
    as_meant.then_some(then.replicas)
}

/// Whether no member is missing, so that shares mean something.
pub(super) fn is_calm(map: &ClusterMap) -> bool {
    let mut states = map.members.values().map(|m| m.state);
    states.all(|state| matches!(state, MemberState::Up | MemberState::Draining))
}

/// Whether the member lives and does not drain.
fn stays(map: &ClusterMap, storage: StorageId) -> bool {
    let member = map.members.get(&storage);
    member.is_some_and(|m| m.is_live() && m.state != MemberState::Draining)
}

/// Who goes first where there are too many. Of an active table, while a replica comes, the one that
/// it replaces.
pub(super) fn by_place(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
) -> Vec<StorageId> {
    if definition.data_path().has_offices() {
        return by_fitness_to_go(map, definition, current);
    }
    let then = current.replicas_after(definition.replicas);
    let goes = |s: &&StorageId| then.as_ref().is_some_and(|then| !then.contains(s));
    let mut leaving: Vec<StorageId> = current.replicas.iter().filter(goes).copied().collect();
    if current.joiner().is_none() && then.is_some() {
        let later = by_fitness_to_go(map, definition, current).into_iter();
        leaving.extend(later.filter(|s| current.replicas.last() != Some(s)));
    }
    leaving
}

/// Those that the rule of zones lets go: who is dead, who drains, then from the last to the first.
fn by_fitness_to_go(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
) -> Vec<StorageId> {
    let may_go = |storage: &StorageId| {
        let mut after = current.clone();
        after.replicas.retain(|s| s != storage);
        crate::check::zones(map, definition, current, &after, &[]).is_ok()
    };
    let mut replicas: Vec<StorageId> = current.replicas.iter().rev().copied().collect();
    replicas.retain(may_go);
    replicas.sort_by_key(|s| (map.is_live(*s), stays(map, *s)));
    replicas
}

/// Drops those that leave, if enough others are in sync and none of them is the primary; whether
/// it did.
pub(super) fn drop_leaving(
    draft: &mut Draft<'_>,
    partition: PartitionId,
    definition: &TableDefinition,
    leaving: &BTreeSet<StorageId>,
) -> bool {
    let current = draft.assignment(partition);
    let Some(next) = without(draft.map(), definition, &current, leaving) else {
        return false;
    };
    draft.set(partition, next).is_ok()
}

/// The assignment without those that leave; if the primary is among them, with the best other one.
pub(super) fn without(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
    leaving: &BTreeSet<StorageId>,
) -> Option<NextAssignment> {
    let keep = |all: &[StorageId]| -> Vec<StorageId> {
        all.iter()
            .copied()
            .filter(|s| !leaving.contains(s))
            .collect()
    };
    let (replicas, in_sync) = (keep(&current.replicas), keep(&current.in_sync));
    let healthy: Vec<StorageId> = in_sync
        .iter()
        .copied()
        .filter(|s| map.is_live(*s))
        .collect();
    if healthy.len() < definition.replicas as usize {
        return None;
    }
    let primary = current.primary_member().filter(|p| !leaving.contains(p));
    let primary = primary.or_else(|| {
        let offices = |s: &StorageId| {
            map.partitions()
                .filter(|(_, _, a)| a.primary_member() == Some(*s))
                .count()
        };
        healthy.iter().copied().min_by_key(|s| (offices(s), *s))
    });
    Some(NextAssignment {
        primary,
        replicas,
        in_sync,
    })
}
