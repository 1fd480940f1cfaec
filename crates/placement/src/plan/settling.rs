//! Balancing that does not come to rest is noticed and refused, whatever the mistake behind it.
//!
//! The planners copy no more than the members lack ([`super::balance_replicas`]). This is the
//! second defence: endless copying would cost every disk and every client, and a cluster that is
//! a little uneven costs nobody. Knows nothing about time.

use std::collections::BTreeMap;

use super::Plan;
use crate::{ClusterMap, MemberState, PartitionId, StorageId, TableId};

/// Each replica of a partition may be moved twice, and one more time: a unit that a fraction
/// entitles several members to may go to another of them in between.
fn copies_max(replicas: u32) -> u32 {
    replicas.saturating_mul(2).saturating_add(1)
}

/// How often balancing has copied each partition since the members last changed.
///
/// The caller asks [`Settling::allows`] before it balances replicas, and tells each plan of
/// [`super::balance_replicas`] that it carries out to [`Settling::note`]. Offices are not counted:
/// they move without copying, and back again after each restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    members: BTreeMap<StorageId, Standing>,
    /// How many replicas each table is to have.
    wanted: BTreeMap<TableId, u32>,
    copies: BTreeMap<PartitionId, u32>,
}

/// What a member's share depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    zone: String,
    weight: u32,
    state: MemberState,
}

/// Balancing went on for longer than it can take while no member changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("balancing does not come to rest; copied to and fro: {}", named(.partitions))]
pub struct Unsettled {
    /// The partitions that were copied too often; at least one.
    pub partitions: Vec<PartitionId>,
}

/// A few of the partitions, and how many more there are.
fn named(partitions: &[PartitionId]) -> String {
    const NAMED_MAX: usize = 8;
    let mut names: Vec<String> = partitions
        .iter()
        .take(NAMED_MAX)
        .map(PartitionId::to_string)
        .collect();
    if let Some(more) = partitions.len().checked_sub(NAMED_MAX).filter(|n| *n > 0) {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

impl Settling {
    /// Whether replicas may be balanced; if not, the partitions that moved too often. A change of
    /// the members, of their weights, zones or states, starts the count anew, and another number of
    /// replicas that of a table.
    pub fn allows(&mut self, map: &ClusterMap) -> Result<(), Unsettled> {
        self.renew(map);
        let too_often = |partition: &PartitionId, copies: u32| {
            let table = map.tables.get(&partition.table);
            table.is_some_and(|t| copies > copies_max(t.definition.replicas))
        };
        let partitions: Vec<PartitionId> = self
            .copies
            .iter()
            .filter(|(partition, copies)| too_often(partition, **copies))
            .map(|(partition, _)| *partition)
            .collect();
        if partitions.is_empty() {
            return Ok(());
        }
        Err(Unsettled { partitions })
    }

    /// Counts the copies that a plan starts; `map` is the one that it was made from.
    pub fn note(&mut self, map: &ClusterMap, plan: &Plan) {
        self.renew(map);
        for change in &plan.assignments {
            let Some(current) = map.assignment(change.partition) else {
                continue;
            };
            let new = |s: &&StorageId| !current.replicas.contains(s);
            let copies = u32::try_from(change.next.replicas.iter().filter(new).count());
            let count = self.copies.entry(change.partition).or_default();
            *count = count.saturating_add(copies.unwrap_or(u32::MAX));
        }
    }

    fn renew(&mut self, map: &ClusterMap) {
        let standing = |m: &crate::Member| Standing {
            zone: m.zone.clone(),
            weight: m.weight,
            // Nothing is taken from a suspect, and it may come and go.
            state: match m.state {
                MemberState::Suspect => MemberState::Up,
                state => state,
            },
        };
        let members = map.members.iter().map(|(s, m)| (*s, standing(m))).collect();
        if self.members != members {
            self.members = members;
            self.copies.clear();
        }
        let wanted = map.tables.values();
        let wanted = wanted.map(|table| (table.id, table.definition.replicas));
        let before = std::mem::replace(&mut self.wanted, wanted.collect());
        let stays = |table: TableId| {
            let now = self.wanted.get(&table);
            now.is_some() && before.get(&table) == now
        };
        self.copies.retain(|partition, _| stays(partition.table));
    }
}
