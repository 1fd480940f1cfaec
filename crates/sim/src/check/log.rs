//! The log of one partition as its replicas applied it, replayed through the naive model: for every
//! key all it ever was. Knows nothing of clients.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use tablestore_replication::{Entry, EntryBody, Outcome, Remembered, RequestId};
use tablestore_store::Mutation;

use super::ProcessId;
use super::model::{self, Row};
use super::rule::{Breach, Rule};

/// How long replicas remember requests: by the log's time, and so many at the least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) remember_for_ms: u64,
    pub(crate) kept_min: usize,
}

impl Default for Memory {
    /// For ever.
    fn default() -> Self {
        Self {
            remember_for_ms: u64::MAX,
            kept_min: usize::MAX,
        }
    }
}

/// An entry as it was first applied.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) entry: Entry,
    /// Of a write.
    pub(crate) outcome: Option<Outcome>,
}

/// A change of a row.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) index: u64,
    /// The row from here on, as stored.
    pub(crate) row: Option<Bytes>,
}

/// What is known of a partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionLog {
    facts: Vec<Fact>,
    rows: BTreeMap<Bytes, Row>,
    chains: BTreeMap<Bytes, Vec<Change>>,
    by_request: BTreeMap<u128, Vec<u64>>,
    remembered: VecDeque<Remembered>,
    newest_ms: u64,
    progress: BTreeMap<ProcessId, u64>,
}

impl PartitionLog {
    /// The last index that anybody applied.
    pub(crate) fn last(&self) -> u64 {
        self.facts.len() as u64
    }

    /// What is at an index.
    pub(crate) fn fact(&self, index: u64) -> Option<&Fact> {
        self.facts.get(index.checked_sub(1)? as usize)
    }

    /// Where a request is in the log.
    pub(crate) fn indexes_of(&self, request: u128) -> &[u64] {
        self.by_request.get(&request).map_or(&[], |indexes| indexes)
    }

    /// Whether at an index is a write with this digest, and with this outcome if one is given.
    pub(crate) fn has_at(&self, index: u64, digest: u64, outcome: Option<Outcome>) -> bool {
        self.fact(index).is_some_and(|fact| {
            let is_it = request_of(&fact.entry).is_some_and(|(_, of)| of == digest);
            is_it && (outcome.is_none() || fact.outcome == outcome)
        })
    }

    /// How far a replica has applied.
    pub(crate) fn progress(&self, process: ProcessId) -> u64 {
        self.progress.get(&process).copied().unwrap_or(0)
    }

    /// A replica goes on from another index than the one it was at.
    pub(crate) fn move_to(&mut self, process: ProcessId, index: u64) -> Result<(), Breach> {
        if index > self.last() {
            let words = format!(
                "{process} goes on from index {index}, the last that anybody applied is {}",
                self.last()
            );
            return Err((Rule::Gap, words));
        }
        self.progress.insert(process, index);
        Ok(())
    }

    /// A replica applies an entry. Whether it is the first to do so.
    pub(crate) fn apply(
        &mut self,
        process: ProcessId,
        entry: &Entry,
        outcome: Option<Outcome>,
        memory: Memory,
    ) -> Result<bool, Breach> {
        let expected = self.progress(process) + 1;
        if entry.index != expected || entry.index > self.last() + 1 {
            let words = format!(
                "{process} applies index {}, {expected} is its next",
                entry.index
            );
            return Err((Rule::Gap, words));
        }
        self.progress.insert(process, entry.index);
        if let Some(known) = self.fact(entry.index) {
            agree(process, known, entry, outcome)?;
            return Ok(false);
        }
        self.replay(entry, outcome, memory)?;
        self.facts.push(Fact {
            entry: entry.clone(),
            outcome,
        });
        Ok(true)
    }

