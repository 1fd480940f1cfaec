//! Opening what the node stored: journal and rows, and what each replica starts from.

use std::sync::Arc;
use std::time::Instant;

use tablestore_dataplane::{Stored, recover};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::{
    DataDirectory, Journal, JournalReader, JournalSettings, JournalWriter, LsmEngine, LsmSettings,
};

use crate::settings::NodeSettings;

/// The opened store of a node.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) engine: Arc<LsmEngine>,
    pub(crate) writer: JournalWriter,
    pub(crate) reader: JournalReader,
    pub(crate) stored: Stored,
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
    let (writer, reader) = Journal::open(directory.journal(), &journal, &mut |_| {})?;
    took("the journal is open");
    let rows = directory.rows();
    let engine = LsmEngine::open(&rows, &LsmSettings::default())?;
    took("the rows are open");
    let stopped = StoppedReplicas::at(directory.path()).read()?;
    // But for the number of its generation.
    let place = |partition: u64| rows.join(format!("{partition:016x}")).display().to_string();
    let stored = recover(&engine, &reader, &engine.broken(), &stopped, &place)?;
    took("the journal is replayed");
    Ok(Storage {
        engine: Arc::new(engine),
        writer,
        reader,
        stored,
    })
}
