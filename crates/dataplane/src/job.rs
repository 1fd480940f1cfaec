//! What may block on a disk, as values: run by the host on a thread of its lane, or at a virtual
//! time, always by [`Job::run`].
//!
//! Knows nothing of when a job is wanted nor of what follows from its end.

mod run;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use tablestore_placement::{Epoch, PartitionId};
use tablestore_replication::{Entry, Remembered, SnapshotMeta};
use tablestore_store::JournalReader;
use tablestore_store::engine::{Checksums, EngineError, Page, Replacement, Scan, Snapshot};
use tablestore_store::stopped::StoppedReplicas;

use crate::active::OpenedActive;
use crate::apply::Pieces;
use crate::copies::{CopyId, CopyPage, Source};
use crate::transfer::Pairs;

/// Where jobs queue; those of one lane are run one after the other, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Reads for which somebody waits.
    Reads = 0,
    /// Housekeeping, which can wait behind requests.
    Upkeep = 1,
    /// Openings and pieces of copies: requests, or the other side, wait for each.
    Copies = 2,
}

/// What a job works on.
pub struct Host<'a, E> {
    /// The rows.
    pub engine: &'a E,
    /// What the journal has.
    pub journal: &'a JournalReader,
    /// The notes of replicas that have stopped.
    pub notes: &'a StoppedReplicas,
}

impl<E: fmt::Debug> fmt::Debug for Host<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("engine", self.engine)
            .finish_non_exhaustive()
    }
}

/// Something to be done that may block.
#[derive(Debug)]
pub struct Job(pub(crate) Work);

#[derive(Debug)]
pub(crate) enum Work {
    /// Make a partition usable in the engine.
    Open {
        partition: PartitionId,
    },
    /// The same for an active one, with all that its log has.
    OpenActive {
        partition: PartitionId,
        /// What the journal still shows of it is to be forgotten.
        is_empty: bool,
    },
    ReadLog {
        partition: PartitionId,
        life: u64,
        from: u64,
        to: u64,
        bytes_max: usize,
    },
    Scan {
        ticket: u64,
        partition: PartitionId,
        epoch: Epoch,
        scan: Scan,
    },
    Checksum {
        partition: PartitionId,
        id: u64,
        index: u64,
        snapshot: Box<dyn Snapshot>,
    },
    Flush {
        partition: PartitionId,
    },
    /// Delete what is here of a partition.
    Discard {
        partition: PartitionId,
    },
    /// Put what is here of a partition where nobody looks.
    PutAside {
        partition: PartitionId,
        is_stopped: bool,
    },
    /// Clear away a replica that is to be built anew.
    Clear {
        partition: PartitionId,
        adopted: Epoch,
        put_aside: bool,
    },
    /// Note durably that a replica has stopped, and why.
    Note {
        partition: PartitionId,
        why: String,
    },
    CopyPage {
        copy: CopyId,
        source: Source,
    },
    StoreCopy {
        copy: CopyId,
        replacement: Option<Box<dyn Replacement>>,
        pairs: Pairs,
    },
    FinishCopy {
        partition: PartitionId,
        life: u64,
        replacement: Box<dyn Replacement>,
        meta: SnapshotMeta,
    },
}

/// A copy that was switched in.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) meta: SnapshotMeta,
    /// The requests that it remembers.
    pub(crate) remembered: Vec<Remembered>,
    /// The last indexes of the side records that hold them.
    pub(crate) pieces: Pieces,
}

/// How a job came to its end.
#[derive(Debug)]
pub struct Done {
    pub(crate) lane: Lane,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Opened {
        partition: PartitionId,
        opened: Result<(), EngineError>,
    },
    ActiveOpened {
        partition: PartitionId,
        opened: Result<Box<OpenedActive>, String>,
    },
    LogRead {
        partition: PartitionId,
        life: u64,
        from: u64,
        /// What is damaged, if anything is.
        entries: Result<Vec<Entry>, String>,
    },
    Scanned {
        ticket: u64,
        partition: PartitionId,
        epoch: Epoch,
        page: Result<Page, EngineError>,
    },
    Summed {
        partition: PartitionId,
        id: u64,
        index: u64,
        sums: Result<Checksums, EngineError>,
    },
    Flushed {
        partition: PartitionId,
        flushed: Result<(), EngineError>,
    },
    Discarded {
        partition: PartitionId,
    },
    /// Where it is now; nothing if that failed.
    PutAside {
        partition: PartitionId,
        place: Option<Option<PathBuf>>,
    },
    Cleared {
        partition: PartitionId,
        adopted: Epoch,
        cleared: Result<(), EngineError>,
    },
    Noted,
    CopyRead {
        copy: CopyId,
        source: Source,
        page: Result<CopyPage, EngineError>,
    },
    CopyStored {
        copy: CopyId,
        stored: Result<Box<dyn Replacement>, EngineError>,
    },
    CopyFinished {
        partition: PartitionId,
        life: u64,
        installed: Result<Installed, String>,
    },
}

impl Job {
    /// Where it queues.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match &self.0 {
            Work::ReadLog { .. } | Work::Scan { .. } => Lane::Reads,
            Work::Open { .. } | Work::OpenActive { .. } => Lane::Copies,
            Work::CopyPage { .. } | Work::StoreCopy { .. } => Lane::Copies,
            // A copy is switched in on the lane that also drops partitions: it must not come back
            // behind a drop.
            _ => Lane::Upkeep,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Work::Open { .. } | Work::OpenActive { .. } => "open",
            Work::ReadLog { .. } => "read log",
            Work::Scan { .. } => "scan",
            Work::Checksum { .. } => "checksum",
            Work::Flush { .. } => "flush",
            Work::Discard { .. } => "discard",
            Work::PutAside { .. } => "put aside",
            Work::Clear { .. } => "clear",
            Work::Note { .. } => "note",
            Work::CopyPage { .. } => "read a page of a copy",
            Work::StoreCopy { .. } => "store a page of a copy",
            Work::FinishCopy { .. } => "switch a copy in",
        }
    }
}
