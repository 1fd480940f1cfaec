//! Comparing replicas: a mark in the log, a checksum of ranges at that index on every replica.
//!
//! The primary collects; what follows from a difference is decided in `mismatch`. Knows nothing
//! of what the rows mean.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tablestore_placement::{Epoch, Office, PartitionId, StorageId};
use tablestore_replication::Input;
use tablestore_store::engine::Checksums as Sums;

use super::event::Event;
use super::plane::{Plane, Ports};
use super::request::{Answer, Reply};
use crate::wire::DataMessage;

/// A comparison that is not complete after this long is answered as it is.
const COMPARE_WITHIN: Duration = Duration::from_secs(5);

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
    /// The last sums of each replica of this node, and the mark (id and index) they were taken at.
    pub(super) taken: BTreeMap<PartitionId, ((u64, u64), Sums)>,
}

impl Ports {
    /// This replica has applied exactly up to the mark.
    pub(super) fn checksum_due(&self, partition: PartitionId, id: u64, index: u64) {
        let (engine, sender) = (Arc::clone(&self.engine), self.sender.clone());
        let number = partition.to_u64();
        let Ok(snapshot) = engine.snapshot(number) else {
            return;
        };
        self.workers.upkeep(move || {
            match tablestore_store::engine::checksum_of(snapshot.as_ref()) {
                Ok(sums) => {
                    sender.send_blocking(Event::ChecksumTaken {
                        partition,
                        id,
                        index,
                        sums,
                    });
                }
                Err(error) => {
                    let what = "a checksum failed";
                    sender.send_blocking(Event::Met {
                        partition,
                        error,
                        what,
                    });
                }
            }
        });
    }
}

impl Plane {
    pub(super) fn begin_checksum(&mut self, partition: PartitionId, ticket: u64) {
        let id = self.start_comparison(partition, vec![ticket]);
        self.feed(partition, Input::Checksum { id });
    }

    fn start_comparison(&mut self, partition: PartitionId, tickets: Vec<u64>) -> u64 {
        let begun = self.ports.now();
        let checksums = &mut self.ports.checksums;
        checksums.next += 1;
        // Unlike any other: a later primary, or a later start of this one, must not take an older
        // mark for its own.
        let id = mark_id(self.ports.me, checksums.next);
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
    pub(super) fn begin_checksums(&mut self, now: Duration) {
        self.end_late_comparisons(now);
        let every = self.ports.settings.checksum_every;
        let me = self.ports.me;
        let serving = self.replicas.iter().filter(|(_, h)| h.stopped.is_none());
        let due = serving.map(|(id, _)| *id).find(|partition| {
            let primary = self
                .ports
                .map
                .assignment(*partition)
                .and_then(|a| a.primary);
            let last = self.ports.checksums.compared_at.get(partition).copied();
            primary == Some(me) && now > last.unwrap_or_default() + every
        });
        if let Some(partition) = due {
            let id = self.start_comparison(partition, Vec::new());
            self.feed(partition, Input::Checksum { id });
        }
    }

    pub(super) fn checksum_taken(
        &mut self,
        partition: PartitionId,
        id: u64,
        index: u64,
        sums: Sums,
    ) {
        let me = self.ports.me.member;
        let words = sums.to_words();
        self.ports
            .checksums
            .taken
            .insert(partition, ((id, index), sums));
        let sums = words;
        let primary = self
            .ports
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
                self.ports.links.tell(primary, &message);
            }
            _ => self.checksum_from(me, partition, id, index, sums),
        }
    }

    pub(super) fn checksum_from(
        &mut self,
        from: StorageId,
        partition: PartitionId,
        id: u64,
        index: u64,
        sums: Vec<u64>,
    ) {
        let Some(comparison) = self.ports.checksums.running.get_mut(&(partition, id)) else {
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
            .ports
            .checksums
            .running
            .get(&(partition, id))
            .is_some_and(|c| replicas.iter().all(|replica| c.sums.contains_key(replica)));
        if complete {
            self.end_comparison(partition, id);
        }
    }

    /// There is no mark: whoever waits for the comparison waits for another one.
    pub(super) fn checksum_refused(&mut self, partition: PartitionId, id: u64) {
        let comparison = self.ports.checksums.running.remove(&(partition, id));
        for ticket in comparison.into_iter().flat_map(|one| one.tickets) {
            self.park(ticket, false);
        }
    }

    fn end_late_comparisons(&mut self, now: Duration) {
        let late: Vec<_> = self
            .ports
            .checksums
            .running
            .iter()
            .filter(|(_, comparison)| comparison.begun + COMPARE_WITHIN < now)
            .map(|(key, _)| *key)
            .collect();
        for (partition, id) in late {
            self.end_comparison(partition, id);
        }
    }

    fn end_comparison(&mut self, partition: PartitionId, id: u64) {
        let Some(comparison) = self.ports.checksums.running.remove(&(partition, id)) else {
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
        let ids: std::collections::BTreeSet<u64> = (1..50)
            .flat_map(|incarnation| (1..50).map(move |count| mark_id(start(incarnation), count)))
            .collect();
        assert_eq!(ids.len(), 49 * 49);
    }
}
