//! A machine: what stays when its process dies. Knows nothing of what the process does.

use std::collections::BTreeSet;
use std::sync::Arc;

use tablestore_placement::{Incarnation, Office, PartitionId, StorageId};
use tablestore_store::testing::{SimDisk, SimImage};
use tablestore_store::{Journal, JournalSettings};

use super::drift::Drift;
use super::durable::LogEnds;
use super::engine::SimEngine;
use super::event::Slot;
use super::process::Process;
use super::rot::Decay;
use super::scenario::Scenario;

/// Storage ids of one slot differ by their generation.
const GENERATIONS: u64 = 1_000;

/// A machine and the process that runs on it, if one does.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) slot: Slot,
    pub(crate) storage: StorageId,
    pub(crate) incarnation: Incarnation,
    pub(crate) disk: SimDisk,
    pub(crate) engine: Arc<SimEngine>,
    /// The random ids of the starts that its directory has begun.
    pub(crate) begun: Vec<u64>,
    pub(crate) sync_us: u64,
    pub(crate) is_full: bool,
    /// The offset of its wall clock in milliseconds.
    pub(crate) wall_off_ms: i64,
    /// How fast its clocks go.
    pub(crate) drift: Drift,
    /// Partitions whose rows it lost while no process ran.
    pub(crate) lost_rows: BTreeSet<PartitionId>,
    /// What its raft log was before it was lost.
    pub(crate) mislaid: Option<SimImage>,
    /// A copy that was made of its disks.
    pub(crate) copy: Option<DiskCopy>,
    /// Its disks are such a copy, and nobody has noticed yet.
    pub(crate) is_older: bool,
    /// Its disk does not hold what was written, and nobody has noticed yet.
    pub(crate) decay: Option<Decay>,
    /// What is on its disk of each log.
    pub(crate) durable: LogEnds,
    /// What was there before the last group: only a group that another one follows is known to have
    /// been durable.
    pub(crate) proven: LogEnds,
    pub(crate) process: Option<Process>,
}

/// The disks of a machine as they were between two starts.
#[derive(Debug)]
pub(crate) struct DiskCopy {
    pub(crate) files: SimImage,
    pub(crate) engine: SimEngine,
    pub(crate) begun: Vec<u64>,
    pub(crate) incarnation: Incarnation,
}

impl Machine {
    pub(crate) fn new(
        slot: Slot,
        generation: u64,
        seed: u64,
        scenario: &Scenario,
        drift: Drift,
    ) -> Self {
        Self {
            slot,
            storage: storage_id(slot, generation),
            incarnation: Incarnation(0),
            disk: SimDisk::new(seed),
            engine: Arc::new(SimEngine::new(scenario.rows_in)),
            begun: Vec::new(),
            sync_us: scenario.sync_us_of(slot),
            is_full: false,
            wall_off_ms: 0,
            drift,
            lost_rows: BTreeSet::new(),
            mislaid: None,
            copy: None,
            is_older: false,
            decay: None,
            durable: LogEnds::default(),
            proven: LogEnds::default(),
            process: None,
        }
    }

    pub(crate) fn office(&self) -> Office {
        Office {
            member: self.storage,
            incarnation: self.incarnation,
        }
    }

    /// The ends of its logs as a start would find them now.
    pub(crate) fn log_ends(&self, segment_bytes: u64, segments_max: usize) -> LogEnds {
        let settings = JournalSettings {
            segment_bytes,
            segments_max,
            journal_id: self.storage.0,
        };
        let copy = SimDisk::new(0);
        copy.restore(&self.disk.image());
        let disk = Arc::new(copy.folder("journal"));
        let opened = Journal::open_on(disk, "journal", &settings, &mut |_| {});
        opened.map_or_else(
            |_| LogEnds::default(),
            |(_, reader)| LogEnds::found(&reader),
        )
    }

    /// The wall clock of the machine.
    pub(crate) fn wall_ms(&self, now_us: u64) -> u64 {
        let shown_us = self.drift.shown(now_us);
        let ms = i64::try_from(shown_us / 1_000).unwrap_or(i64::MAX);
        let wall = 1_000_000_000_i64 + ms + self.wall_off_ms;
        u64::try_from(wall).unwrap_or(0)
    }
}

pub(crate) fn storage_id(slot: Slot, generation: u64) -> StorageId {
    StorageId((slot as u64 + 1) * GENERATIONS + generation)
}

/// How many times the machine had lost its disks before it got this storage id.
pub(crate) fn generation_of(storage: StorageId) -> u64 {
    storage.0 % GENERATIONS
}

/// The machine of a storage id.
pub(crate) fn slot_of(storage: StorageId) -> Slot {
    (storage.0 / GENERATIONS).saturating_sub(1) as usize
}
