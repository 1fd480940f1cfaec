//! A model of the journal and a seeded workload. Knows nothing of files.

use std::collections::BTreeMap;

use super::super::*;
use super::read_all;

/// A small generator, so that one seed is one run.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Log {
    meta: Meta,
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
}

type State = BTreeMap<u64, Log>;

/// Random records, and the state of the model after each of them.
#[derive(Debug)]
pub(super) struct Workload {
    random: Random,
    states: Vec<State>,
    /// How many records are acknowledged.
    acknowledged: usize,
    /// Below these the journal may have dropped entries.
    checkpoints: BTreeMap<u64, u64>,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            states: vec![State::new()],
            acknowledged: 0,
            checkpoints: BTreeMap::new(),
        }
    }

    /// Pushes and commits until the journal fails or `commits` are done.
    pub(super) fn run(
        &mut self,
        writer: &mut JournalWriter,
        commits: u64,
    ) -> Result<(), JournalFailed> {
        for _ in 0..commits {
            for _ in 0..=self.random.below(4) {
                let state = self.push(writer);
                self.states.push(state);
            }
            writer.commit()?;
            self.acknowledged = self.states.len() - 1;
            if self.random.below(6) == 0 {
                self.recycle(writer);
            }
        }
        Ok(())
    }

    fn push(&mut self, writer: &mut JournalWriter) -> State {
        let mut state = self.states.last().cloned().unwrap_or_default();
        let partition = self.random.below(3);
        let log = state.entry(partition).or_default();
        match self.random.below(20) {
            0 => {
                let end = log.meta.end - self.random.below(4).min(log.entries.len() as u64);
                log.meta.end = end;
                log.meta.adopted += 1;
                log.meta.history.retain(|(_, index)| *index <= end);
                log.entries.retain(|index, _| *index <= end);
                writer.push_meta(partition, &log.meta);
            }
            1 => {
                log.meta.end += self.random.below(9);
                if log.meta.end
                    > log
                        .entries
                        .keys()
                        .next_back()
                        .copied()
                        .unwrap_or(log.meta.end)
                {
                    log.entries.clear();
                }
                log.meta.commit = log.meta.end;
                writer.push_meta(partition, &log.meta);
            }
            2 => {
                state.remove(&partition);
                writer.push_forget(partition);
            }
            _ => {
                let index = log.meta.end + 1;
                let size = match self.random.below(30) {
                    0 => 30_000,
                    1..5 => 5000,
                    _ => 200,
                };
                let data = vec![self.random.below(256) as u8; self.random.below(size) as usize];
                let epoch = log.meta.adopted.max(1);
                writer.push_entry(partition, epoch, index, &data);
                log.meta.end = index;
                log.meta.adopted = epoch;
                if log
                    .meta
                    .history
                    .last()
                    .is_none_or(|(last, _)| *last < epoch)
                {
                    log.meta.history.push((epoch, index));
                }
                log.entries.insert(index, (epoch, data));
            }
        }
        state
    }

    fn recycle(&mut self, writer: &mut JournalWriter) {
        let state = self.states.last().cloned().unwrap_or_default();
        for (partition, log) in &state {
            let back = self.random.below(10);
            let checkpoint = self.checkpoints.entry(*partition).or_default();
            *checkpoint = (*checkpoint).max(log.meta.end.saturating_sub(back));
        }
        let checkpoints = self.checkpoints.clone();
        writer.recycle(|partition| checkpoints.get(&partition).copied());
    }

    /// How many records are acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Only so many records are acknowledged after all.
    pub(super) fn doubt_after(&mut self, acknowledged: usize) {
        self.acknowledged = acknowledged;
    }

    /// The journal holds exactly what was acknowledged.
    pub(super) fn check_exact(&self, reader: &JournalReader) {
        assert_eq!(self.acknowledged, self.states.len() - 1);
        self.check_state(reader, self.acknowledged)
            .unwrap_or_else(|why| panic!("{why}"));
    }

    /// After a crash the journal holds what was acknowledged, and perhaps more of what was
    /// pushed, but no other state. Goes on from there.
    pub(super) fn check_after_crash(&mut self, reader: &JournalReader) {
        let found =
            (self.acknowledged..self.states.len()).find(|at| self.check_state(reader, *at).is_ok());
        let Some(at) = found else {
            panic!("{:?}", self.check_state(reader, self.acknowledged));
        };
        self.states.truncate(at + 1);
        self.acknowledged = at;
    }

    /// After a crash that lost acknowledged records the journal still holds some past state.
    pub(super) fn check_prefix(&self, reader: &JournalReader) -> usize {
        let found = (0..self.states.len())
            .rev()
            .find(|at| self.check_state(reader, *at).is_ok());
        found.unwrap_or_else(|| panic!("no state of the past"))
    }

    fn check_state(&self, reader: &JournalReader, at: usize) -> Result<(), String> {
        let state = &self.states[at];
        let partitions: Vec<u64> = state.keys().copied().collect();
        if reader.partitions() != partitions {
            return Err(format!(
                "partitions {:?}, not {partitions:?}",
                reader.partitions()
            ));
        }
        for (partition, log) in state {
            let meta = reader.meta(*partition);
            if meta.as_ref() != Some(&log.meta) {
                return Err(format!(
                    "partition {partition}: {meta:?}, not {:?}",
                    log.meta
                ));
            }
            let entries = read_all(reader, *partition);
            let first = reader.first_index(*partition).unwrap();
            let checkpoint = self.checkpoints.get(partition).copied().unwrap_or(0);
            let wanted = log.entries.range(first..);
            let wanted: Vec<_> = wanted
                .map(|(index, (epoch, data))| (*epoch, *index, data.clone()))
                .collect();
            if entries != wanted {
                return Err(format!("partition {partition}: other entries from {first}"));
            }
            if log
                .entries
                .range(..first)
                .any(|(index, _)| *index > checkpoint)
            {
                return Err(format!(
                    "partition {partition}: entries before {first} are missing"
                ));
            }
        }
        Ok(())
    }
}
