//! The records that a data plane persists, and the group commit that makes them durable: the same
//! step for a thread with a disk and for a simulated one.
//!
//! Knows nothing of replication: a record has a position, by which it is told to be durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_store::journal::JournalFailed;
use tablestore_store::{JournalWriter, Meta};

/// One record, or an order to the journal.
#[derive(Debug, Clone)]
pub enum Record {
    /// An entry of a partition's log.
    Entry {
        /// The partition.
        partition: u64,
        /// The epoch it was written in.
        epoch: u64,
        /// Its index.
        index: u64,
        /// Its content.
        data: Bytes,
    },
    /// What a partition's log is apart from its entries.
    Meta {
        /// The partition.
        partition: u64,
        /// Its state.
        meta: Meta,
    },
    /// The log of the partition starts anew behind `meta.end` (a copy replaced it).
    Restart {
        /// The partition.
        partition: u64,
        /// Its state.
        meta: Meta,
    },
    /// The log of the partition is gone.
    Forget {
        /// The partition.
        partition: u64,
    },
    /// Free what lies below these checkpoints.
    Recycle {
        /// By partition, the index up to which its entries are needed no more.
        checkpoints: BTreeMap<u64, u64>,
    },
}

/// What became of a group.
#[derive(Debug, Default)]
pub struct Committed {
    /// Records of it, all durable now.
    pub records: u64,
    /// See [`PlaneEvent::Held`](crate::PlaneEvent::Held).
    pub held: BTreeMap<u64, u64>,
    /// See [`PlaneEvent::Trimmed`](crate::PlaneEvent::Trimmed).
    pub trimmed: Vec<(u64, u64)>,
}

/// Records that become durable together.
#[derive(Debug, Default)]
pub struct GroupCommit {
    records: u64,
    recycle: Option<BTreeMap<u64, u64>>,
}

impl GroupCommit {
    /// Adds a record to the group that `writer` collects.
    pub fn push(&mut self, writer: &mut JournalWriter, record: Record) {
        self.records += 1;
        match record {
            Record::Entry {
                partition,
                epoch,
                index,
                data,
            } => writer.push_entry(partition, epoch, index, &data),
            Record::Meta { partition, meta } => writer.push_meta(partition, &meta),
            Record::Restart { partition, meta } => {
                writer.push_forget(partition);
                writer.push_meta(partition, &meta);
            }
            Record::Forget { partition } => writer.push_forget(partition),
            Record::Recycle { checkpoints } => self.recycle = Some(checkpoints),
        }
    }

    /// Makes the group durable.
    ///
    /// # Errors
    /// If the disk refused; the journal then refuses everything for good.
    pub fn commit(self, writer: &mut JournalWriter) -> Result<Committed, JournalFailed> {
        writer.commit()?;
        let pressure = writer.pressure();
        Ok(Committed {
            records: self.records,
            held: pressure
                .iter()
                .map(|one| (one.partition, one.index))
                .collect(),
            trimmed: match self.recycle {
                Some(checkpoints) => {
                    writer.recycle(|partition| checkpoints.get(&partition).copied())
                }
                None => Vec::new(),
            },
        })
    }
}
