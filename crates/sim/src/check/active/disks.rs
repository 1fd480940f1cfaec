//! What each member put into the logs of its replicas of active tables, and whether a change is
//! among what its disk has of that. Knows nothing of who waits for it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};
use tablestore_replication::active::{Row, Version};

use super::Change;

#[derive(Debug, Default)]
struct Log {
    /// Put into the log and not durable yet: index, key and state, in order.
    waiting: VecDeque<(u64, Bytes, Row)>,
    /// The last index.
    end: u64,
    /// By key, the states of a row that are durable, or were before the disk was lost.
    durable: BTreeMap<Bytes, Vec<Row>>,
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
            log.waiting.clear();
        }
        log.end = index;
        log.waiting.push_back((index, key.clone(), row.clone()));
    }

    /// The logs of a member are durable up to these indexes.
    pub(super) fn synced(&mut self, member: StorageId, end: impl Fn(PartitionId) -> u64) {
        let of = self.0.iter_mut().filter(|((of, _), _)| *of == member);
        for ((_, partition), log) in of {
            let end = end(*partition);
            while let Some((_, key, row)) = log.waiting.pop_front_if(|(index, ..)| *index <= end) {
                log.durable.entry(key).or_default().push(row);
            }
        }
    }

    /// A member starts anew, with its logs up to these indexes.
    pub(super) fn restart(&mut self, member: StorageId, end: impl Fn(PartitionId) -> u64) {
        self.synced(member, &end);
        let of = self.0.iter_mut().filter(|((of, _), _)| *of == member);
        for ((_, partition), log) in of {
            log.waiting.clear();
            log.end = log.end.min(end(*partition));
        }
    }

    /// How many members have, or had before they lost it, a change or what hides it on their
    /// disks.
    pub(super) fn holders(
        &self,
        partition: PartitionId,
        key: &Bytes,
        version: Version,
        change: &Change,
    ) -> usize {
        let of = self.0.iter().filter(|((_, of), _)| *of == partition);
        of.filter(|(_, log)| {
            let mut states = log.durable.get(key).into_iter().flatten();
            states.any(|row| includes(row, version, change))
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
