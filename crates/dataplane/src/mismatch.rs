//! Replicas that differ: who of them is wrong, and how a wrong one stops.
//!
//! The primary judges and tells those that it found wrong what would have been right; a replica
//! stops only after it has seen for itself that its own sums are others. Knows nothing of how
//! the sums were collected.

use std::collections::BTreeMap;

use tablestore_placement::{PartitionId, StorageId};
use tablestore_replication::Input;
use tablestore_store::engine::{Checksums, EngineError};
use tablestore_store::{Engine, key};

use crate::effects::Notice;
use crate::job::Work;
use crate::plane::Plane;
use crate::wire::DataMessage;

/// What an operator can do about a replica that has stopped.
const REMEDY: &str = "restart its node with --rebuild-stopped to build it anew from the primary";

/// What follows from the sums of all replicas that answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// All are the same.
    Equal,
    /// They differ, and nobody can say who is right.
    Undecided,
    /// These have other sums than the right ones.
    Wrong {
        right: Vec<u64>,
        wrong: Vec<StorageId>,
    },
}

/// The majority of three or more is right; of a partition with two replicas, the primary, because
/// what clients were told came from it. Anything else is left to the next comparison: to stop the
/// wrong one would spread the damage when the right one is built anew from it.
pub(crate) fn judge(
    sums: &BTreeMap<StorageId, Vec<u64>>,
    primary: StorageId,
    replicas: usize,
) -> Judgement {
    let mut votes: BTreeMap<&Vec<u64>, usize> = BTreeMap::new();
    for words in sums.values() {
        *votes.entry(words).or_default() += 1;
    }
    if votes.len() < 2 {
        return Judgement::Equal;
    }
    let majority = votes.iter().find(|(_, count)| **count * 2 > sums.len());
    let right = match majority {
        Some((words, _)) => Some(*words),
        None if replicas == 2 => sums.get(&primary),
        None => None,
    };
    let Some(right) = right else {
        return Judgement::Undecided;
    };
    let wrong = sums.iter().filter(|(_, words)| *words != right);
    Judgement::Wrong {
        right: right.clone(),
        wrong: wrong.map(|(storage, _)| *storage).collect(),
    }
}

/// The ranges of `mine` that differ, for people: their numbers and the keys that bound them.
fn ranges(mine: &Checksums, right: &[u64]) -> String {
    let differing = mine.differing(right);
    if differing.is_empty() {
        return format!("all {} ranges", mine.ranges.len());
    }
    let named: Vec<String> = differing
        .into_iter()
        .map(|at| {
            let range = &mine.ranges[at];
            let (first, last) = (shown(&range.first), shown(&range.last));
            format!("range {at} ({first} to {last}, {} rows)", range.rows)
        })
        .collect();
    named.join(", ")
}

