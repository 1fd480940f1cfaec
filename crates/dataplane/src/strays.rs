//! Partitions on this node's disk that the map does not give to it: deleted if the map proves
//! that they are to go, put aside otherwise.
//!
//! A map that is older than what lies on the disk (it was lost, or restored from an old copy)
//! knows nothing of the tables that came later. It must not have them deleted. Knows nothing of
//! how a replica is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tablestore_placement::{ClusterMap, Epoch, PartitionId};
use tablestore_replication::Entry;
use tablestore_store::journal::ReadError;
use tablestore_store::mutation::ApplyError;
use tablestore_store::{Engine, JournalReader};

use crate::active::{EntryError, apply_active_entries, is_active_entry};
use crate::apply::apply_entries;
use crate::effects::Notice;
use crate::job::Work;
use crate::journal::Record;
use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::recover::{RecoveredPartition, Stored};

/// What is on the disk of a node and not in use as a replica.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// What was found and has not become a replica yet.
    pub(crate) found: BTreeMap<u64, RecoveredPartition>,
    /// Partitions that are being opened, put aside or deleted; nothing is opened in their place
    /// meanwhile.
    pub(crate) busy: BTreeSet<PartitionId>,
    /// Partitions that could not be opened.
    pub(crate) unopened: BTreeSet<PartitionId>,
}

impl Shelf {
    pub(crate) fn new(stored: Stored) -> Self {
        Self {
            found: stored.partitions,
            busy: BTreeSet::new(),
            unopened: BTreeSet::new(),
        }
    }

    /// What was found of a partition, if it is as asked for; otherwise it stays.
    pub(crate) fn take_if(
        &mut self,
        number: u64,
        is_wanted: impl FnOnce(&mut RecoveredPartition) -> bool,
    ) -> Option<RecoveredPartition> {
        let is_wanted = self.found.get_mut(&number).is_some_and(is_wanted);
        is_wanted.then(|| self.found.remove(&number))?
    }
}

/// Bytes of entries that are read at once from the log of a partition that is put aside.
const TAIL_BYTES: usize = 4 << 20;

/// What the map says of a partition that it does not give to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StrayKind {
    /// The map has seen the partition and an entry behind it took it away.
    Gone,
    /// The map says nothing, or something older than the partition.
    Unknown,
}

/// Table ids are never used again: a table below the next id that is not there was dropped. An
/// assignment of a lower epoch than the replica adopted is older than the replica.
fn stray_kind(map: &ClusterMap, partition: PartitionId, adopted: Epoch) -> StrayKind {
    let proven = match map.assignment(partition) {
        Some(assignment) => assignment.epoch >= adopted,
        None => partition.table.0 < map.next_table && !map.tables.contains_key(&partition.table),
    };
    if proven {
        StrayKind::Gone
    } else {
        StrayKind::Unknown
    }
}

impl<E: Engine, W> Plane<E, W> {
    /// Whether the map may be older than what an earlier start of this node did.
    pub(crate) fn map_may_lag(&self, map: &ClusterMap) -> bool {
        let me = self.me;
        let shown = map.members.get(&me.member);
        shown.is_some_and(|member| member.incarnation < me.incarnation)
    }

    /// Partitions found on disk that the map does not give to this node. Looked at once the map
    /// shows this start: it is then newer than everything that an earlier start went by.
    pub(crate) fn clear_strays(&mut self, now: &ClusterMap) {
        let me = self.me;
        let shown = now.members.get(&me.member).map(|member| member.incarnation);
        let trusts_any = self.settings.has(Mutant::UnknownPartitionDeleted);
        if !now.is_founded() || (shown != Some(me.incarnation) && !trusts_any) {
            return;
        }
        let is_mine = |number: u64| {
            let assignment = now.assignment(PartitionId::from_u64(number));
            assignment.is_some_and(|assignment| assignment.replicas.contains(&me.member))
        };
        let strays: Vec<u64> = self
            .shelf
            .found
            .keys()
            .copied()
            .filter(|number| !is_mine(*number))
            .collect();
        for number in strays {
            let Some(found) = self.shelf.found.remove(&number) else {
                continue;
            };
            let partition = PartitionId::from_u64(number);
            self.let_go(
                partition,
                now,
                found.state.meta.adopted,
                found.stopped.is_some(),
            );
        }
    }

