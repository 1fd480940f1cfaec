//! What each member put into the logs of its replicas of active tables, and whether a change is
//! among what its disk has of that. Knows nothing of who waits for it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};
use tablestore_replication::active::{Row, Version};

use super::Change;

/// By key, the states of a row with the indexes of their entries.
type States = BTreeMap<Bytes, Vec<(u64, Row)>>;

#[derive(Debug, Default)]
struct Log {
    end: u64,
    states: States,
}

/// All logs of all members.
#[derive(Debug, Default)]
pub(super) struct Disks(BTreeMap<(StorageId, PartitionId), Log>);

impl Disks {
    /// A member put a state of a row into its log.
    pub(super) fn keep(
        &mut self,
        (member, partition): (StorageId, PartitionId),
        index: u64,
        key: &Bytes,
        row: &Row,
    ) {
        let log = self.0.entry((member, partition)).or_default();
        // Indexes begin anew where a log was given up.
        if index <= log.end {
            *log = Log::default();
        }
        log.end = index;
        let states = log.states.entry(key.clone()).or_default();
        states.push((index, row.clone()));
    }

    /// A member starts anew, with its logs up to these indexes.
    pub(super) fn restart(&mut self, member: StorageId, end: impl Fn(PartitionId) -> u64) {
        let of = self.0.iter_mut().filter(|((of, _), _)| *of == member);
        for ((_, partition), log) in of {
            log.end = log.end.min(end(*partition));
            for states in log.states.values_mut() {
                states.retain(|(index, _)| *index <= log.end);
            }
        }
    }

    /// How many members have, or had when it was new, a change or what hides it on their disks.
    pub(super) fn holders(
        &self,
        partition: PartitionId,
        key: &Bytes,
        (version, change): (Version, &Change),
        durable: impl Fn(StorageId) -> u64,
    ) -> usize {
        let of = self.0.iter().filter(|((_, of), _)| *of == partition);
        of.filter(|((member, _), log)| {
            let until = durable(*member);
            let states = log.states.get(key).into_iter().flatten();
            let mut on_disk = states.filter(|(index, _)| *index <= until);
            on_disk.any(|(_, row)| includes(row, version, change))
        })
        .count()
    }
}

/// Whether a row has all of a change, or newer.
fn includes(row: &Row, version: Version, change: &Change) -> bool {
    let mark = row.mark();
    let is_marked = |from: Version| mark.is_some_and(|mark| mark.version >= from);
    let has = |name: &String| {
        let cell = row.attributes().get(name.as_bytes());
        let is_there = cell.is_some_and(|cell| cell.version >= version);
        is_there || mark.is_some_and(|mark| mark.version > version)
    };
    match change {
        Change::Put(names) => is_marked(version) && names.iter().all(has),
        Change::Patch { set, remove } => set.iter().chain(remove).all(has),
        Change::Delete => is_marked(version),
    }
}
