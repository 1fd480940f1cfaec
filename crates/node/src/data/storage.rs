//! Opening what the node stored: journal and rows, and what each replica starts from.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tablestore_dataplane::{RecoverError, Stored, recover};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::{
    DataDirectory, EngineError, Journal, JournalReader, JournalSettings, JournalWriter, LsmEngine,
    LsmSettings, journal,
};

use super::shared::SharedStorage;
use crate::settings::NodeSettings;

/// The opened store of a node.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) engine: Arc<LsmEngine>,
    pub(crate) writer: JournalWriter,
    pub(crate) reader: JournalReader,
    pub(crate) stored: Stored,
    /// What all members share, if this node was given it.
    pub(crate) shared: Option<SharedStorage>,
}

/// Why what a node stored was not opened. Nothing was emptied or left out; the source names what is
/// wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A segment of the journal is damaged, missing or of another format. A write that a crash tore
    /// may have been cut off, else nothing changed. Bring the file back, or start without the data
    /// directory as a new member.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The rows are damaged or of another format. Nothing changed. The same helps.
    #[error(transparent)]
    Rows(#[from] EngineError),
    /// Which replicas have stopped cannot be read. Nothing changed. Start again when the files in
    /// `stopped/` can be.
    #[error(transparent)]
    Stopped(io::Error),
    /// The storage that members share cannot be used. Nothing changed. Mount or start it, or leave
    /// the setting out; then other nodes serve the tables that need it.
    #[error("{setting}")]
    Shared {
        /// Where it was given.
        setting: &'static str,
        /// What is wrong with it.
        source: tablestore_owned::StorageError,
    },
    /// Journal and rows do not fit together. Nothing changed. Bring the whole directory back as it
    /// was when the node last ended.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// Looks at the storage that all members share, if this node is given one.
///
/// # Errors
/// If it cannot be used.
pub(crate) async fn open_shared(
    settings: &NodeSettings,
) -> Result<Option<SharedStorage>, StorageError> {
    let of_each = settings.of_partitions();
    let (setting, opened) = match (&settings.shared_dir, &settings.shared_bucket) {
        (None, None) => return Ok(None),
        (Some(path), _) => ("shared-dir", SharedStorage::directory(path, of_each)),
        (None, Some(bucket)) => ("shared-url", SharedStorage::bucket(bucket, of_each).await),
    };
    match opened {
        Ok(shared) => Ok(Some(shared)),
        Err(source) => Err(StorageError::Shared { setting, source }),
    }
}

/// Opens journal and rows. Blocks; runs before the threads start.
///
/// # Errors
/// If a file is damaged, missing or of another format: the error names it, nothing is emptied.
pub(crate) fn open_storage(
    directory: &DataDirectory,
    settings: &NodeSettings,
    shared: Option<SharedStorage>,
) -> Result<Storage, StorageError> {
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
    let stopped = StoppedReplicas::at(directory.path())
        .read()
        .map_err(StorageError::Stopped)?;
    // But for the number of its generation.
    let place = |partition: u64| rows.join(format!("{partition:016x}")).display().to_string();
    let stored = recover(&engine, &reader, &engine.broken(), &stopped, &place)?;
    took("the journal is replayed");
    Ok(Storage {
        engine: Arc::new(engine),
        writer,
        reader,
        stored,
        shared,
    })
}
