//! Opening what the node stored: journal and rows, and what each replica starts from.

use std::collections::{BTreeMap, BTreeSet};

use tablestore_placement::{Epoch, PartitionId};
use tablestore_replication::{Entry, EpochStartsAt, Outcome, PartitionMeta, Recovered};
use tablestore_store::engine::EngineError;
use tablestore_store::journal::ReadError;
use tablestore_store::{Engine, JournalReader, Meta};

use crate::active::CLOCK_PARTITION;
use crate::apply::{Pieces, apply_entries, decode_remembered};
use crate::mutant::{Mutant, Sabotage};
use crate::seen::Watched;

/// All that a node found on its disks.
#[derive(Debug, Default)]
pub struct Stored {
    /// By number of the partition.
    pub(crate) partitions: BTreeMap<u64, RecoveredPartition>,
    /// Nothing was stamped above it for an active table.
    pub(crate) clock_bound_ms: u64,
    /// What tests see of the replay.
    pub(crate) watched: Watched,
}

impl Stored {
    /// What each partition starts from, by its number.
    #[must_use]
    pub fn partitions(&self) -> &BTreeMap<u64, RecoveredPartition> {
        &self.partitions
    }
}

/// Why what is stored cannot be used. Nothing was changed but in memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// The rows cannot be opened.
    #[error(transparent)]
    Rows(#[from] EngineError),
}

/// What a replica starts from.
#[derive(Debug)]
pub struct RecoveredPartition {
    pub(crate) state: Recovered,
    /// Remembered results up to this index are in the engine's files.
    pub(crate) remembered_until: u64,
    /// The last indexes of the side records that hold them.
    pub(crate) pieces: Pieces,
    /// The engine has it open.
    pub(crate) is_open: bool,
    /// Why it is not to be used; then nothing else of it was read.
    pub(crate) stopped: Option<Unusable>,
}

/// Why a replica is not to be used.
#[derive(Debug, Clone)]
pub(crate) struct Unusable {
    pub(crate) why: String,
    /// Its files are damaged or do not belong together: it is built anew from the others by itself.
    /// Otherwise an earlier start stopped it, and it is built anew by order.
    pub(crate) broken: bool,
}

impl RecoveredPartition {
    pub(crate) fn empty() -> Self {
        Self {
            state: Recovered::empty(),
            remembered_until: 0,
            pieces: Pieces::default(),
            is_open: false,
            stopped: None,
        }
    }

    /// Nothing but the adopted epoch, which binds whatever becomes of the rows.
    pub(crate) fn adopted(epoch: Epoch) -> Self {
        let mut empty = Self::empty();
        empty.state.meta.adopted = epoch;
        empty
    }

    /// Its adopted epoch, last index and commit index as the journal has them.
    #[must_use]
    pub fn meta(&self) -> &PartitionMeta {
        &self.state.meta
    }

    /// Why it is not to be used, if it is not.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        self.stopped.as_ref().map(|found| found.why.as_str())
    }

    /// Why it is not to be used, if its files are damaged or do not belong together: it is built
    /// anew from the others by itself.
    #[must_use]
    pub fn broken_because(&self) -> Option<&str> {
        let broken = self.stopped.as_ref().filter(|found| found.broken);
        broken.map(|found| found.why.as_str())
    }

    /// One that is not to be used and is built anew from the others.
    pub(crate) fn broken(adopted: Epoch, why: String) -> Self {
        let stopped = Some(Unusable { why, broken: true });
        Self {
            stopped,
            ..Self::adopted(adopted)
        }
    }
}

/// Reads what each replica starts from, and applies what was known to be committed when the
/// process ended. `broken` partitions are those whose rows cannot be read, `stopped` those that an
/// earlier start stopped, each with the reason; `place` says where the rows of a partition lie.
/// Blocks.
///
/// # Errors
/// If a file cannot be read: the error names it, nothing is emptied.
pub fn recover<E: Engine>(
    engine: &E,
    reader: &JournalReader,
    broken: &BTreeMap<u64, String>,
    stopped: &BTreeMap<u64, String>,
    place: &dyn Fn(u64) -> String,
) -> Result<Stored, RecoverError> {
    read_stored(Sabotage::default(), engine, reader, broken, stopped, place)
}

/// [`recover`] with a deliberate fault.
///
/// # Errors
/// As [`recover`].
#[cfg(feature = "mutants")]
pub fn recover_with<E: Engine>(
    mutant: Option<Mutant>,
    engine: &E,
    reader: &JournalReader,
    broken: &BTreeMap<u64, String>,
    stopped: &BTreeMap<u64, String>,
    place: &dyn Fn(u64) -> String,
) -> Result<Stored, RecoverError> {
    read_stored(Sabotage { mutant }, engine, reader, broken, stopped, place)
}

