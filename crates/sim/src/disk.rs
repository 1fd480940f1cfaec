//! The disk of a node: one journal for all partitions, of which a crash leaves a prefix, and
//! the engines' checkpoints. Knows nothing of when syncs happen.

use std::collections::{BTreeMap, VecDeque};

use tablestore_replication::{Entry, PartitionMeta, PersistRecord, Recovered};

use crate::engine::Checkpoint;
use crate::rng::Chance;

/// The durable log of one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskLog {
    meta: PartitionMeta,
    pub(crate) entries: BTreeMap<u64, Entry>,
}

impl DiskLog {
    fn write(&mut self, record: PersistRecord) {
        match record {
            PersistRecord::Entry(entry) => {
                self.meta.extend(entry.epoch, entry.index);
                self.entries.insert(entry.index, entry);
            }
            PersistRecord::Meta(meta) => {
                self.entries.split_off(&(meta.end + 1));
                self.meta = meta;
            }
            PersistRecord::Restart(meta) => {
                self.entries.clear();
                self.meta = meta;
            }
        }
    }

    /// The first index that is there, or the one behind the end.
    pub(crate) fn first(&self) -> u64 {
        let first = self.entries.first_key_value();
        first.map_or(self.meta.end + 1, |(index, _)| *index)
    }

    /// Drops entries below `first`. Says whether there were any.
    pub(crate) fn trim(&mut self, first: u64) -> bool {
        let before = self.entries.len();
        self.entries = self.entries.split_off(&first);
        self.entries.len() < before
    }

    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let entries = self
            .entries
            .range(from..=to.max(from))
            .map(|(_, entry)| entry);
        entries
            .take_while(|entry| {
                let fits = bytes < bytes_max;
                bytes += entry.cost();
                fits
            })
            .cloned()
            .collect()
    }
}

/// A record that was handed to the journal.
#[derive(Debug)]
struct Unsynced {
    partition: usize,
    token: u64,
    record: PersistRecord,
}

/// Journal and checkpoints of a node.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) logs: Vec<DiskLog>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    unsynced: VecDeque<Unsynced>,
    /// How many of `unsynced` the running sync covers; 0 if none runs.
    syncing: usize,
}

impl Disk {
    pub(crate) fn new(partitions: usize) -> Self {
        Self {
            logs: vec![DiskLog::default(); partitions],
            checkpoints: vec![Checkpoint::default(); partitions],
            unsynced: VecDeque::new(),
            syncing: 0,
        }
    }

    pub(crate) fn push(&mut self, partition: usize, token: u64, record: PersistRecord) {
        self.unsynced.push_back(Unsynced {
            partition,
            token,
            record,
        });
    }

    /// Begins a sync of everything, unless one runs or there is nothing.
    pub(crate) fn begin_sync(&mut self) -> bool {
        let begins = self.syncing == 0 && !self.unsynced.is_empty();
        if begins {
            self.syncing = self.unsynced.len();
        }
        begins
    }

    /// The sync ends: the greatest durable token of each partition that it covered.
    pub(crate) fn end_sync(&mut self) -> BTreeMap<usize, u64> {
        let mut tokens = BTreeMap::new();
        let covered: Vec<_> = self.unsynced.drain(..self.syncing).collect();
        self.syncing = 0;
        for one in covered {
            tokens.insert(one.partition, one.token);
            self.logs[one.partition].write(one.record);
        }
        tokens
    }

    /// A crash: of what was not synced a prefix reached the disk, most often none.
    pub(crate) fn crash(&mut self, chance: &mut Chance) {
        let survive = if chance.happens(300) {
            chance.between(0, self.unsynced.len() as u64)
        } else {
            0
        };
        let survivors: Vec<_> = self.unsynced.drain(..survive as usize).collect();
        for one in survivors {
            self.logs[one.partition].write(one.record);
        }
        self.unsynced.clear();
        self.syncing = 0;
    }

    pub(crate) fn recover(&self, partition: usize) -> Recovered {
        let (log, checkpoint) = (&self.logs[partition], &self.checkpoints[partition]);
        Recovered {
            meta: log.meta.clone(),
            first: log.first(),
            applied: checkpoint.engine.applied,
            remembered: checkpoint.remembered.clone(),
        }
    }
}
