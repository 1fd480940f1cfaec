//! How much each member carries, and how much of a table it should carry.

use std::collections::BTreeMap;

use super::quota::{Cost, Group, Part, round, shares};
use crate::{ClusterMap, FailureDomain, Member, StorageId, TableId};

/// Numbers of replicas by member, and by table and member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads {
    all: BTreeMap<StorageId, u64>,
    tables: BTreeMap<(TableId, StorageId), u64>,
}

impl Loads {
    pub(crate) fn of(map: &ClusterMap) -> Self {
        let mut loads = Self::default();
        for (partition, _, assignment) in map.partitions() {
            for &storage in &assignment.replicas {
                loads.add(partition.table, storage);
            }
        }
        loads
    }

    pub(crate) fn add(&mut self, table: TableId, storage: StorageId) {
        *self.all.entry(storage).or_default() += 1;
        *self.tables.entry((table, storage)).or_default() += 1;
    }

    pub(crate) fn remove(&mut self, table: TableId, storage: StorageId) {
        for count in [
            self.all.get_mut(&storage),
            self.tables.get_mut(&(table, storage)),
        ] {
            let Some(count) = count else { continue };
            *count = count.saturating_sub(1);
        }
    }

    pub(crate) fn all(&self, storage: StorageId) -> u64 {
        self.all.get(&storage).copied().unwrap_or(0)
    }

    pub(crate) fn of_table(&self, table: TableId, storage: StorageId) -> u64 {
        self.tables.get(&(table, storage)).copied().unwrap_or(0)
    }
}

/// How many replicas of a table each placeable member should have, and how many each failure
/// domain: floor or ceiling of its share by weight, no domain more of one partition than it must.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas {
    pub(crate) members: BTreeMap<StorageId, u64>,
    /// The floor of each member's share, which no rounding takes from it.
    pub(crate) floors: BTreeMap<StorageId, u64>,
    /// How many replicas of one partition there can be: the table's number or that of the members.
    pub(crate) replicas: usize,
}

/// The placeable members by failure domain.
pub(crate) fn domains(map: &ClusterMap) -> BTreeMap<FailureDomain<'_>, Vec<&Member>> {
    let mut domains: BTreeMap<FailureDomain<'_>, Vec<&Member>> = BTreeMap::new();
    for member in map.members.values().filter(|member| member.is_placeable()) {
        domains
            .entry(member.failure_domain())
            .or_default()
            .push(member);
    }
    domains
}

/// What limits the shares of the members and of the domains.
fn groups(
    domains: &BTreeMap<FailureDomain<'_>, Vec<&Member>>,
    partitions: u64,
    replicas: usize,
) -> Vec<Group> {
    // Fewer domains than replicas: as many of a partition in each as it takes.
    let of_one_partition = (1..=replicas.max(1))
        .find(|&most| domains.values().map(|m| m.len().min(most)).sum::<usize>() >= replicas)
        .unwrap_or(replicas);
    domains
        .values()
        .map(|members| Group {
            parts: members
                .iter()
                .map(|m| Part {
                    weight: m.weight.into(),
                    cap: partitions,
                })
                .collect(),
            cap: partitions * members.len().min(of_one_partition) as u64,
        })
        .collect()
}

/// The quotas of a table of `partitions` times `replicas`. A unit that a fraction entitles several
/// members to goes to who holds it already, then to who carries least of the other tables. So of
/// all quotas that are fair these are nearest to what the members hold, counted in replicas.
pub(crate) fn quotas(
    map: &ClusterMap,
    loads: &Loads,
    table: TableId,
    partitions: u32,
    replicas: u32,
) -> Quotas {
    let domains = domains(map);
    let members: usize = domains.values().map(Vec::len).sum();
    let replicas = members.min(replicas as usize);
    let partitions = u64::from(partitions);
    let total = partitions * replicas as u64;
    let shares = shares(total, &groups(&domains, partitions, replicas));
    let domain_shares: Vec<_> = shares
        .iter()
        .map(|of_domain| super::quota::sum(of_domain))
        .collect();
    let grouped: Vec<&Vec<&Member>> = domains.values().collect();
    let elsewhere = |m: &Member| loads.all(m.storage) - loads.of_table(table, m.storage);
    let of_members = |d: usize, total: u64| {
        round(total, &shares[d], |i, units| {
            let member = grouped[d][i];
            let held = loads.of_table(table, member.storage);
            (
                held < units,
                Cost::of_unit(elsewhere(member) + units, member.weight.into()),
            )
        })
    };
    let distance = |d: usize, total: u64| -> u64 {
        let quotas = of_members(d, total);
        let held = grouped[d].iter().map(|m| loads.of_table(table, m.storage));
        held.zip(quotas).map(|(held, q)| held.abs_diff(q)).sum()
    };
    let domain_quotas = round(total, &domain_shares, |d, units| {
        let weight = grouped[d].iter().map(|m| u64::from(m.weight)).sum();
        let others: u64 = grouped[d].iter().map(|m| elsewhere(m)).sum();
        // Not by how much the domain holds: its members may hold it beyond their own shares.
        let farther = distance(d, units) > distance(d, units - 1);
        (farther, Cost::of_unit(others + units, weight))
    });
    let mut quotas = Quotas {
        replicas,
        ..Quotas::default()
    };
    for (d, total) in domain_quotas.into_iter().enumerate() {
        let storages = grouped[d].iter().map(|m| m.storage);
        let floors = shares[d].iter().map(|share| share.floor());
        quotas.floors.extend(storages.clone().zip(floors));
        quotas.members.extend(storages.zip(of_members(d, total)));
    }
    quotas
}