fn read_stored<E: Engine>(
    sabotage: Sabotage,
    engine: &E,
    reader: &JournalReader,
    broken: &BTreeMap<u64, String>,
    stopped: &BTreeMap<u64, String>,
    place: &dyn Fn(u64) -> String,
) -> Result<Stored, RecoverError> {
    let mut partitions = BTreeMap::new();
    let known = reader.partitions().into_iter().chain(engine.partitions());
    let known = known.filter(|partition| *partition != CLOCK_PARTITION);
    let known: BTreeSet<u64> = known.chain(broken.keys().copied()).collect();
    let clock = reader.meta(CLOCK_PARTITION);
    for partition in known {
        let meta = reader.meta(partition);
        let adopted = Epoch(meta.as_ref().map_or(0, |meta| meta.adopted));
        let found = if let Some(why) = broken.get(&partition) {
            RecoveredPartition::broken(adopted, why.clone())
        } else if let Some(why) = stopped.get(&partition) {
            engine.open_partition(partition)?;
            RecoveredPartition {
                stopped: Some(Unusable {
                    why: why.clone(),
                    broken: false,
                }),
                ..RecoveredPartition::adopted(adopted)
            }
        } else {
            engine.open_partition(partition)?;
            let meta = meta.unwrap_or_default();
            match recover_one(sabotage, engine, reader, place, partition, &meta) {
                Ok(found) => found,
                Err(why) => RecoveredPartition::broken(adopted, why),
            }
        };
        partitions.insert(partition, found);
    }
    let replay = Replay::new(engine, &mut partitions);
    let watched = replay.run(reader)?;
    Ok(Stored {
        partitions,
        clock_bound_ms: clock.map_or(0, |meta| meta.adopted),
        watched,
    })
}

/// What one partition starts from, or why it is not to be used.
fn recover_one<E: Engine>(
    sabotage: Sabotage,
    engine: &E,
    reader: &JournalReader,
    place: &dyn Fn(u64) -> String,
    partition: u64,
    meta: &Meta,
) -> Result<RecoveredPartition, String> {
    let mut applied = engine.applied(partition);
    let first = reader.first_index(partition).unwrap_or(meta.end + 1);
    if sabotage.has(Mutant::ReplicaWithGapServed) {
        applied = applied.max(first.saturating_sub(1)).min(meta.end);
    }
    if applied > meta.end || applied + 1 < first {
        // Files were lost, or a copy was being switched in when the process ended.
        return Err(format!(
            "{}.*: the rows end with entry {applied}, but the journal has entries {first} to {}: \
             what is between them is lost",
            place(partition),
            meta.end
        ));
    }
    let records = engine
        .side_records(partition)
        .map_err(|error| error.to_string())?;
    let remembered = decode_remembered(&records, applied)
        .map_err(|error| format!("{}.*: {error}", place(partition)))?;
    let history = meta.history.iter().map(|&(epoch, index)| EpochStartsAt {
        epoch: Epoch(epoch),
        index,
    });
    let meta = PartitionMeta {
        adopted: Epoch(meta.adopted),
        end: meta.end,
        history: history.collect(),
        commit: meta.commit,
    };
    Ok(RecoveredPartition {
        state: Recovered {
            meta,
            first,
            applied,
            remembered,
        },
        remembered_until: applied,
        pieces: Pieces::among(&records),
        is_open: true,
        stopped: None,
    })
}

/// Entries of one partition that are applied at once.
const REPLAY_BATCH: usize = 256;

/// Applying what was known to be committed when the process ended, before the node says that it
/// is there: a replica that still has much to apply could not serve when it became primary.
struct Replay<'a, E> {
    engine: &'a E,
    partitions: &'a mut BTreeMap<u64, RecoveredPartition>,
    waiting: BTreeMap<u64, Vec<Entry>>,
    watched: Watched,
}

impl<'a, E: Engine> Replay<'a, E> {
    fn new(engine: &'a E, partitions: &'a mut BTreeMap<u64, RecoveredPartition>) -> Self {
        let mut watched = Watched::early();
        for (partition, found) in partitions.iter() {
            watched.opened(PartitionId::from_u64(*partition), found.state.applied);
        }
        Self {
            engine,
            partitions,
            watched,
            waiting: BTreeMap::new(),
        }
    }

    fn run(mut self, reader: &JournalReader) -> Result<Watched, RecoverError> {
        let wanted: BTreeMap<u64, _> = self
            .partitions
            .iter()
            .map(|(partition, found)| (*partition, &found.state))
            .filter(|(_, state)| state.applied < state.meta.commit)
            .map(|(partition, state)| (partition, state.applied + 1..=state.meta.commit))
            .collect();
        let count: u64 = wanted.values().map(|one| one.end() - one.start() + 1).sum();
        reader.replay::<RecoverError>(&wanted, &mut |partition, read| {
            let waiting = self.waiting.entry(partition).or_default();
            waiting.push(Entry {
                epoch: Epoch(read.epoch),
                index: read.index,
                data: read.data,
            });
            if waiting.len() == REPLAY_BATCH {
                self.apply(partition)?;
            }
            Ok(())
        })?;
        for partition in wanted.into_keys() {
            self.apply(partition)?;
        }
        if count > 0 {
            tracing::info!(entries = count, "applied what the journal had");
        }
        Ok(self.watched)
    }

    fn apply(&mut self, partition: u64) -> Result<(), RecoverError> {
        let entries = std::mem::take(self.waiting.entry(partition).or_default());
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let found = self.partitions.get_mut(&partition);
        let found = found.expect("only known partitions are replayed");
        if found.stopped.is_some() {
            return Ok(());
        }
        let applied = apply_entries(self.engine, PartitionId::from_u64(partition), &entries);
        let results = match applied {
            Ok(results) => results,
            Err(error) => {
                let adopted = found.state.meta.adopted;
                *found = RecoveredPartition::broken(adopted, error.to_string());
                return Ok(());
            }
        };
        self.watched
            .applied(PartitionId::from_u64(partition), &entries, &results);
        let state = &mut found.state;
        state.applied = last.index;
        let outcomes: BTreeMap<u64, Outcome> = results.into_iter().collect();
        state.remembered.extend(
            entries
                .iter()
                .filter_map(|entry| Some((entry, *outcomes.get(&entry.index)?)))
                .filter_map(|(entry, outcome)| entry.remembered(outcome)),
        );
        Ok(())
    }
}
