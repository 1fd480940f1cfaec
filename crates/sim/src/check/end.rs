//! The end of a run: what replicas hold at rest, and every attempt that was left open. Knows
//! nothing of answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_placement::PartitionId;
use tablestore_replication::Remembered;

use super::asked::Asked;
use super::log::PartitionLog;
use super::rule::{Breach, Rule};
use super::{Check, OpId, ProcessId};

/// What a replica holds when all is at rest.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The index that it has applied.
    pub(crate) applied: u64,
    /// All its rows, in order of key.
    pub(crate) rows: Vec<(Bytes, Bytes)>,
    /// What it remembers, in order of index, if that was looked at.
    pub(crate) remembered: Option<Vec<Remembered>>,
}

impl Check {
    /// A replica is at rest: it must be complete.
    pub(crate) fn final_state(
        &mut self,
        now: u64,
        process: ProcessId,
        partition: PartitionId,
        rest: &Rest,
    ) {
        if self.violation.is_some() {
            return;
        }
        let log = self.logs.entry(partition).or_default();
        if let Err((key, breach)) = judge_rest(log, process, rest) {
            self.violate(now, partition, key, None, breach);
        }
    }

    /// All is over: every open attempt is closed by what is in the log.
    pub(crate) fn finish(&mut self, now: u64) {
        if self.violation.is_some() {
            return;
        }
        if let Some((partition, op, breach)) = self.refused_but_applied() {
            let key = self.operations[op.0 as usize].asked.key().cloned();
            return self.violate(now, partition, key, Some(op), breach);
        }
        for operation in &self.operations {
            if operation.answered.is_some() {
                continue;
            }
            self.counts.open += 1;
            let Asked::Write {
                partition, request, ..
            } = &operation.asked
            else {
                continue;
            };
            let log = self.logs.get(partition);
            let is_there = log.is_some_and(|log| !log.indexes_of(*request).is_empty());
            self.counts.open_applied += u64::from(is_there);
        }
    }

    /// A write that was refused as certainly not applied, and that is in the log all the same.
    fn refused_but_applied(&self) -> Option<(PartitionId, OpId, Breach)> {
        for attempt in &self.attempts {
            let partition = self.operations[attempt.op.0 as usize].asked.partition();
            let log = self.logs.get(&partition);
            if !attempt.is_certainly_not_applied() {
                continue;
            }
            for (epoch, index) in &attempt.appended {
                let fact = log.and_then(|log| log.fact(*index));
                if fact.is_some_and(|fact| fact.entry.epoch == *epoch) {
                    let words = format!("an attempt was refused and is at index {index}");
                    return Some((partition, attempt.op, (Rule::NotApplied, words)));
                }
            }
        }
        for (partition, request, body) in self.requests.all() {
            let Some(log) = self.logs.get(&partition) else {
                continue;
            };
            let is_own = |index: &&u64| log.has_at(**index, body.digest, None);
            let own = log.indexes_of(request).iter().filter(is_own);
            let Some(index) = own.last() else { continue };
            let ops = body.ops.iter().map(|op| &self.operations[op.0 as usize]);
            let mut attempts = ops.flat_map(|operation| &operation.attempts);
            if attempts.all(|id| self.attempts[id.0 as usize].is_certainly_not_applied()) {
                let words = format!("all attempts were refused, but it is at index {index}");
                return Some((partition, body.ops[0], (Rule::NotApplied, words)));
            }
        }
        None
    }
}

fn judge_rest(
    log: &PartitionLog,
    process: ProcessId,
    rest: &Rest,
) -> Result<(), (Option<Bytes>, Breach)> {
    let copies = |key: Option<&Bytes>, words: String| Err((key.cloned(), (Rule::Copies, words)));
    if rest.applied != log.progress(process) {
        let words = format!(
            "{process} says it has applied {}, it was seen to apply {}",
            rest.applied,
            log.progress(process)
        );
        return Err((None, (Rule::Gap, words)));
    }
    if rest.applied != log.last() {
        return copies(
            None,
            format!(
                "{process} is at {}, the log at {}",
                rest.applied,
                log.last()
            ),
        );
    }
    let mut held: BTreeMap<&Bytes, &Bytes> = BTreeMap::new();
    for (key, row) in &rest.rows {
        if held.insert(key, row).is_some() {
            return copies(Some(key), format!("{process} has a row twice"));
        }
    }
    for (key, row) in log.rows() {
        match held.remove(key) {
            Some(found) if found == row => {}
            Some(_) => return copies(Some(key), format!("{process} has another row")),
            None => return copies(Some(key), format!("{process} lacks a row")),
        }
    }
    if let Some(key) = held.keys().next() {
        return copies(Some(key), format!("{process} has a row too many"));
    }
    match &rest.remembered {
        Some(kept) => log
            .check_memory(process, kept)
            .map_err(|breach| (None, breach)),
        None => Ok(()),
    }
}
