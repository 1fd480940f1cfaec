//! Comparing replicas: a mark in the log, a checksum of ranges at that index on every replica.
//!
//! The primary collects; what follows from a difference is decided in `mismatch`. Knows nothing
//! of what the rows mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tablestore_placement::{Epoch, Office, PartitionId, StorageId};
use tablestore_replication::{Input, Role};
use tablestore_store::Engine;
use tablestore_store::engine::Checksums as Sums;

use crate::plane::Plane;
use crate::request::{Answer, Reply};
use crate::wire::DataMessage;

#[derive(Debug)]
struct Comparison {
    index: u64,
    begun: Duration,
    sums: BTreeMap<StorageId, Vec<u64>>,
    tickets: Vec<u64>,
}

/// Comparisons under way on this node, as primary.
#[derive(Debug, Default)]
pub(crate) struct Checksums {
    next: u64,
    running: BTreeMap<(PartitionId, u64), Comparison>,
    compared_at: BTreeMap<PartitionId, Duration>,
    /// When a partition is looked at whether it is to be compared.
    due: BTreeSet<(Duration, PartitionId)>,
    /// The last sums of each replica of this node, and the mark (id and index) they were taken at.
    pub(crate) taken: BTreeMap<PartitionId, ((u64, u64), Sums)>,
}

impl Checksums {
    /// The replica is to be compared at this time.
    pub(crate) fn compare_at(&mut self, partition: PartitionId, at: Duration) {
        self.due.insert((at, partition));
    }

    /// The replica is here no more.
    pub(crate) fn forget(&mut self, partition: PartitionId) {
        self.compared_at.remove(&partition);
        self.taken.remove(&partition);
    }
}

impl<E: Engine, W> Plane<E, W> {
    pub(crate) fn begin_checksum(&mut self, partition: PartitionId, ticket: u64) {
        let id = self.start_comparison(partition, vec![ticket]);
        self.feed(partition, Input::Checksum { id });
    }

    fn start_comparison(&mut self, partition: PartitionId, tickets: Vec<u64>) -> u64 {
        let begun = self.now.since_start;
        let checksums = &mut self.checksums;
        checksums.next += 1;
        // Unlike any other: a later primary, or a later start of this one, must not take an older
        // mark for its own.
        let id = mark_id(self.me, checksums.next);
        let comparison = Comparison {
            index: 0,
            begun,
            sums: BTreeMap::new(),
            tickets,
        };
        checksums.running.insert((partition, id), comparison);
        checksums.compared_at.insert(partition, begun);
        id
    }

    /// Starts the comparisons whose time has come; one partition a call.
    pub(crate) fn begin_checksums(&mut self, now: Duration) {
        self.end_late_comparisons(now);
        let every = self.settings.checksum_every;
        while let Some(&(at, partition)) = self.checksums.due.first()
            && at <= now
        {
            self.checksums.due.pop_first();
            let hosted = self.replicas.get(&partition);
            let Some(hosted) = hosted.filter(|hosted| hosted.stopped.is_none()) else {
                continue;
            };
            // It may have been compared meanwhile because somebody asked.
            let last = self.checksums.compared_at.get(&partition).copied();
            let next = last.map_or(at, |last| last + every);
            if next > now {
                self.checksums.compare_at(partition, next);
                continue;
            }
            self.checksums.compare_at(partition, now + every);
            if hosted.replica.role() == Role::Primary {
                let id = self.start_comparison(partition, Vec::new());
                return self.feed(partition, Input::Checksum { id });
            }
        }
    }

    pub(crate) fn checksum_taken(
        &mut self,
        partition: PartitionId,
        id: u64,
        index: u64,
        sums: Sums,
    ) {
        let me = self.me.member;
        let words = sums.to_words();
        self.checksums.taken.insert(partition, ((id, index), sums));
        let sums = words;
        let primary = self
            .map
            .assignment(partition)
            .and_then(|a| a.primary_member());
        match primary {
            Some(primary) if primary != me => {
                let message = DataMessage::Checksum {
                    partition,
                    id,
                    index,
                    sums,
                };
                self.links.tell(primary, &message);
            }
            _ => self.checksum_from(me, partition, id, index, sums),
        }
    }

    pub(crate) fn checksum_from(
        &mut self,
        from: StorageId,
        partition: PartitionId,
        id: u64,
        index: u64,
        sums: Vec<u64>,
    ) {
        let Some(comparison) = self.checksums.running.get_mut(&(partition, id)) else {
            return self.told_what_is_right(from, partition, (id, index), &sums);
        };
        if comparison.index == 0 {
            comparison.index = index;
        }
        if comparison.index != index {
            // Not sums of this mark, so they say nothing about a difference.
            return;
        }
        comparison.sums.insert(from, sums);
        let replicas = self.replicas_of(partition);
        let complete = self
            .checksums
            .running
            .get(&(partition, id))
            .is_some_and(|c| replicas.iter().all(|replica| c.sums.contains_key(replica)));
        if complete {
            self.end_comparison(partition, id);
        }
    }

    /// There is no mark: whoever waits for the comparison waits for another one.
    pub(crate) fn checksum_refused(&mut self, partition: PartitionId, id: u64) {
        let comparison = self.checksums.running.remove(&(partition, id));
        for ticket in comparison.into_iter().flat_map(|one| one.tickets) {
            self.park(ticket, false);
        }
    }

    fn end_late_comparisons(&mut self, now: Duration) {
        let within = self.settings.compare_within;
        let late: Vec<_> = self
            .checksums
            .running
            .iter()
            .filter(|(_, comparison)| comparison.begun + within < now)
            .map(|(key, _)| *key)
            .collect();
        for (partition, id) in late {
            self.end_comparison(partition, id);
        }
    }

    fn end_comparison(&mut self, partition: PartitionId, id: u64) {
        let Some(comparison) = self.checksums.running.remove(&(partition, id)) else {
            return;
        };
        let epoch: Epoch = self.epoch_of(partition);
        let replicas: Vec<(u64, Result<u64, String>)> = self
            .replicas_of(partition)
            .into_iter()
            .map(|replica| {
                let sum = comparison.sums.get(&replica).map(|sums| fold(sums));
                (replica.0, sum.ok_or_else(|| "no answer in time".to_owned()))
            })
            .collect();
        for ticket in comparison.tickets {
            if comparison.index == 0 {
                // Not even this replica came to the mark: another comparison may.
                self.park(ticket, false);
                continue;
            }
            let (index, replicas) = (comparison.index, replicas.clone());
            let result = Ok(Answer::Checksums { index, replicas });
            self.answer(ticket, Reply { epoch, result });
        }
        // Last: this very replica may stop, and with it the requests that it has not answered.
        let mark = (id, comparison.index);
        self.act_on_sums(partition, mark, &comparison.sums);
    }
}

/// What a primary calls its `count`th mark.
fn mark_id(primary: Office, count: u64) -> u64 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&primary.member.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&primary.incarnation.0.to_le_bytes());
    bytes[16..].copy_from_slice(&count.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// One number for a list of range checksums.
fn fold(sums: &[u64]) -> u64 {
    let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use tablestore_placement::Incarnation;

    use super::*;

    #[test]
    fn l26_marks_of_two_starts_of_a_node_are_never_the_same() {
        let start = |incarnation| Office {
            member: StorageId(3),
            incarnation: Incarnation(incarnation),
        };
        let ids: BTreeSet<u64> = (1..50)
            .flat_map(|incarnation| (1..50).map(move |count| mark_id(start(incarnation), count)))
            .collect();
        assert_eq!(ids.len(), 49 * 49);
    }
}