/// A row key for people.
fn shown(bytes: &[u8]) -> String {
    match key::decode_row_key(bytes) {
        Ok((partition, None)) => partition.to_text(),
        Ok((partition, Some(sort))) => format!("{}/{}", partition.to_text(), sort.to_text()),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

impl<E: Engine, W> Plane<E, W> {
    /// At the primary: acts on sums that were collected.
    pub(crate) fn act_on_sums(
        &mut self,
        partition: PartitionId,
        (id, index): (u64, u64),
        sums: &BTreeMap<StorageId, Vec<u64>>,
    ) {
        let me = self.me.member;
        let judgement = judge(sums, me, self.replicas_of(partition).len());
        if judgement == Judgement::Equal {
            return;
        }
        self.counts.mismatches += 1;
        let table = self.table_name(partition);
        let (right, wrong) = match judgement {
            Judgement::Wrong { right, wrong } => (right, wrong),
            _ => (Vec::new(), Vec::new()),
        };
        let names: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        tracing::error!(%table, %partition, index, wrong = ?names, "replicas differ");
        self.out.notices.push(Notice::ReplicasDiffer {
            partition,
            table,
            index,
            differ: names,
        });
        for storage in wrong {
            if storage == me {
                self.stop_differing(partition, index, &right);
                continue;
            }
            let message = DataMessage::Checksum {
                partition,
                id,
                index,
                sums: right.clone(),
            };
            self.links.tell(storage, &message);
            // It looks as if it kept up, but must not be taken into the in-sync set (again)
            // before it has greeted anew.
            self.feed(partition, Input::PeerDown(storage));
        }
    }

    /// At a backup: the primary says what the sums at a mark should have been.
    pub(crate) fn told_what_is_right(
        &mut self,
        from: StorageId,
        partition: PartitionId,
        (id, index): (u64, u64),
        right: &[u64],
    ) {
        let assignment = self.map.assignment(partition);
        if assignment.and_then(|a| a.primary_member()) != Some(from) {
            return;
        }
        let mine = self.checksums.taken.get(&partition);
        if mine.is_some_and(|(of, mine)| *of == (id, index) && mine.to_words() != right) {
            self.stop_differing(partition, index, right);
        }
    }

    fn stop_differing(&mut self, partition: PartitionId, index: u64, right: &[u64]) {
        let running = self.replicas.get(&partition);
        if running.is_none_or(|hosted| hosted.stopped.is_some()) {
            return;
        }
        let mine = self.checksums.taken.get(&partition);
        let ranges = mine.map_or_else(String::new, |(_, mine)| ranges(mine, right));
        let table = self.table_name(partition);
        let why = format!(
            "table {table}, partition {}: at index {index} it differs from the other replicas in \
             {ranges}; {REMEDY}",
            partition.partition
        );
        self.stop_for_good(partition, why);
    }

    /// An error was met in the files of a replica. A full disk is none of its own: the same is
    /// tried again. With damaged files it stops, as one that differs does.
    pub(crate) fn met(&mut self, partition: PartitionId, error: &EngineError, what: &str) {
        let source = std::error::Error::source(error);
        let source = source.map_or_else(String::new, |source| format!(": {source}"));
        tracing::error!(%partition, "{what}: {error}{source}");
        let running = self.replicas.get(&partition);
        if !error.is_damage() || running.is_none_or(|hosted| hosted.stopped.is_some()) {
            return;
        }
        let table = self.table_name(partition);
        let why = format!(
            "table {table}, partition {}: {what}: {error}{source}; {REMEDY}",
            partition.partition
        );
        self.stop_for_good(partition, why);
    }

    /// The replica stops, also for the starts to come.
    fn stop_for_good(&mut self, partition: PartitionId, why: String) {
        let note = why.clone();
        self.begin(Work::Note {
            partition,
            why: note,
        });
        self.halted(partition, why);
    }

    /// The name of the table that a partition belongs to.
    fn table_name(&self, partition: PartitionId) -> String {
        let table = self.map.tables.get(&partition.table);
        table.map_or_else(|| partition.table.to_string(), |table| table.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(of: &[(u64, u64)]) -> BTreeMap<StorageId, Vec<u64>> {
        of.iter()
            .map(|&(storage, sum)| (StorageId(storage), vec![sum]))
            .collect()
    }

    fn wrong(right: u64, wrong: &[u64]) -> Judgement {
        Judgement::Wrong {
            right: vec![right],
            wrong: wrong.iter().copied().map(StorageId).collect(),
        }
    }

    #[test]
    fn o25_the_majority_is_right_and_of_two_replicas_the_primary() {
        let primary = StorageId(1);
        let equal = sums(&[(1, 7), (2, 7), (3, 7)]);
        assert_eq!(judge(&equal, primary, 3), Judgement::Equal);
        let backup = sums(&[(1, 7), (2, 8), (3, 7)]);
        assert_eq!(judge(&backup, primary, 3), wrong(7, &[2]));
        let office = sums(&[(1, 9), (2, 7), (3, 7)]);
        assert_eq!(judge(&office, primary, 3), wrong(7, &[1]));
        let two = sums(&[(1, 7), (2, 8)]);
        assert_eq!(judge(&two, primary, 2), wrong(7, &[2]));
        // The third did not answer: it may know who is right.
        assert_eq!(judge(&two, primary, 3), Judgement::Undecided);
        let all_differ = sums(&[(1, 7), (2, 8), (3, 9)]);
        assert_eq!(judge(&all_differ, primary, 3), Judgement::Undecided);
        let halves = sums(&[(1, 7), (2, 7), (3, 8), (4, 8)]);
        assert_eq!(judge(&halves, primary, 4), Judgement::Undecided);
        assert_eq!(judge(&sums(&[]), primary, 3), Judgement::Equal);
    }

    #[test]
    fn o25_the_range_that_differs_is_named_with_its_keys() {
        let mut engine_rows: BTreeMap<bytes::Bytes, bytes::Bytes> = (0..100)
            .map(|row| {
                let key = tablestore_store::KeyValue::String(format!("k{row:03}"));
                (key::encode_row_key(&key, None).into(), "v".into())
            })
            .collect();
        let sum =
            |rows: &BTreeMap<_, _>| tablestore_store::engine::checksum_of_rows(9, rows.iter());
        let right = sum(&engine_rows).to_words();
        let changed = key::encode_row_key(&tablestore_store::KeyValue::String("k050".into()), None);
        engine_rows.insert(changed.into(), "w".into());
        let named = ranges(&sum(&engine_rows), &right);
        assert!(
            named.starts_with("range ") && !named.contains(", range"),
            "{named}"
        );
        assert!(named.contains("(k0"), "{named}");
        assert_eq!(ranges(&sum(&BTreeMap::new()), &right), "all 0 ranges");
    }
}
