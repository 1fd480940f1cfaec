//! Where the replicas of a table should be: of all layouts that are spread evenly, one with the
//! fewest copies beside what is held ([`crate::layout`]).
//!
//! Knows nothing about caps, offices, or what is started first. Whatever of the way to a target is
//! gone, a target from there has exactly as many copies less: so planners that each go some of the
//! way, and ask again, together make no more copies than the first certificate says.

use std::collections::{BTreeMap, BTreeSet};

use super::loads::Loads;
use super::shares::Cost;
use super::surplus::{by_place, is_calm};
use crate::layout::{self, NONE, Node, NodeState, Topology};
use crate::{
    Assignment, ClusterMap, FailureDomain, Member, MemberState, PartitionId, StorageId, Table,
    TableId,
};

/// The members as nodes of a topology. Where a fraction entitles several to a unit, the one with
/// the lowest number gets it: so they are numbered by what they carry of other tables.
#[derive(Debug)]
pub(super) struct Numbers {
    members: Vec<StorageId>,
    by_member: BTreeMap<StorageId, u32>,
    nodes: Vec<Node>,
}

impl Numbers {
    pub(super) fn of(
        map: &ClusterMap,
        loads: &Loads,
        table: TableId,
        state: impl Fn(&Member) -> NodeState,
    ) -> Self {
        let carried = |m: &Member| loads.elsewhere(table, m.storage);
        let mut zones: BTreeMap<FailureDomain<'_>, (u64, u64)> = BTreeMap::new();
        for member in map.members.values() {
            let (units, weight) = zones.entry(member.failure_domain()).or_default();
            *units += carried(member);
            *weight += u64::from(member.weight);
        }
        let cost = |(units, weight): (u64, u64)| Cost::of_unit(units + 1, weight);
        let mut order: Vec<_> = zones.into_iter().collect();
        order.sort_by_key(|&(zone, sums)| (cost(sums), zone));
        let labels: BTreeMap<_, u32> = order.into_iter().map(|(zone, _)| zone).zip(0..).collect();
        let mut members: Vec<&Member> = map.members.values().collect();
        members.sort_by_cached_key(|m| (cost((carried(m), m.weight.into())), m.storage));
        let node = |member: &&Member| Node {
            state: state(member),
            ..Node::new(
                member.storage.0,
                member.weight,
                labels[&member.failure_domain()],
            )
        };
        let nodes = members.iter().map(node).collect();
        let members: Vec<StorageId> = members.iter().map(|m| m.storage).collect();
        Self {
            by_member: members.iter().copied().zip(0..).collect(),
            members,
            nodes,
        }
    }

    /// The members of a row, in its order.
    pub(super) fn members(&self, row: &[u32]) -> Vec<StorageId> {
        let known = row.iter().filter_map(|&n| self.members.get(n as usize));
        known.copied().collect()
    }

    /// With other weights: a node whose weight is none takes nothing.
    pub(super) fn weighing(mut self, weights: &[u32]) -> Self {
        for (node, weight) in self.nodes.iter_mut().zip(weights) {
            node.weight = *weight;
        }
        self
    }

    /// The plan from what is held; `None` if there is nobody to plan for, or too much of something.
    pub(super) fn plan<'a>(
        &self,
        held: impl ExactSizeIterator<Item = &'a Vec<StorageId>> + Clone,
        replicas: u32,
    ) -> Option<layout::Plan> {
        let width = held.clone().map(Vec::len).max().unwrap_or(0);
        let mut places = Vec::with_capacity(width * held.len());
        for row in held.clone() {
            let end = places.len() + width;
            places.extend(row.iter().filter_map(|s| self.by_member.get(s).copied()));
            places.resize(end, NONE);
        }
        let topology = Topology::new(self.nodes.clone()).ok()?;
        let held = layout::Placement::new(held.len(), width, places).ok()?;
        layout::plan(&topology, &held, replicas as usize).ok()
    }
}