    /// Deletes what this node has of a partition if the map proves that it is to go, and else
    /// puts it aside. `is_stopped` replicas are put aside as they are: their log is not trusted.
    pub(crate) fn let_go(
        &mut self,
        partition: PartitionId,
        now: &ClusterMap,
        adopted: Epoch,
        is_stopped: bool,
    ) {
        // Nothing is opened in its place before it is gone from there.
        self.shelf.busy.insert(partition);
        self.flushing.forget(partition);
        self.begin(match stray_kind(now, partition, adopted) {
            StrayKind::Gone => Work::Discard { partition },
            StrayKind::Unknown if self.settings.has(Mutant::UnknownPartitionDeleted) => {
                Work::Discard { partition }
            }
            StrayKind::Unknown => Work::PutAside {
                partition,
                is_stopped,
            },
        });
    }

    /// Nothing is here of a partition any more: its log may go, and it may be opened anew.
    pub(crate) fn is_gone(&mut self, partition: PartitionId) {
        let number = partition.to_u64();
        let position = self.record(Record::Forget { partition: number });
        self.active.is_emptied(position, partition);
        self.shelf.busy.remove(&partition);
        self.follow_again(partition);
    }

    /// The files of a partition lie aside now; only then its log may go.
    pub(crate) fn put_aside(&mut self, partition: PartitionId, place: Option<Option<PathBuf>>) {
        let Some(place) = place else {
            // It stays in the set: nothing is opened over what could not be moved.
            return;
        };
        let shown = place.map_or_else(String::new, |place| place.display().to_string());
        tracing::warn!(
            %partition, place = shown,
            "the cluster map knows nothing of a partition on this disk; put aside, not deleted"
        );
        self.counts.put_aside += 1;
        self.out.notices.push(Notice::PutAside {
            partition,
            place: shown,
        });
        self.is_gone(partition);
    }
}

/// Why not everything that a log has came among the rows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    #[error("entries {from} to {first} are gone")]
    Gone { from: u64, first: u64 },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Active(#[from] EntryError),
}

/// Applies all that the log has, known to be committed or not: whoever looks at rows that were
/// put aside wants to find everything that may have been acknowledged.
pub(crate) fn apply_tail<E: Engine>(
    engine: &E,
    reader: &JournalReader,
    partition: PartitionId,
) -> Result<(), TailError> {
    let number = partition.to_u64();
    let end = reader.end(number).unwrap_or(0);
    let first = reader.first_index(number).unwrap_or(1);
    let mut from = engine.applied(number) + 1;
    if from < first && from <= end {
        return Err(TailError::Gone { from, first });
    }
    while from <= end {
        let read = reader.read(number, from, end, TAIL_BYTES)?;
        let Some(last) = read.last() else {
            break;
        };
        from = last.index + 1;
        if read.iter().all(|one| is_active_entry(&one.data)) {
            let entries = read.into_iter().map(|one| (one.index, one.data));
            apply_active_entries(engine, partition, entries)?;
            continue;
        }
        let entries: Vec<Entry> = read
            .into_iter()
            .map(|one| Entry {
                epoch: Epoch(one.epoch),
                index: one.index,
                data: one.data,
            })
            .collect();
        apply_entries(engine, partition, &entries)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::TableId;

    #[test]
    fn only_a_table_that_the_map_has_seen_is_gone() {
        let mut map = ClusterMap::empty();
        map.next_table = 5;
        let of = |table| PartitionId::new(TableId(table), 0);
        assert_eq!(stray_kind(&map, of(4), Epoch(9)), StrayKind::Gone);
        assert_eq!(stray_kind(&map, of(5), Epoch(0)), StrayKind::Unknown);
        assert_eq!(stray_kind(&map, of(6), Epoch(1)), StrayKind::Unknown);
        assert_eq!(
            stray_kind(&ClusterMap::empty(), of(1), Epoch(1)),
            StrayKind::Unknown
        );
    }
}
