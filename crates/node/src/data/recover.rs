//! Opening what the node stored: journal and rows, and what each replica starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tablestore_placement::{Epoch, PartitionId};
use tablestore_replication::{Entry, EpochStartsAt, Outcome, PartitionMeta, Recovered};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::{
    DataDirectory, Engine, Journal, JournalReader, JournalSettings, JournalWriter, LsmEngine,
    LsmSettings,
};

use super::apply::{Pieces, apply_entries, decode_remembered};
use crate::settings::NodeSettings;

/// What a replica starts from.
#[derive(Debug)]
pub(crate) struct RecoveredPartition {
    pub(crate) state: Recovered,
    /// Remembered results up to this index are in the engine's files.
    pub(crate) remembered_until: u64,
    /// The last indexes of the side records that hold them.
    pub(crate) pieces: Pieces,
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
            stopped: None,
        }
    }

    /// Nothing but the adopted epoch, which binds whatever becomes of the rows.
    pub(crate) fn adopted(epoch: Epoch) -> Self {
        let mut empty = Self::empty();
        empty.state.meta.adopted = epoch;
        empty
    }
}

impl RecoveredPartition {
    /// One that is not to be used and is built anew from the others.
    fn broken(adopted: Epoch, why: String) -> Self {
        let stopped = Some(Unusable { why, broken: true });
        Self {
            stopped,
            ..Self::adopted(adopted)
        }
    }
}

/// The opened store of a node.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) writer: JournalWriter,
    pub(crate) reader: JournalReader,
    pub(crate) recovered: BTreeMap<u64, RecoveredPartition>,
}

/// Opens journal and rows. Blocks; runs before the threads start.
///
/// # Errors
/// If a file is damaged, missing or of another format: the error names it, nothing is emptied.
pub(crate) fn open_storage(
    directory: &DataDirectory,
    settings: &NodeSettings,
) -> anyhow::Result<Storage> {
    let journal = JournalSettings {
        segment_bytes: settings.segment_bytes,
        segments_max: settings.segments_max,
        journal_id: directory.storage(),
    };
    let begun = Instant::now();
    let took = |what| tracing::debug!(ms = begun.elapsed().as_millis() as u64, "{what}");
    let mut metas = BTreeMap::new();
    let (writer, reader) = Journal::open(directory.journal(), &journal, &mut |_| {})?;
    for partition in reader.partitions() {
        metas.extend(reader.meta(partition).map(|meta| (partition, meta)));
    }
    took("the journal is open");
    let engine = LsmEngine::open(directory.rows(), &LsmSettings::default())?;
    took("the rows are open");
    let mut recovered = BTreeMap::new();
    let broken = engine.broken();
    let known = metas.keys().copied();
    let known: BTreeSet<u64> = known
        .chain(engine.partitions())
        .chain(broken.keys().copied())
        .collect();
    let stopped = StoppedReplicas::at(directory.path()).read()?;
    for partition in known {
        if let Some(why) = broken.get(&partition) {
            let adopted = metas.get(&partition).map_or(0, |meta| meta.adopted);
            recovered.insert(
                partition,
                RecoveredPartition::broken(Epoch(adopted), why.clone()),
            );
            continue;
        }
        if let Some(why) = stopped.get(&partition) {
            engine.open_partition(partition)?;
            let adopted = metas.get(&partition).map_or(0, |meta| meta.adopted);
            let mut found = RecoveredPartition::adopted(Epoch(adopted));
            found.stopped = Some(Unusable {
                why: why.clone(),
                broken: false,
            });
            recovered.insert(partition, found);
            continue;
        }
        let rows = directory.rows();
        let found = recover(&engine, &reader, &rows, partition, metas.get(&partition))?;
        recovered.insert(partition, found);
    }
    took("the remembered results are read");
    Replay::new(&engine, &mut recovered).run(&reader)?;
    took("the journal is replayed");
    Ok(Storage {
        engine: Arc::new(engine),
        writer,
        reader,
        recovered,
    })
}

fn recover(
    engine: &LsmEngine,
    reader: &JournalReader,
    rows: &Path,
    partition: u64,
    meta: Option<&tablestore_store::Meta>,
) -> anyhow::Result<RecoveredPartition> {
    engine.open_partition(partition)?;
    let meta = meta.cloned().unwrap_or_default();
    let applied = engine.applied(partition);
    let first = reader.first_index(partition).unwrap_or(meta.end + 1);
    let adopted = Epoch(meta.adopted);
    if applied > meta.end || applied + 1 < first {
        // Files were lost, or a copy was being switched in when the process ended.
        let why = format!(
            "{}.*: the rows end with entry {applied}, but the journal has entries {first} to {}: \
             what is between them is lost",
            folder(rows, partition),
            meta.end
        );
        return Ok(RecoveredPartition::broken(adopted, why));
    }
    let records = match engine.side_records(partition) {
        Ok(records) => records,
        Err(error) => return Ok(RecoveredPartition::broken(adopted, error.to_string())),
    };
    let remembered = match decode_remembered(&records, applied) {
        Ok(remembered) => remembered,
        Err(error) => {
            let why = format!("{}.*: {error}", folder(rows, partition));
            return Ok(RecoveredPartition::broken(adopted, why));
        }
    };
    let history = meta
        .history
        .iter()
        .map(|&(epoch, index)| EpochStartsAt {
            epoch: Epoch(epoch),
            index,
        })
        .collect();
    let meta = PartitionMeta {
        adopted,
        end: meta.end,
        history,
        commit: meta.commit,
    };
    let state = Recovered {
        meta,
        first,
        applied,
        remembered,
    };
    Ok(RecoveredPartition {
        state,
        remembered_until: applied,
        pieces: Pieces::among(&records),
        stopped: None,
    })
}

/// Where the rows of a partition lie, but for the number of their generation.
fn folder(rows: &Path, partition: u64) -> String {
    rows.join(format!("{partition:016x}")).display().to_string()
}

/// Entries of one partition that are applied at once.
const REPLAY_BATCH: usize = 256;

/// Applying what was known to be committed when the process ended, before the node says that it
/// is there: a replica that still has much to apply could not serve when it became primary.
struct Replay<'a> {
    engine: &'a dyn Engine,
    partitions: &'a mut BTreeMap<u64, RecoveredPartition>,
    waiting: BTreeMap<u64, Vec<Entry>>,
}

impl<'a> Replay<'a> {
    fn new(engine: &'a dyn Engine, partitions: &'a mut BTreeMap<u64, RecoveredPartition>) -> Self {
        Self {
            engine,
            partitions,
            waiting: BTreeMap::new(),
        }
    }

    fn run(mut self, reader: &JournalReader) -> anyhow::Result<()> {
        let wanted: BTreeMap<u64, _> = self
            .partitions
            .iter()
            .map(|(partition, found)| (*partition, &found.state))
            .filter(|(_, state)| state.applied < state.meta.commit)
            .map(|(partition, state)| (partition, state.applied + 1..=state.meta.commit))
            .collect();
        let count: u64 = wanted.values().map(|one| one.end() - one.start() + 1).sum();
        reader.replay::<anyhow::Error>(&wanted, &mut |partition, read| {
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
        Ok(())
    }

    fn apply(&mut self, partition: u64) -> anyhow::Result<()> {
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
