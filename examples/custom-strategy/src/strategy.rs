//! A strategy of one's own: the backups of a partition are in other regions than its primary, as
//! far as zones allow; when a primary fails, its office goes to one of them.

use std::collections::BTreeMap;

use tablestore_placement::{
    ClusterMap, DataPath, Happening, Member, NewTable, NextAssignment, PrimaryBackup, Reaction,
    StorageId, Strategy, Table,
};

/// The strategy.
#[derive(Clone, Copy, Debug)]
pub struct OtherRegion;

/// Zones are named `region/zone`.
#[must_use]
pub fn region(zone: &str) -> &str {
    zone.split('/').next().unwrap_or_default()
}

impl Strategy for OtherRegion {
    fn data_path(&self) -> DataPath {
        DataPath::PrimaryBackup
    }

    /// Where a new table begins. Where replicas go later, when nodes join or leave, is the
    /// framework's: it spreads them over zones.
    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        let able: Vec<&Member> = map.members.values().filter(|m| m.is_placeable()).collect();
        let mut held: BTreeMap<StorageId, u64> = BTreeMap::new();
        let mut assign_one = |_| {
            let mut row: Vec<&Member> = Vec::new();
            while row.len() < able.len().min(table.definition.replicas as usize) {
                let free = able
                    .iter()
                    .filter(|m| !row.iter().any(|r| r.storage == m.storage));
                let Some(best) = free.min_by_key(|m| cost(m, &row, &held)) else {
                    break;
                };
                row.push(best);
            }
            let replicas: Vec<StorageId> = row.iter().map(|member| member.storage).collect();
            for storage in &replicas {
                *held.entry(*storage).or_default() += 1;
            }
            NextAssignment {
                primary: replicas.first().copied(),
                in_sync: replicas.clone(),
                replicas,
            }
        };
        (0..table.definition.partitions)
            .map(&mut assign_one)
            .collect()
    }

    /// A failure is answered as by the built-in strategy: by whoever is in sync.
    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        PrimaryBackup.react(map, table, happening)
    }
}

/// Another zone counts more than another region: the framework insists on it. Then comes the load.
fn cost(
    member: &Member,
    row: &[&Member],
    held: &BTreeMap<StorageId, u64>,
) -> (usize, bool, u64, StorageId) {
    let zone = member.failure_domain();
    let in_zone = row.iter().filter(|m| m.failure_domain() == zone).count();
    let home = row.first().map(|primary| region(&primary.zone));
    let load = (held.get(&member.storage).copied().unwrap_or(0) + 1) * 1_000;
    (
        in_zone,
        home == Some(region(&member.zone)),
        load / u64::from(member.weight.max(1)),
        member.storage,
    )
}
