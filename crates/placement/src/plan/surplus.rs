//! Replicas that are too many go, once enough others are in sync.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::loads::{Loads, Quotas, quotas};
use super::quota::Cost;
use super::{Draft, Plan};
use crate::{
    Assignment, ClusterMap, MemberState, NextAssignment, PartitionId, StorageId, Table,
    TableDefinition, TableId,
};

/// Drops replicas from partitions that have more than their table asks for: what a finished move
/// leaves behind, or what was copied for a member that has come back. Dead and draining ones go
/// first, then who has most above its share. A replica is dropped only while as many others as the
/// table asks for live and are in sync.
#[must_use]
pub fn drop_surplus(map: &ClusterMap) -> Plan {
    let mut draft = Draft::new(map);
    let mut loads = Loads::of(map);
    for table in draft.tables() {
        let definition = &table.definition;
        if !has_surplus(table) {
            continue;
        }
        let quotas = quotas(
            map,
            &loads,
            table.id,
            definition.partitions,
            definition.replicas,
        );
        for number in 0..definition.partitions {
            let partition = PartitionId::new(table.id, number);
            let current = draft.assignment(partition);
            if current.replicas.len() <= definition.replicas as usize {
                continue;
            }
            for victim in by_surplus(map, &loads, &quotas, table.id, &current) {
                let goes = BTreeSet::from([victim]);
                if drop_leaving(&mut draft, partition, definition, &goes) {
                    loads.remove(table.id, victim);
                    draft.because("a surplus replica is dropped");
                    break;
                }
                // Whoever is chosen but cannot go yet is waited for, lest a newcomer that is still
                // learning be dropped in its place. An impossible choice is passed over.
                if !is_blocked_by_rule(map, definition, &current, victim) {
                    break;
                }
            }
        }
    }
    draft.finish()
}

fn has_surplus(table: &Table) -> bool {
    table
        .partitions
        .iter()
        .any(|a| a.replicas.len() > table.definition.replicas as usize)
}

/// Who should go first.
pub(super) fn by_surplus(
    map: &ClusterMap,
    loads: &Loads,
    quotas: &Quotas,
    table: TableId,
    current: &Assignment,
) -> Vec<StorageId> {
    let mut replicas = current.replicas.clone();
    replicas.sort_by_cached_key(|storage| {
        let member = map.members.get(storage);
        let live = member.is_some_and(crate::Member::is_live);
        let stays = member.is_some_and(|m| m.state != MemberState::Draining);
        let held = loads.of_table(table, *storage);
        let over = held.saturating_sub(quotas.members.get(storage).copied().unwrap_or(0));
        let weight = member.map_or(0, |m| u64::from(m.weight));
        (
            live,
            stays,
            Reverse(over),
            current.primary_member() == Some(*storage),
            current.in_sync.contains(storage),
            Reverse(Cost::of_unit(loads.all(*storage), weight)),
            *storage,
        )
    });
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

/// Whether dropping the victim would break a rule (of zones, say) even if all were in sync.
fn is_blocked_by_rule(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
    victim: StorageId,
) -> bool {
    let leaving = BTreeSet::from([victim]);
    without(map, definition, current, &leaving)
        .is_some_and(|next| crate::check::next(map, definition, current, &next, &[]).is_err())
}
