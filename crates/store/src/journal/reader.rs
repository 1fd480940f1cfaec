//! Reading entries back while the writer goes on. Knows nothing of how they were committed.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::Meta;
use super::book::{Position, Segment, SharedBook};
use super::buffer::AlignedBuffer;
use super::format::{BLOCK, RECORD_HEADER_BYTES, Record};

/// How much is read at a time when entries lie close together.
const WINDOW_BYTES: usize = 64 * 1024;
/// The same for a replay, which wants most of what it reads.
const REPLAY_WINDOW_BYTES: usize = 1024 * 1024;
/// At most so many entries in one call; bounds the time the book is locked.
const ENTRIES_MAX: u64 = 4096;

/// An entry that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEntry {
    /// The epoch it was written in.
    pub epoch: u64,
    /// Its index.
    pub index: u64,
    /// Its content.
    pub data: Bytes,
}

/// Why entries cannot be read. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The first of them were dropped, or the partition is unknown. A follower that needs
    /// them needs a snapshot.
    #[error("the log of partition {partition:016x} begins at {first}")]
    Dropped {
        /// The partition.
        partition: u64,
        /// The first index that is there.
        first: u64,
    },
    /// The bytes on disk are not what was written. This replica must be rebuilt.
    #[error("{} is damaged at byte {offset}", file.display())]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where the record begins.
        offset: u64,
    },
    /// The operating system refused.
    #[error("cannot read {}", file.display())]
    Io {
        /// The segment.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Reads entries that are durable. Cheap to clone; any thread may use one.
#[derive(Clone, Debug)]
pub struct JournalReader {
    book: Arc<SharedBook>,
}

impl JournalReader {
    pub(super) fn new(book: Arc<SharedBook>) -> Self {
        Self { book }
    }

    /// The partitions that have a log, in ascending order.
    #[must_use]
    pub fn partitions(&self) -> Vec<u64> {
        self.book.lock().partitions.keys().copied().collect()
    }

    /// The state of a partition's log with all that is durable.
    #[must_use]
    pub fn meta(&self, partition: u64) -> Option<Meta> {
        self.book
            .lock()
            .partitions
            .get(&partition)
            .map(|log| log.meta.clone())
    }

    /// The first index that is there; one above the end if there are no entries.
    #[must_use]
    pub fn first_index(&self, partition: u64) -> Option<u64> {
        self.book
            .lock()
            .partitions
            .get(&partition)
            .map(super::book::PartitionLog::first)
    }

    /// The index of the last durable entry.
    #[must_use]
    pub fn end(&self, partition: u64) -> Option<u64> {
        self.book
            .lock()
            .partitions
            .get(&partition)
            .map(|log| log.meta.end)
    }

    /// The partitions that should be checkpointed now, since they hold the oldest segment and
    /// there are more segments than there should be.
    #[must_use]
    pub fn pressure(&self) -> Vec<u64> {
        self.book.lock().pressure.clone()
    }

    /// The durable entries from `from` to at most `to`, both included; no more once there are
    /// `bytes_max` bytes, but always one if there is one. Blocks on the disk.
    ///
    /// # Errors
    /// If `from` is no longer there or the files are damaged.
    pub fn read(
        &self,
        partition: u64,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<ReadEntry>, ReadError> {
        let found = self.locate(partition, from, to)?;
        let mut window = Window::new(WINDOW_BYTES);
        let mut entries = Vec::with_capacity(found.len());
        let mut bytes = 0;
        for (index, position, segment) in found {
            if bytes >= bytes_max && !entries.is_empty() {
                break;
            }
            let offset = u64::from(position.offset);
            let entry = read_entry(&mut window, &segment, offset, partition, index)?;
            bytes += entry.data.len();
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Gives the durable entries of several partitions, each from its first wanted index to its
    /// last, in the order in which they lie on disk: every block is read once, however many
    /// partitions share it. Blocks on the disk.
    ///
    /// # Errors
    /// As [`read`](Self::read), or what `each` answers.
    pub fn replay<E: From<ReadError>>(
        &self,
        wanted: &BTreeMap<u64, RangeInclusive<u64>>,
        each: &mut dyn FnMut(u64, ReadEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut found = Vec::new();
        for (&partition, range) in wanted {
            let mut from = *range.start();
            while from <= *range.end() {
                let piece = self.locate(partition, from, *range.end())?;
                let Some(last) = piece.last().map(|(index, ..)| *index) else {
                    break;
                };
                from = last + 1;
                found.extend(piece.into_iter().map(|(index, position, segment)| {
                    (
                        (segment.generation, position.offset),
                        partition,
                        index,
                        segment,
                    )
                }));
            }
        }
        found.sort_unstable_by_key(|(place, ..)| *place);
        let mut window = Window::new(REPLAY_WINDOW_BYTES);
        for ((_, offset), partition, index, segment) in found {
            let entry = read_entry(&mut window, &segment, u64::from(offset), partition, index)?;
            each(partition, entry)?;
        }
        Ok(())
    }

    /// Where the entries lie; the segments are held so that they are not used again.
    pub(super) fn locate(
        &self,
        partition: u64,
        from: u64,
        to: u64,
    ) -> Result<Vec<(u64, Position, Arc<Segment>)>, ReadError> {
        let book = self.book.lock();
        let Some(log) = book.partitions.get(&partition) else {
            return Err(ReadError::Dropped {
                partition,
                first: 1,
            });
        };
        if from < log.first() {
            return Err(ReadError::Dropped {
                partition,
                first: log.first(),
            });
        }
        let to = to
            .min(log.meta.end)
            .min(from.saturating_add(ENTRIES_MAX - 1));
        let located = (from..=to).map_while(|index| {
            let position = log.position(index)?;
            let segment = book.segments.get(&position.generation)?;
            Some((index, position, Arc::clone(segment)))
        });
        Ok(located.collect())
    }
}

/// The entry that the book says is there.
fn read_entry(
    window: &mut Window,
    segment: &Segment,
    offset: u64,
    partition: u64,
    index: u64,
) -> Result<ReadEntry, ReadError> {
    let record = read_record(window, segment, offset)?
        .filter(|record| record.is_entry())
        .filter(|record| record.partition == partition && record.index == index);
    let Some(record) = record else {
        return Err(ReadError::Corrupt {
            file: segment.path.clone(),
            offset,
        });
    };
    Ok(ReadEntry {
        epoch: record.epoch,
        index,
        data: Bytes::copy_from_slice(record.data),
    })
}

fn read_record<'a>(
    window: &'a mut Window,
    segment: &Segment,
    offset: u64,
) -> Result<Option<Record<'a>>, ReadError> {
    let io = |source| ReadError::Io {
        file: segment.path.clone(),
        source,
    };
    let Some(header) = window
        .read(segment, offset, RECORD_HEADER_BYTES)
        .map_err(io)?
    else {
        return Ok(None);
    };
    let bytes = Record::bytes(header);
    let record = window.read(segment, offset, bytes).map_err(io)?;
    Ok(record.and_then(Record::read))
}

/// A piece of a segment in memory.
#[derive(Debug)]
pub(super) struct Window {
    buffer: AlignedBuffer,
    generation: u64,
    start: u64,
    bytes_min: usize,
}

impl Window {
    pub(super) fn new(bytes_min: usize) -> Self {
        Self {
            buffer: AlignedBuffer::default(),
            generation: u64::MAX,
            start: 0,
            bytes_min,
        }
    }

    /// These bytes of the segment; `None` if they lie beyond its end.
    pub(super) fn read(
        &mut self,
        segment: &Segment,
        offset: u64,
        length: usize,
    ) -> io::Result<Option<&[u8]>> {
        if offset
            .checked_add(length as u64)
            .is_none_or(|end| end > segment.bytes)
        {
            return Ok(None);
        }
        let end = self.start + self.buffer.len() as u64;
        let inside = self.generation == segment.generation
            && self.start <= offset
            && offset + length as u64 <= end;
        if !inside {
            self.fill(segment, offset, length)?;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(Some(self.buffer.slice(at..at + length)))
    }

    fn fill(&mut self, segment: &Segment, offset: u64, length: usize) -> io::Result<()> {
        let start = offset - offset % BLOCK as u64;
        let wanted = (offset - start) + length as u64;
        let wanted = wanted
            .max(self.bytes_min as u64)
            .next_multiple_of(BLOCK as u64);
        let wanted = usize::try_from(wanted.min(segment.bytes - start)).unwrap_or(usize::MAX);
        // Not valid until it is filled.
        self.generation = u64::MAX;
        if self.buffer.len() != wanted {
            self.buffer = AlignedBuffer::zeroed(wanted);
        }
        segment.file.read(self.buffer.bytes_mut(), start)?;
        self.generation = segment.generation;
        self.start = start;
        Ok(())
    }
}