    fn replay(
        &mut self,
        entry: &Entry,
        outcome: Option<Outcome>,
        memory: Memory,
    ) -> Result<(), Breach> {
        let index = entry.index;
        let replay = |words: String| Err((Rule::Replay, words));
        let (log_ms, request, digest) = match entry.body() {
            EntryBody::Write {
                log_ms,
                request,
                digest,
                ..
            } => (log_ms, request, digest),
            EntryBody::Time { log_ms } => {
                self.newest_ms = self.newest_ms.max(log_ms);
                self.forget(memory);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let payload = entry.payload().unwrap_or_default();
        let Ok(mutation) = Mutation::decode(&payload) else {
            return replay(format!("the entry at index {index} is not a mutation"));
        };
        let Some(outcome) = outcome else {
            return replay(format!("the write at index {index} has no outcome"));
        };
        self.remember(
            Remembered {
                request,
                digest,
                index,
                log_ms,
                outcome,
            },
            memory,
        )?;
        let key = Bytes::copy_from_slice(key_of(&mutation));
        let step = model::step(self.rows.get(&key), &mutation, index);
        if (outcome.code, outcome.version) != (step.effect.number(), step.version) {
            return replay(format!(
                "the write of {} at index {index} came to {} and {}, by the model to {} and {}",
                key.escape_ascii(),
                outcome.code,
                outcome.version,
                step.effect.number(),
                step.version,
            ));
        }
        if let Some(row) = step.change {
            let encoded = row.as_ref().map(|row| Bytes::from(row.encode()));
            let chain = self.chains.entry(key.clone()).or_default();
            chain.push(Change {
                index,
                row: encoded,
            });
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        Ok(())
    }

    /// One more request was carried out; it must not be one that all replicas remember.
    fn remember(&mut self, new: Remembered, memory: Memory) -> Result<(), Breach> {
        let indexes = self.by_request.entry(new.request.0).or_default();
        let oldest = self.remembered.front().map_or(u64::MAX, |kept| kept.index);
        if let Some(before) = indexes.last().filter(|index| **index >= oldest) {
            let words = format!(
                "request {} is at index {before} and at index {}",
                new.request, new.index
            );
            return Err((Rule::OneEffect, words));
        }
        indexes.push(new.index);
        self.newest_ms = self.newest_ms.max(new.log_ms);
        self.remembered.push_back(new);
        self.forget(memory);
        Ok(())
    }

    fn forget(&mut self, memory: Memory) {
        let newest = self.newest_ms;
        let is_old =
            |kept: &mut Remembered| kept.log_ms.saturating_add(memory.remember_for_ms) < newest;
        while self.remembered.len() > memory.kept_min {
            if self.remembered.pop_front_if(is_old).is_none() {
                break;
            }
        }
    }

    /// All changes of a row, in order.
    pub(crate) fn chain(&self, key: &[u8]) -> &[Change] {
        self.chains.get(key).map_or(&[], |chain| chain)
    }

    /// The rows that there ever were between two keys.
    pub(crate) fn chains_within(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&Bytes, &[Change])> {
        let range = self.chains.range::<[u8], _>((from, to));
        range.map(|(key, chain)| (key, &chain[..]))
    }

    /// All rows as of the last index, as stored.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.chains.iter().filter_map(|(key, chain)| {
            let row = chain.last()?.row.as_ref()?;
            Some((key, row))
        })
    }

    /// What replicas remember must contain what all of them have to, and nothing made up.
    pub(crate) fn check_memory(&self, of: ProcessId, kept: &[Remembered]) -> Result<(), Breach> {
        let copies = |words: String| Err((Rule::Copies, words));
        for one in kept {
            let fact = self.fact(one.index);
            let known = fact.and_then(|fact| fact.entry.remembered(fact.outcome?));
            if known.as_ref() != Some(one) {
                return copies(format!(
                    "{of} remembers another answer to request {} at index {}",
                    one.request, one.index
                ));
            }
        }
        let oldest = self.remembered.front().map_or(u64::MAX, |one| one.index);
        let has = kept.iter().map(|one| one.index);
        let has: Vec<u64> = has.filter(|index| *index >= oldest).collect();
        if !self.remembered.iter().map(|one| one.index).eq(has) {
            return copies(format!(
                "{of} does not remember what was carried out from index {oldest} on"
            ));
        }
        Ok(())
    }
}

/// The change that a row was in at an index; `None` before its first.
pub(crate) fn change_at(chain: &[Change], index: u64) -> Option<usize> {
    chain
        .partition_point(|change| change.index <= index)
        .checked_sub(1)
}

/// Where the state that begins with a change ends: the index of the next.
pub(crate) fn end_of(chain: &[Change], at: usize) -> u64 {
    chain.get(at + 1).map_or(u64::MAX, |next| next.index)
}

/// The first index from `floor` on at which the row was absent.
pub(crate) fn absent_from(chain: &[Change], floor: u64) -> Option<u64> {
    let Some(at) = change_at(chain, floor) else {
        return Some(floor);
    };
    if chain[at].row.is_none() {
        return Some(floor);
    }
    let gone = |change: &&Change| change.row.is_none();
    chain[at..].iter().find(gone).map(|change| change.index)
}

/// The key of the row that a mutation changes.
pub(crate) fn key_of(mutation: &Mutation) -> &[u8] {
    match mutation {
        Mutation::Put { key, .. } | Mutation::Patch { key, .. } | Mutation::Delete { key, .. } => {
            key
        }
    }
}

/// The id and digest of a write.
pub(crate) fn request_of(entry: &Entry) -> Option<(RequestId, u64)> {
    match entry.body() {
        EntryBody::Write {
            request, digest, ..
        } => Some((request, digest)),
        _ => None,
    }
}

fn agree(
    process: ProcessId,
    known: &Fact,
    entry: &Entry,
    outcome: Option<Outcome>,
) -> Result<(), Breach> {
    let index = entry.index;
    if known.entry != *entry {
        let words = format!(
            "{process} applies index {index} of epoch {}, another applied that of epoch {}{}",
            entry.epoch,
            known.entry.epoch,
            match known.entry.epoch == entry.epoch {
                true => " with other bytes",
                false => "",
            }
        );
        return Err((Rule::Agreement, words));
    }
    if known.outcome != outcome {
        let words = format!(
            "{process} came to {outcome:?} at index {index}, another to {:?}",
            known.outcome
        );
        return Err((Rule::Agreement, words));
    }
    Ok(())
}
