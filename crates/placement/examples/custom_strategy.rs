//! A strategy of one's own: the backups of a partition are in other regions than its primary, as
//! far as zones allow. Run it with `cargo run --example custom_strategy --features testing`.
//!
//! It decides where a new table begins and leaves failures to the built-in strategy. Where replicas
//! go later, when members join or leave, is the framework's: it spreads them over zones.

use std::collections::BTreeMap;
use std::sync::Arc;

use tablestore_placement::{
    ClusterMap, DataPath, Happening, Member, NewTable, NextAssignment, PrimaryBackup, Reaction,
    StorageId, Strategies, Strategy, Table, conformance, plan, testing,
};

#[derive(Clone, Copy, Debug)]
struct OtherRegion;

/// Zones are named `region/zone`.
fn region(member: &Member) -> &str {
    member.zone.split('/').next().unwrap_or_default()
}

impl Strategy for OtherRegion {
    fn data_path(&self) -> DataPath {
        DataPath::PrimaryBackup
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        let able = map.members.values().filter(|member| member.is_placeable());
        let able: Vec<&Member> = able.collect();
        let mut held: BTreeMap<StorageId, u64> = BTreeMap::new();
        let row = |_| {
            let mut row: Vec<&Member> = Vec::new();
            while row.len() < able.len().min(table.definition.replicas as usize) {
                // Another zone counts more than another region: the framework insists on it.
                let cost = |member: &&&Member| {
                    let zone = member.failure_domain();
                    let beside = row.iter().filter(|m| m.failure_domain() == zone).count();
                    let at_home = row.first().is_some_and(|m| region(m) == region(member));
                    let units = held.get(&member.storage).map_or(1, |held| held + 1);
                    (
                        beside,
                        at_home,
                        units * 1_000 / u64::from(member.weight),
                        member.storage,
                    )
                };
                let free = able
                    .iter()
                    .filter(|m| row.iter().all(|r| r.storage != m.storage));
                let Some(best) = free.min_by_key(cost) else {
                    break;
                };
                row.push(best);
            }
            let replicas: Vec<StorageId> = row.iter().map(|member| member.storage).collect();
            replicas
                .iter()
                .for_each(|s| *held.entry(*s).or_default() += 1);
            let (primary, in_sync) = (replicas.first().copied(), replicas.clone());
            NextAssignment {
                primary,
                replicas,
                in_sync,
            }
        };
        (0..table.definition.partitions).map(row).collect()
    }

    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        PrimaryBackup.react(map, table, happening)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The suite that every strategy should run in its tests.
    let passed = conformance::strategy(&Arc::new(OtherRegion))?;
    assert!(passed.happenings > 2_000);

    let mut strategies = Strategies::built_in();
    strategies.register("other-region", Arc::new(OtherRegion));
    let map = testing::cluster(&[("eu/1", 1), ("eu/2", 1), ("us/1", 1), ("us/2", 1)]);
    let mut definition = testing::definition(8, 2, 2);
    definition.strategy = "other-region".to_owned();
    for assignment in plan::initial(&strategies, &map, &definition)? {
        let regions = assignment.replicas.iter().map(|s| region(&map.members[s]));
        let regions: Vec<&str> = regions.collect();
        assert_ne!(regions[0], regions[1], "the backup is in another region");
    }
    Ok(())
}
