//! What the journal holds for each partition: its state, and where each entry lies. Kept by
//! the writer, read by all. Knows nothing of how bytes get to the disk.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Meta;
use super::disk::SegmentFile;

/// A file that holds groups. Whoever holds one may read it: it is not used again before.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file_number: u32,
    pub(super) file: Arc<dyn SegmentFile>,
    pub(super) generation: u64,
    pub(super) bytes: u64,
}

/// Where an entry's record begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The low 32 bits of the generation: live ones are never so far apart.
    pub(super) generation: u32,
    pub(super) offset: u32,
}

impl Position {
    pub(super) fn new(generation: u64, offset: u64) -> Self {
        let offset = u32::try_from(offset).expect("a segment is at most 4 GiB long");
        Self {
            generation: generation as u32,
            offset,
        }
    }
}

/// The log of a partition: the last entries of it, up to `meta.end`.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    pub(super) meta: Meta,
    positions: VecDeque<Position>,
}

impl PartitionLog {
    /// The first index that is there; one above the end if there is none.
    pub(super) fn first(&self) -> u64 {
        self.meta.end + 1 - self.positions.len() as u64
    }

    pub(super) fn position(&self, index: u64) -> Option<Position> {
        let at = index.checked_sub(self.first())?;
        self.positions.get(usize::try_from(at).ok()?).copied()
    }

    /// Adds an entry. `false` if it is not the next one: then the journal is damaged.
    #[must_use]
    pub(super) fn push(&mut self, epoch: u64, index: u64, position: Position) -> bool {
        if index != self.meta.end + 1 {
            return false;
        }
        self.meta.end = index;
        if self
            .meta
            .history
            .last()
            .is_none_or(|(last, _)| *last < epoch)
        {
            self.meta.history.push((epoch, index));
        }
        self.meta.adopted = self.meta.adopted.max(epoch);
        self.positions.push_back(position);
        true
    }

    /// Takes a new state: entries above its end are gone, and all if it is beyond the log.
    pub(super) fn set(&mut self, meta: Meta) {
        if meta.end > self.meta.end {
            self.positions.clear();
        } else {
            let gone = self.meta.end - meta.end;
            let kept = (self.positions.len() as u64).saturating_sub(gone);
            self.positions
                .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
        self.meta = meta;
    }

    /// Drops the entries that lie in a segment that is freed, the oldest one.
    pub(super) fn drop_segment(&mut self, generation: u64) {
        while self
            .positions
            .front()
            .is_some_and(|front| front.generation == generation as u32)
        {
            self.positions.pop_front();
        }
        if self.positions.len() * 4 < self.positions.capacity() {
            self.positions.shrink_to(self.positions.len() * 2);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) partitions: BTreeMap<u64, PartitionLog>,
    /// The live segments, by the low bits of their generation.
    pub(super) segments: BTreeMap<u32, Arc<Segment>>,
    /// The partitions that should be checkpointed now, see `JournalWriter::pressure`.
    pub(super) pressure: Vec<u64>,
}

/// The book, shared by the writer and the readers; the lock is held for moments only.
#[derive(Debug, Default)]
pub(super) struct SharedBook(Mutex<Book>);

impl SharedBook {
    pub(super) fn new(book: Book) -> Self {
        Self(Mutex::new(book))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment in use, and what must be checkpointed before it can be used again.
#[derive(Debug)]
pub(super) struct LiveSegment {
    pub(super) segment: Arc<Segment>,
    /// The greatest index of each partition that has entries in it.
    pub(super) last_index: BTreeMap<u64, u64>,
}

/// The live segments, oldest first.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) live: VecDeque<LiveSegment>,
}

impl Chain {
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        self.live.push_back(LiveSegment {
            segment,
            last_index: BTreeMap::new(),
        });
    }

    /// Notes an entry in the newest segment.
    pub(super) fn note(&mut self, partition: u64, index: u64) {
        if let Some(newest) = self.live.back_mut() {
            newest.last_index.insert(partition, index);
        }
    }

    /// Notes that the partition's log ends at `meta_end` now, after it ended at `end`.
    pub(super) fn truncate(&mut self, partition: u64, end: u64, meta_end: u64) {
        if meta_end > end {
            return self.forget(partition);
        }
        for live in &mut self.live {
            if let Some(last) = live.last_index.get_mut(&partition) {
                *last = (*last).min(meta_end);
            }
        }
    }

    pub(super) fn forget(&mut self, partition: u64) {
        for live in &mut self.live {
            live.last_index.remove(&partition);
        }
    }
}

impl Book {
    /// Adds an entry that lies in the newest segment of `chain`; `false` if it is not next.
    #[must_use]
    pub(super) fn entry(
        &mut self,
        chain: &mut Chain,
        partition: u64,
        (epoch, index): (u64, u64),
        position: Position,
    ) -> bool {
        chain.note(partition, index);
        self.partitions
            .entry(partition)
            .or_default()
            .push(epoch, index, position)
    }

    /// Sets a partition's state.
    pub(super) fn set(&mut self, chain: &mut Chain, partition: u64, meta: Meta) {
        let log = self.partitions.entry(partition).or_default();
        chain.truncate(partition, log.meta.end, meta.end);
        log.set(meta);
    }

    pub(super) fn forget(&mut self, chain: &mut Chain, partition: u64) {
        chain.forget(partition);
        self.partitions.remove(&partition);
    }
}
