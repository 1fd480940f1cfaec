//! Partitions on this node's disk that the map does not give to it: deleted if the map proves
//! that they are to go, put aside otherwise.
//!
//! A map that is older than what lies on the disk (it was lost, or restored from an old copy)
//! knows nothing of the tables that came later. It must not have them deleted. Knows nothing of
//! how a replica is opened.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tablestore_placement::{ClusterMap, Epoch, PartitionId};
use tablestore_replication::Entry;
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::{Engine, JournalReader};

use super::apply::apply_entries;
use super::event::Event;
use super::journal::Job;
use super::plane::Plane;

/// Bytes of entries that are read at once from the log of a partition that is put aside.
const TAIL_BYTES: usize = 4 << 20;

/// What the map says of a partition that it does not give to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The map has seen the partition and an entry behind it took it away.
    Gone,
    /// The map says nothing, or something older than the partition.
    Unknown,
}

/// Table ids are never used again: a table below the next id that is not there was dropped. An
/// assignment of a lower epoch than the replica adopted is older than the replica.
fn verdict(map: &ClusterMap, partition: PartitionId, adopted: Epoch) -> Verdict {
    let proven = match map.assignment(partition) {
        Some(assignment) => assignment.epoch >= adopted,
        None => partition.table.0 < map.next_table && !map.tables.contains_key(&partition.table),
    };
    if proven {
        Verdict::Gone
    } else {
        Verdict::Unknown
    }
}

impl Plane {
    /// Whether the map may be older than what an earlier start of this node did.
    pub(super) fn map_may_lag(&self, map: &ClusterMap) -> bool {
        let me = self.ports.me;
        let shown = map.members.get(&me.member);
        shown.is_some_and(|member| member.incarnation < me.incarnation)
    }

