//! How well the partitions are served, in numbers, for status pages and alarms. Knows nothing
//! about resources or latencies: only what the map shows.

use serde::{Deserialize, Serialize};

use crate::{Assignment, ClusterMap, DataPath, StorageId, TableDefinition};

/// How well one partition is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionHealth {
    /// Whether the current start of a live member holds the office; of an active table, whose
    /// partitions have none, whether a majority of the replicas lives, and while they change of
    /// both sets.
    pub has_primary: bool,
    /// How many members of the in-sync set live.
    pub in_sync_live: u32,
    /// How many replicas live.
    pub replicas_live: u32,
    /// How many replicas there should be.
    pub replicas_wanted: u32,
    /// How many live in-sync members a write needs; of an active table a majority of its
    /// replicas.
    pub min_in_sync: u32,
}

impl PartitionHealth {
    /// Of one partition.
    #[must_use]
    pub fn of(map: &ClusterMap, definition: &TableDefinition, assignment: &Assignment) -> Self {
        let live = |of: &[StorageId]| {
            u32::try_from(of.iter().filter(|s| map.is_live(**s)).count()).unwrap_or(u32::MAX)
        };
        let replicas_live = live(&assignment.replicas);
        let (has_primary, min_in_sync) = match definition.data_path() {
            DataPath::Active => {
                let then = assignment.replicas_after(definition.replicas);
                let mut sets = [&assignment.in_sync].into_iter().chain(&then);
                let serves = sets.all(|set| live(set) >= majority(set));
                (serves, majority(&assignment.in_sync))
            }
            _ => (map.is_filled(assignment.primary), definition.min_in_sync),
        };
        Self {
            has_primary,
            in_sync_live: live(&assignment.in_sync),
            replicas_live,
            replicas_wanted: definition.replicas,
            min_in_sync,
        }
    }

    /// Strong reads are answered.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.has_primary
    }

    /// Writes are taken.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.has_primary && self.in_sync_live >= self.min_in_sync
    }

    /// Fewer live in-sync members than there should be replicas.
    #[must_use]
    pub fn is_under_replicated(self) -> bool {
        self.in_sync_live < self.replicas_wanted
    }
}

/// How many live members at least have every acknowledged write.
pub(crate) fn copies(
    definition: &TableDefinition,
    assignment: &Assignment,
    health: PartitionHealth,
) -> u32 {
    match definition.data_path() {
        // A majority has it, and the dead may be among them.
        DataPath::Active => {
            let dead = count(&assignment.in_sync).saturating_sub(health.in_sync_live);
            majority(&assignment.in_sync).saturating_sub(dead)
        }
        // The storage has it, whoever dies.
        DataPath::SingleOwner => definition.min_in_sync,
        DataPath::PrimaryBackup => health.in_sync_live,
    }
}

fn count(set: &[StorageId]) -> u32 {
    u32::try_from(set.len()).unwrap_or(u32::MAX)
}

fn majority(set: &[StorageId]) -> u32 {
    count(set) / 2 + 1
}

/// Numbers over all partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// All partitions.
    pub partitions: u32,
    /// Without a live primary, or a live majority where there is none: neither strong reads nor
    /// writes.
    pub without_primary: u32,
    /// With a primary, but with fewer live in-sync members than a write needs: strong reads only.
    pub below_min_in_sync: u32,
    /// With fewer live in-sync members than the table asks for, those above included.
    pub under_replicated: u32,
    /// Replicas that are catching up.
    pub catching_up: u32,
    /// All members.
    pub members: u32,
    /// Members that are not live.
    pub members_down: u32,
}

/// Counts over the whole map.
#[must_use]
pub fn summary(map: &ClusterMap) -> Summary {
    let mut summary = Summary::default();
    for (_, table, assignment) in map.partitions() {
        let health = PartitionHealth::of(map, &table.definition, assignment);
        let below = health.has_primary && health.in_sync_live < health.min_in_sync;
        summary.partitions += 1;
        summary.without_primary += u32::from(!health.has_primary);
        summary.below_min_in_sync += u32::from(below);
        summary.under_replicated += u32::from(health.is_under_replicated());
        summary.catching_up += health.replicas_live.saturating_sub(health.in_sync_live);
    }
    for member in map.members.values() {
        summary.members += 1;
        summary.members_down += u32::from(!member.is_live());
    }
    summary
}
