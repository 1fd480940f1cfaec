//! What has been looked for on a map and is not there: nothing of it is looked for again before the
//! map is another one, since that costs as much as there are partitions. Knows nothing of plans.

use std::collections::BTreeSet;

use tablestore_placement::{ClusterMap, MapVersion, StorageId};

/// So many are remembered: far more than a cluster has members. Who is unfit may go to and fro on a
/// map that stands for days; what is forgotten is only looked for once more.
const ABSENT_MAX: usize = 4_096;

/// What follows from the map alone, and from what is named with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Search {
    /// Dead members in in-sync sets, and their offices.
    Dead,
    /// Offices that nobody fills.
    Vacant,
    /// Tables that lack copies.
    Lacking,
    /// Copies on these members, which are missing for too long.
    Missing(Vec<StorageId>),
    /// Copies beyond the wanted.
    Surplus,
    /// Copies that are spread unevenly.
    Uneven,
    /// Offices that are spread unevenly, if these members are unfit for more.
    UnevenOffices(BTreeSet<StorageId>),
    /// Offices on shared storage that are spread unevenly, if these members are unfit for more.
    UnevenOwners(BTreeSet<StorageId>),
    /// Offices of an earlier start of this member.
    Restarted(StorageId),
}

/// What was found on the newest map.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    version: Option<MapVersion>,
    absent: BTreeSet<Search>,
    behind: Option<BTreeSet<StorageId>>,
}

impl Looked {
    fn at(&mut self, map: &ClusterMap) -> &mut Self {
        if self.version != Some(map.version) {
            *self = Self {
                version: Some(map.version),
                ..Self::default()
            };
        }
        self
    }

    /// Whether it is known that there is none on this map.
    pub(crate) fn is_absent(&mut self, map: &ClusterMap, search: &Search) -> bool {
        self.at(map).absent.contains(search)
    }

    /// There is none on this map.
    pub(crate) fn none_found(&mut self, map: &ClusterMap, search: Search) {
        let absent = &mut self.at(map).absent;
        if absent.len() >= ABSENT_MAX {
            absent.clear();
        }
        absent.insert(search);
    }

    /// Members that are outside of the in-sync set of a partition that they have a copy of.
    pub(crate) fn behind(&mut self, map: &ClusterMap) -> &BTreeSet<StorageId> {
        self.at(map).behind.get_or_insert_with(|| {
            let behind = map
                .partitions()
                .flat_map(|(_, _, a)| a.replicas.iter().filter(|r| !a.in_sync.contains(r)));
            behind.copied().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_is_looked_for_again_on_another_map() {
        let (mut looked, mut map) = (Looked::default(), ClusterMap::empty());
        looked.none_found(&map, Search::Surplus);
        assert!(looked.is_absent(&map, &Search::Surplus));
        assert!(!looked.is_absent(&map, &Search::Dead));
        let missing = |number| Search::Missing(vec![StorageId(number)]);
        looked.none_found(&map, missing(1));
        assert!(!looked.is_absent(&map, &missing(2)));
        map.version = map.version.next();
        assert!(!looked.is_absent(&map, &Search::Surplus));
    }
}