    /// Partitions found on disk that the map does not give to this node. Looked at once the map
    /// shows this start: it is then newer than everything that an earlier start went by.
    pub(super) fn clear_strays(&mut self, now: &ClusterMap) {
        let me = self.ports.me;
        let shown = now.members.get(&me.member).map(|member| member.incarnation);
        if !now.is_founded() || shown != Some(me.incarnation) {
            return;
        }
        let is_mine = |number: u64| {
            let assignment = now.assignment(PartitionId::from_u64(number));
            assignment.is_some_and(|assignment| assignment.replicas.contains(&me.member))
        };
        let strays: Vec<u64> = self
            .ports
            .recovered
            .keys()
            .copied()
            .filter(|number| !is_mine(*number))
            .collect();
        for number in strays {
            let Some(found) = self.ports.recovered.remove(&number) else {
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
    pub(super) fn let_go(
        &mut self,
        partition: PartitionId,
        now: &ClusterMap,
        adopted: Epoch,
        is_stopped: bool,
    ) {
        // Nothing is opened in its place before it is gone from there.
        self.ports.aside.insert(partition);
        self.ports.flushing.forget(partition);
        let begun = if verdict(now, partition, adopted) == Verdict::Gone {
            self.discard(partition)
        } else {
            self.move_aside(partition, is_stopped)
        };
        if !begun {
            self.ports.put_off.push(PutOff::LetGo {
                partition,
                adopted,
                is_stopped,
            });
        }
    }

    /// Asks again for what the housekeeping thread had no room for.
    pub(super) fn ask_again(&mut self) {
        for put_off in std::mem::take(&mut self.ports.put_off) {
            match put_off {
                PutOff::LetGo {
                    partition,
                    adopted,
                    is_stopped,
                } => {
                    let map = Arc::clone(&self.ports.map);
                    self.let_go(partition, &map, adopted, is_stopped);
                }
                PutOff::Note { partition, why } => self.note_stopped(partition, why),
            }
        }
    }

    /// Deletes what is here of a partition.
    fn discard(&mut self, partition: PartitionId) -> bool {
        let number = partition.to_u64();
        let engine = Arc::clone(&self.ports.engine);
        let sender = self.ports.sender.clone();
        let stopped = StoppedReplicas::at(&self.ports.settings.data_dir);
        self.ports.workers.upkeep(move || {
            if let Err(error) = stopped.clear(number) {
                tracing::warn!(%partition, %error, "a note of a stopped replica remains");
            }
            if let Err(error) = engine.drop_partition(number) {
                tracing::warn!(%partition, %error, "files of a dropped partition remain");
            }
            sender.send_blocking(Event::Dropped(partition));
        })
    }

    /// Nothing is here of a partition any more: its log may go, and it may be opened anew.
    pub(super) fn is_gone(&mut self, partition: PartitionId) {
        let number = partition.to_u64();
        self.ports.journal.push(Job::Forget { partition: number });
        self.ports.aside.remove(&partition);
        let map = Arc::clone(&self.ports.map);
        self.follow_assignments(&map, &map);
    }

    fn move_aside(&mut self, partition: PartitionId, is_stopped: bool) -> bool {
        let engine = Arc::clone(&self.ports.engine);
        let reader = self.ports.reader.clone();
        let sender = self.ports.sender.clone();
        self.ports.workers.upkeep(move || {
            if !is_stopped && let Err(error) = apply_tail(engine.as_ref(), &reader, partition) {
                tracing::warn!(%partition, %error, "the end of a log is not among the rows");
            }
            let number = partition.to_u64();
            let flushed = match is_stopped {
                true => Ok(0),
                false => engine.seal(number, &[]).and_then(|()| engine.flush(number)),
            };
            let put = flushed.and_then(|_| engine.put_aside(number));
            let place = put.inspect_err(|error| {
                tracing::error!(%partition, %error, "an unknown partition was not put aside");
            });
            sender.send_blocking(Event::PutAside {
                partition,
                place: place.ok(),
            });
        })
    }

    /// The files of a partition lie aside now; only then its log may go.
    pub(super) fn put_aside(&mut self, partition: PartitionId, place: Option<Option<PathBuf>>) {
        let Some(place) = place else {
            // It stays in the set: nothing is opened over what could not be moved.
            return;
        };
        let shown = place.map_or_else(String::new, |place| place.display().to_string());
        tracing::warn!(
            %partition, place = shown,
            "the cluster map knows nothing of a partition on this disk; put aside, not deleted"
        );
        self.ports.metrics.put_aside.add(1);
        let detail = serde_json::json!({ "place": shown });
        let timeline = &self.ports.timeline;
        timeline.publish("partition_put_aside", Some(partition), detail);
        self.is_gone(partition);
    }
}

/// Applies all that the log has, known to be committed or not: whoever looks at rows that were
/// put aside wants to find everything that may have been acknowledged.
fn apply_tail(
    engine: &dyn Engine,
    reader: &JournalReader,
    partition: PartitionId,
) -> anyhow::Result<()> {
    let number = partition.to_u64();
    let end = reader.end(number).unwrap_or(0);
    let first = reader.first_index(number).unwrap_or(1);
    let mut from = engine.applied(number) + 1;
    anyhow::ensure!(
        from >= first || from > end,
        "entries {from} to {first} are gone"
    );
    while from <= end {
        let read = reader.read(number, from, end, TAIL_BYTES)?;
        let Some(last) = read.last() else {
            break;
        };
        from = last.index + 1;
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

/// Partitions that are being put aside or deleted; nothing is opened in their place meanwhile.
pub(super) type Aside = BTreeSet<PartitionId>;

/// Work for the housekeeping thread that it had no room for.
#[derive(Debug)]
pub(super) enum PutOff {
    /// To delete a partition or put it aside.
    LetGo {
        partition: PartitionId,
        adopted: Epoch,
        is_stopped: bool,
    },
    /// To note durably that a replica has stopped, and why.
    Note { partition: PartitionId, why: String },
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
        assert_eq!(verdict(&map, of(4), Epoch(9)), Verdict::Gone);
        assert_eq!(verdict(&map, of(5), Epoch(0)), Verdict::Unknown);
        assert_eq!(verdict(&map, of(6), Epoch(1)), Verdict::Unknown);
        assert_eq!(
            verdict(&ClusterMap::empty(), of(1), Epoch(1)),
            Verdict::Unknown
        );
    }
}
