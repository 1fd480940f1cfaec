//! The rows of a machine, in memory or in the trees of a server, with a disk that may be full or
//! fail. Knows nothing of when a flush is run.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tablestore_store::engine::{EngineError, Page, Replacement, Rows, Scan, Snapshot};
use tablestore_store::{Checkpoints, Copies, Engine, MemoryEngine, ReadRows, RowWrite};

use super::trees::Trees;

/// Where the rows of a run are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RowsIn {
    /// Quick, and the same for each run of a seed.
    #[default]
    Memory,
    /// In the trees of a server, in a temporary directory: slower.
    Trees,
}

#[derive(Debug)]
enum Kept {
    Memory(MemoryEngine),
    Trees(Trees),
}

/// Rows whose checkpoints lag, and fail.
#[derive(Debug)]
pub(crate) struct SimEngine {
    rows: Kept,
    full: AtomicBool,
    /// The next flush fails.
    failing: AtomicBool,
}

impl SimEngine {
    pub(crate) fn new(rows: RowsIn) -> Self {
        let rows = match rows {
            RowsIn::Memory => Kept::Memory(MemoryEngine::default()),
            RowsIn::Trees => Kept::Trees(Trees::empty()),
        };
        Self {
            rows,
            full: AtomicBool::default(),
            failing: AtomicBool::default(),
        }
    }

    fn rows(&self) -> &dyn Engine {
        match &self.rows {
            Kept::Memory(rows) => rows,
            Kept::Trees(trees) => trees.rows(),
        }
    }

    /// What is left when the process is gone.
    pub(crate) fn after_crash(&self) -> Self {
        let rows = match &self.rows {
            Kept::Memory(rows) => Kept::Memory(rows.after_crash()),
            Kept::Trees(trees) => Kept::Trees(trees.after_crash()),
        };
        Self {
            rows,
            full: AtomicBool::new(self.full.load(Ordering::Relaxed)),
            failing: AtomicBool::new(false),
        }
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    fn write(&self, partition: u64) -> Result<(), EngineError> {
        let error = |kind: io::ErrorKind| EngineError::Io {
            path: format!("rows/{partition:016x}").into(),
            source: kind.into(),
        };
        if self.full.load(Ordering::Relaxed) {
            return Err(error(io::ErrorKind::StorageFull));
        }
        if self.failing.swap(false, Ordering::Relaxed) {
            return Err(error(io::ErrorKind::Other));
        }
        Ok(())
    }
}

impl Engine for SimEngine {
    fn open_partition(&self, partition: u64) -> Result<(), EngineError> {
        self.rows().open_partition(partition)
    }

    fn apply(
        &self,
        partition: u64,
        index: u64,
        writes: &[RowWrite<'_>],
    ) -> Result<(), EngineError> {
        self.rows().apply(partition, index, writes)
    }

    fn drop_partition(&self, partition: u64) -> Result<(), EngineError> {
        self.rows().drop_partition(partition)
    }
}

impl ReadRows for SimEngine {
    fn partitions(&self) -> Vec<u64> {
        self.rows().partitions()
    }

    fn get(&self, partition: u64, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.rows().get(partition, key)
    }

    fn scan(&self, partition: u64, scan: &Scan) -> Result<Page, EngineError> {
        self.rows().scan(partition, scan)
    }

    fn side_records(&self, partition: u64) -> Result<Rows, EngineError> {
        self.rows().side_records(partition)
    }

    fn applied(&self, partition: u64) -> u64 {
        self.rows().applied(partition)
    }

    fn checkpointed(&self, partition: u64) -> u64 {
        self.rows().checkpointed(partition)
    }
}

impl Checkpoints for SimEngine {
    fn put_side(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.rows().put_side(partition, side)
    }

    fn seal(&self, partition: u64, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.rows().seal(partition, side)
    }

    fn flush(&self, partition: u64) -> Result<u64, EngineError> {
        self.write(partition)?;
        self.rows().flush(partition)
    }

    fn maintain(&self, partition: u64) -> Result<bool, EngineError> {
        self.rows().maintain(partition)
    }

    fn memory_bytes_of(&self, partition: u64) -> u64 {
        self.rows().memory_bytes_of(partition)
    }

    fn disk_bytes_of(&self, partition: u64) -> u64 {
        self.rows().disk_bytes_of(partition)
    }
}

impl Copies for SimEngine {
    fn snapshot(&self, partition: u64) -> Result<Box<dyn Snapshot>, EngineError> {
        self.rows().snapshot(partition)
    }

    fn begin_replace(&self, partition: u64) -> Result<Box<dyn Replacement>, EngineError> {
        self.write(partition)?;
        self.rows().begin_replace(partition)
    }
}
