//! What a plane does to rows, for whoever judges it in tests. Knows nothing of the judgement.

use bytes::Bytes;
use tablestore_placement::PartitionId;
use tablestore_replication::active::Row;
use tablestore_replication::{Entry, Outcome};

/// Something that became of the rows of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The replica goes on behind this index.
    Opened {
        /// Of which partition.
        partition: PartitionId,
        /// Applied so far.
        applied: u64,
    },
    /// Entries were applied.
    Applied {
        /// To which partition.
        partition: PartitionId,
        /// In order.
        entries: Vec<Entry>,
        /// Of the writes among them, by index.
        outcomes: Vec<(u64, Outcome)>,
    },
    /// A copy took the place of the rows.
    Installed {
        /// Of which partition.
        partition: PartitionId,
        /// Applied in it.
        index: u64,
    },
    /// A replica of an active table put a row into its log; it is not durable yet.
    Kept {
        /// Of which partition.
        partition: PartitionId,
        /// Of the entry.
        index: u64,
        /// Of the row.
        key: Bytes,
        /// As a whole.
        row: Row,
    },
}

impl Seen {
    /// Of which partition it is.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        match self {
            Self::Opened { partition, .. }
            | Self::Applied { partition, .. }
            | Self::Installed { partition, .. }
            | Self::Kept { partition, .. } => *partition,
        }
    }
}

/// What was seen and not taken yet; without the feature `testing` nothing is ever watched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    is_watched: bool,
    seen: Vec<Seen>,
}

impl Watched {
    /// Sees what is applied before there is a plane.
    pub(crate) fn early() -> Self {
        Self {
            is_watched: cfg!(feature = "testing"),
            seen: Vec::new(),
        }
    }

    /// Sees no more until it is told to.
    pub(crate) fn resting(self) -> Self {
        Self {
            is_watched: false,
            seen: self.seen,
        }
    }

    pub(crate) fn opened(&mut self, partition: PartitionId, applied: u64) {
        self.see(|| Seen::Opened { partition, applied });
    }

    pub(crate) fn installed(&mut self, partition: PartitionId, index: u64) {
        self.see(|| Seen::Installed { partition, index });
    }

    pub(crate) fn applied(
        &mut self,
        partition: PartitionId,
        entries: &[Entry],
        outcomes: &[(u64, Outcome)],
    ) {
        self.see(|| Seen::Applied {
            partition,
            entries: entries.to_vec(),
            outcomes: outcomes.to_vec(),
        });
    }

    pub(crate) fn kept(&mut self, partition: PartitionId, index: u64, (key, row): (&Bytes, &Row)) {
        self.see(|| Seen::Kept {
            partition,
            index,
            key: key.clone(),
            row: row.clone(),
        });
    }

    fn see(&mut self, seen: impl FnOnce() -> Seen) {
        if self.is_watched {
            self.seen.push(seen());
        }
    }
}

#[cfg(feature = "testing")]
impl<E, W> crate::Plane<E, W> {
    /// From now on it is kept what becomes of rows, for [`take_seen`](Self::take_seen).
    pub fn watch(&mut self) {
        self.watched.is_watched = true;
    }

    /// What became of rows since this was last called, or since they were read from the disk.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.watched.seen)
    }
}
