//! What a plane does to rows, for whoever judges it in tests. Knows nothing of the judgement.

use tablestore_placement::PartitionId;
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
}

/// What was seen and not taken yet; nothing, and no work, without the feature `testing`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    #[cfg(feature = "testing")]
    is_watched: bool,
    #[cfg(feature = "testing")]
    seen: Vec<Seen>,
}

impl Watched {
    /// Sees what is applied before there is a plane.
    pub(crate) fn early() -> Self {
        Self {
            #[cfg(feature = "testing")]
            is_watched: true,
            ..Self::default()
        }
    }

    /// Sees no more until it is told to.
    pub(crate) fn resting(self) -> Self {
        Self {
            #[cfg(feature = "testing")]
            is_watched: false,
            ..self
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

    #[cfg(feature = "testing")]
    fn see(&mut self, seen: impl FnOnce() -> Seen) {
        if self.is_watched {
            self.seen.push(seen());
        }
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "it has nothing without the feature")]
    fn see(&mut self, _seen: impl FnOnce() -> Seen) {}
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
