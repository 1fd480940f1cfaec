//! On whom a partition may come to depend. Knows nothing of how that is known.

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;
use crate::{ClusterMap, Incarnation, PartitionId, StorageId};

/// Replicas that are known to be there. The map may show others that are gone: a partition that is
/// served by one of those, with fewer others in its in-sync set, would be served by nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The starts that were heard.
    pub starts: BTreeMap<StorageId, Incarnation>,
    /// Replicas that have stopped, as these starts say.
    pub stopped: BTreeSet<(PartitionId, StorageId)>,
}

impl Trusted {
    /// Whether the replica of this partition that the map shows with this member is there.
    fn has(&self, map: &ClusterMap, partition: PartitionId, member: StorageId) -> bool {
        let registered = map.members.get(&member).map(|member| &member.incarnation);
        registered.is_some_and(|start| self.starts.get(&member) == Some(start))
            && !self.stopped.contains(&(partition, member))
    }
}

impl Plan {
    /// Leaves every partition alone that any other replica would serve from now on, or with fewer
    /// others in its in-sync set.
    #[must_use]
    pub fn relying_on(mut self, map: &ClusterMap, trusted: &Trusted) -> Self {
        self.assignments.retain(|change| {
            let next = &change.next;
            let Some(current) = map.assignment(change.partition) else {
                return true;
            };
            let moves = !map.is_filled(current.primary) || current.primary_member() != next.primary;
            let shrinks = current
                .in_sync
                .iter()
                .any(|one| !next.in_sync.contains(one));
            let relies = next
                .primary
                .is_some_and(|primary| !trusted.has(map, change.partition, primary));
            !(relies && (moves || shrinks))
        });
        self
    }
}
