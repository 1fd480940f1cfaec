//! Opening what the node stored: journal and rows, and what each replica starts from.

use std::collections::BTreeMap;
use std::sync::Arc;

use tablestore_placement::Epoch;
use tablestore_replication::{EpochStartsAt, PartitionMeta, Recovered};
use tablestore_store::{
    DataDirectory, Engine, Journal, JournalReader, JournalSettings, JournalWriter, LsmEngine,
    LsmSettings,
};

use super::apply::decode_remembered;
use crate::settings::NodeSettings;

/// What a replica starts from.
#[derive(Debug)]
pub(crate) struct RecoveredPartition {
    pub(crate) state: Recovered,
}

impl RecoveredPartition {
    pub(crate) fn empty() -> Self {
        Self {
            state: Recovered::empty(),
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
    let mut metas = BTreeMap::new();
    let (writer, reader) = Journal::open(directory.journal(), &journal, &mut |_| {})?;
    for partition in reader.partitions() {
        metas.extend(reader.meta(partition).map(|meta| (partition, meta)));
    }
    let engine = LsmEngine::open(directory.rows(), &LsmSettings::default())?;
    let mut recovered = BTreeMap::new();
    let known: std::collections::BTreeSet<u64> =
        metas.keys().copied().chain(engine.partitions()).collect();
    for partition in known {
        let state = recover(&engine, &reader, partition, metas.get(&partition))?;
        recovered.insert(partition, RecoveredPartition { state });
    }
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
    partition: u64,
    meta: Option<&tablestore_store::Meta>,
) -> anyhow::Result<Recovered> {
    engine.open_partition(partition)?;
    let meta = meta.cloned().unwrap_or_default();
    let applied = engine.applied(partition);
    let first = reader.first_index(partition).unwrap_or(meta.end + 1);
    let adopted = Epoch(meta.adopted);
    if applied > meta.end || applied + 1 < first {
        // A snapshot was being switched in when the process ended: rows and log are of
        // different moments. Such a replica was not in sync; it starts from nothing.
        tracing::warn!(
            partition,
            applied,
            first,
            end = meta.end,
            "replica starts from nothing"
        );
        engine.drop_partition(partition)?;
        engine.open_partition(partition)?;
        let meta = PartitionMeta {
            adopted,
            ..PartitionMeta::default()
        };
        return Ok(Recovered {
            meta,
            ..Recovered::empty()
        });
    }
    let remembered = decode_remembered(&engine.side_records(partition)?, applied);
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
    Ok(Recovered {
        meta,
        first,
        applied,
        remembered,
    })
}