/// What a table should come to, and who goes on the way.
#[derive(Debug)]
pub(super) struct Target {
    table: TableId,
    rows: Vec<Vec<StorageId>>,
    /// Who leaves the partitions that have too many replicas, first to last.
    pub(super) leaving: BTreeMap<PartitionId, Vec<StorageId>>,
}

impl Target {
    /// The target of a table if those that are `gone` take nothing, while all others that are
    /// missing come back. `None` if there is nobody to plan for.
    ///
    /// Who leaves a partition that has too many replicas is up to its list, in which a move puts
    /// its source last, whatever happens to the others meanwhile. Only where members have changed
    /// since, so that this would cost copies, those leave who are not in the target from all that
    /// is held.
    pub(super) fn of(
        map: &ClusterMap,
        loads: &Loads,
        table: &Table,
        gone: &BTreeSet<StorageId>,
    ) -> Option<Self> {
        let state = |member: &Member| match member.state {
            _ if gone.contains(&member.storage) => NodeState::Down,
            MemberState::Up => NodeState::Up,
            MemberState::Suspect | MemberState::Down => NodeState::Suspect,
            MemberState::Draining => NodeState::Leaving,
            MemberState::Left => NodeState::Down,
        };
        let numbers = Numbers::of(map, loads, table.id, state);
        let definition = &table.definition;
        let mut leaving = leaving_by_place(map, table);
        let staying: Vec<Vec<StorageId>> = (0u32..)
            .zip(&table.partitions)
            .map(|(number, current)| {
                let goes = leaving.get(&PartitionId::new(table.id, number));
                without(&current.replicas, goes.map_or(&[], Vec::as_slice))
            })
            .collect();
        let mut plan = numbers.plan(staying.iter(), definition.replicas)?;
        if !leaving.is_empty() && is_calm(map) {
            let held = table.partitions.iter().map(|a| &a.replicas);
            let other = numbers.plan(held, definition.replicas)?;
            if other.copies() < plan.copies() {
                for (partition, goes) in &mut leaving {
                    let row = other.target.row(partition.partition as usize);
                    *goes = not_in(map, table, *partition, &numbers.members(row));
                }
                plan = other;
            }
        }
        Some(Self {
            table: table.id,
            rows: plan.target.rows().map(|r| numbers.members(r)).collect(),
            leaving,
        })
    }

    /// Who should hold the partition, in no order of meaning.
    pub(super) fn row(&self, partition: PartitionId) -> &[StorageId] {
        debug_assert_eq!(partition.table, self.table, "a target is of one table");
        let row = self.rows.get(partition.partition as usize);
        row.map_or(&[], Vec::as_slice)
    }
}

fn without(replicas: &[StorageId], goes: &[StorageId]) -> Vec<StorageId> {
    let stays = replicas.iter().filter(|s| !goes.contains(s));
    stays.copied().collect()
}

/// Who leaves each partition of the table that has too many replicas, by the order of its list.
pub(super) fn leaving_by_place(
    map: &ClusterMap,
    table: &Table,
) -> BTreeMap<PartitionId, Vec<StorageId>> {
    let wanted = table.definition.replicas as usize;
    let leaving = |(number, current): (u32, &Assignment)| {
        let surplus = current.replicas.len().checked_sub(wanted)?;
        let mut goes = by_place(map, &table.definition, current);
        goes.truncate(surplus);
        (!goes.is_empty()).then(|| (PartitionId::new(table.id, number), goes))
    };
    (0u32..)
        .zip(&table.partitions)
        .filter_map(leaving)
        .collect()
}

/// The replicas beyond a target's, as many as are too many.
fn not_in(
    map: &ClusterMap,
    table: &Table,
    partition: PartitionId,
    row: &[StorageId],
) -> Vec<StorageId> {
    let Some(current) = table.partitions.get(partition.partition as usize) else {
        return Vec::new();
    };
    let wanted = table.definition.replicas as usize;
    let mut goes = by_place(map, &table.definition, current);
    goes.retain(|s| !row.contains(s));
    goes.truncate(current.replicas.len().saturating_sub(wanted));
    goes
}
