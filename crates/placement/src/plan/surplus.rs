//! Replicas that are too many go, once enough others are in sync.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::loads::{Loads, Quotas, quotas};
use super::quota::Cost;
use super::{Draft, Plan};
use crate::{
    Assignment, ClusterMap, MemberState, NextAssignment, PartitionId, StorageId, Table,
    TableDefinition, TableId,
};

/// Drops replicas from partitions that have more than their table asks for: what a finished move
/// leaves behind, or what was copied for a member that has come back. Dead and draining ones go
/// first, then the last of the partition's list. A replica is dropped only while as many others as
/// the table asks for live and are in sync.
#[must_use]
pub fn drop_surplus(map: &ClusterMap) -> Plan {
    let mut draft = Draft::new(map);
    let mut loads = Loads::of(map);
    for table in draft.tables() {
        for (partition, leaving) in leaving(map, &mut loads, table) {
            // Whoever is chosen but cannot go yet is waited for, lest a newcomer that is still
            // learning be dropped in its place.
            let goes: BTreeSet<StorageId> = leaving.into_iter().take(1).collect();
            let goes_now = drop_leaving(&mut draft, partition, &table.definition, &goes);
            if goes_now {
                draft.because("a surplus replica is dropped");
            }
        }
    }
    draft.finish()
}

/// Who leaves each partition of the table that has too many replicas, first to last; they are
/// taken off the loads. All planners go by this, so that what one starts another finishes.
///
/// Who leaves is up to the partition alone, whatever happens to the others meanwhile: a move puts
/// its source last ([`moving`]). Only where the last one would be left with less than the floor of
/// its share, because members have changed since, those go that have most above their shares. No
/// shares are asked while a member is missing, because they may be others a moment later.
pub(super) fn leaving(
    map: &ClusterMap,
    loads: &mut Loads,
    table: &Table,
) -> BTreeMap<PartitionId, Vec<StorageId>> {
    let definition = &table.definition;
    let wanted = definition.replicas as usize;
    let (mut leaving, mut outdated) = (BTreeMap::new(), Vec::new());
    if table.partitions.iter().all(|a| a.replicas.len() <= wanted) {
        return leaving;
    }
    let quotas = quotas(
        map,
        loads,
        table.id,
        definition.partitions,
        definition.replicas,
    );
    for (number, current) in (0u32..).zip(&table.partitions) {
        let surplus = current.replicas.len().saturating_sub(wanted);
        if surplus == 0 {
            continue;
        }
        let mut goes = by_place(map, definition, current);
        goes.truncate(surplus);
        goes.iter().for_each(|s| loads.remove(table.id, *s));
        if !goes.is_empty() {
            leaving.insert(PartitionId::new(table.id, number), goes);
        }
    }
    let floor = |s: &StorageId| quotas.floors.get(s).copied().unwrap_or(0);
    let lacks = |s: &StorageId| stays(map, *s) && loads.of_table(table.id, *s) < floor(s);
    if is_calm(map) {
        let those = leaving.iter().filter(|(_, goes)| goes.iter().any(lacks));
        outdated.extend(those.map(|(partition, _)| *partition));
    }
    for partition in &outdated {
        for goes in leaving.remove(partition).into_iter().flatten() {
            loads.add(table.id, goes);
        }
    }
    for partition in outdated {
        let Some(current) = map.assignment(partition) else {
            continue;
        };
        let mut goes = by_place(map, definition, current);
        goes.sort_by_cached_key(|s| rank(map, loads, &quotas, table.id, current, *s));
        goes.truncate(current.replicas.len().saturating_sub(wanted));
        goes.iter().for_each(|s| loads.remove(table.id, *s));
        leaving.insert(partition, goes);
    }
    leaving
}

/// The replicas in which a move from one member to another is under way; `None` if another one
/// than the source would leave in the end, or none could.
pub(super) fn moving(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
    (from, to): (StorageId, StorageId),
) -> Option<Vec<StorageId>> {
    let mut replicas = current.replicas.clone();
    replicas.retain(|s| *s != from);
    replicas.extend([to, from]);
    let then = Assignment {
        replicas,
        ..current.clone()
    };
    let first = by_place(map, definition, &then).first().copied();
    (first == Some(from)).then_some(then.replicas)
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

/// Those that the rule of zones lets go: who is dead, who drains, then from the last to the first.
fn by_place(
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

/// Who should go first by what each member carries; the least goes.
fn rank(
    map: &ClusterMap,
    loads: &Loads,
    quotas: &Quotas,
    table: TableId,
    current: &Assignment,
    storage: StorageId,
) -> impl Ord + use<> {
    let held = loads.of_table(table, storage);
    let over = held.saturating_sub(quotas.members.get(&storage).copied().unwrap_or(0));
    let weight = map.members.get(&storage).map_or(0, |m| u64::from(m.weight));
    (
        map.is_live(storage),
        stays(map, storage),
        Reverse(over),
        current.primary_member() == Some(storage),
        current.in_sync.contains(&storage),
        Reverse(Cost::of_unit(loads.all(storage), weight)),
        storage,
    )
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
fn without(
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
