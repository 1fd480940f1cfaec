//! Writing groups, rolling to the next segment, freeing old ones. Knows nothing of what
//! entries mean.

mod end;
mod groups;
mod roll;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use self::groups::{Group, Groups, Pending};
use super::book::{Chain, Position, Segment, SharedBook};
use super::buffer::AlignedBuffer;
use super::disk::Disk;
use super::format::{BLOCK, GroupHeader, Record, encode_meta};
use super::pool::{Pool, Preparing};
use super::reader::JournalReader;
use super::recovery::Recovered;
use super::{JournalFailed, JournalSettings, Meta, RECORD_BYTES_MAX};

/// A group is closed at this size, or a quarter of a segment; the rest goes into another.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Kept free at the end of a segment for its seal.
const SEAL_BYTES: u64 = BLOCK as u64;

/// The one writer of a journal. Not shared: one thread owns it.
#[derive(Debug)]
pub struct JournalWriter {
    directory: PathBuf,
    settings: JournalSettings,
    book: Arc<SharedBook>,
    chain: Chain,
    pool: Pool,
    tail: u64,
    sequence_next: u64,
    generation_next: u64,
    groups: Groups,
    /// The ends of logs with what was pushed and not yet committed.
    pushed_ends: BTreeMap<u64, u64>,
    failed: Option<JournalFailed>,
    stats: JournalStats,
}

/// Counts since the journal was opened, and its present size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Groups that were written; each was one synced write.
    pub groups: u64,
    /// Records that were written.
    pub records: u64,
    /// Bytes that were written, padding included.
    pub bytes: u64,
    /// Segments that were begun.
    pub rolls: u64,
    /// Segments that were not ready when they were needed, so that a commit waited.
    pub rolls_waited: u64,
    /// Segments in use.
    pub segments_live: usize,
    /// Segments ready for use.
    pub segments_free: usize,
    /// The size of the segments in use.
    pub bytes_live: u64,
}

/// A partition that keeps the oldest segment from being used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// The partition.
    pub partition: u64,
    /// The index that its checkpoint has to reach.
    pub index: u64,
}

impl JournalWriter {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        settings: JournalSettings,
        recovered: Recovered,
        preparing: Preparing,
    ) -> Self {
        let Recovered {
            free, file_next, ..
        } = recovered;
        let pool = Pool::new(
            disk,
            directory.clone(),
            settings.segment_bytes,
            free,
            file_next,
            preparing,
        );
        let quarter = usize::try_from(settings.segment_bytes / 4).unwrap_or(GROUP_BYTES_MAX);
        let group_bytes_max = quarter.min(GROUP_BYTES_MAX);
        let mut writer = Self {
            directory,
            settings,
            book: Arc::new(SharedBook::new(recovered.book)),
            chain: recovered.chain,
            pool,
            tail: recovered.tail,
            sequence_next: recovered.sequence_next,
            generation_next: recovered.generation_next,
            groups: Groups::closing_at(group_bytes_max),
            pushed_ends: BTreeMap::new(),
            failed: None,
            stats: JournalStats::default(),
        };
        writer.pool.prepare_next();
        writer
    }

    /// A reader of this journal.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(Arc::clone(&self.book))
    }

    /// Where the journal is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.directory
    }

    /// Makes the next segment now if none is ready: what a thread does beside the commits of a
    /// journal on a real disk.
    ///
    /// # Errors
    /// If the file cannot be made. Nothing is lost: it is tried again when it is needed.
    #[cfg(any(test, feature = "testing"))]
    pub fn prepare(&mut self) -> io::Result<()> {
        self.pool.prepare_now()
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        JournalStats {
            segments_live: self.chain.live.len(),
            segments_free: self.pool.len(),
            rolls_waited: self.pool.waited,
            bytes_live: self.chain.live.iter().map(|live| live.segment.bytes).sum(),
            ..self.stats
        }
    }

    /// The index of the last entry of a partition's log, with what was pushed.
    #[must_use]
    pub fn pushed_end(&self, partition: u64) -> u64 {
        match self.pushed_ends.get(&partition) {
            Some(end) => *end,
            None => self
                .book
                .lock()
                .partitions
                .get(&partition)
                .map_or(0, |log| log.meta.end),
        }
    }

    /// Adds an entry to the next commit.
    ///
    /// # Panics
    /// If it does not follow the partition's last entry, or is larger than
    /// [`RECORD_BYTES_MAX`]: both are broken invariants of the caller.
    pub fn push_entry(&mut self, partition: u64, epoch: u64, index: u64, data: &[u8]) {
        let end = self.pushed_end(partition);
        assert!(
            index == end + 1,
            "entry {index} of partition {partition:x} after {end}"
        );
        assert!(
            data.len() <= RECORD_BYTES_MAX,
            "an entry of {} bytes",
            data.len()
        );
        self.pushed_ends.insert(partition, index);
        let offset = self
            .groups
            .add(&Record::entry(partition, epoch, index, data));
        self.groups.pending.push(Pending::Entry {
            partition,
            epoch,
            index,
            offset,
        });
    }

    /// Sets the state of a partition's log with the next commit, see [`Meta::end`].
    pub fn push_meta(&mut self, partition: u64, meta: &Meta) {
        self.pushed_ends.insert(partition, meta.end);
        let mut data = Vec::new();
        encode_meta(meta, &mut data);
        self.groups.add(&Record::meta(partition, &data));
        self.groups.pending.push(Pending::Meta {
            partition,
            meta: meta.clone(),
        });
    }

    /// Drops a partition's log with the next commit. A [`push_meta`](Self::push_meta) after it
    /// begins a new one, in the same commit: so all entries can be dropped whatever their
    /// index.
    pub fn push_forget(&mut self, partition: u64) {
        self.pushed_ends.insert(partition, 0);
        self.groups.add(&Record::forget(partition));
        self.groups.pending.push(Pending::Forget { partition });
    }

    /// Makes everything that was pushed durable. Nothing pushed: nothing happens.
    ///
    /// # Errors
    /// If writing failed, now or before; see [`JournalFailed`].
    pub fn commit(&mut self) -> Result<(), JournalFailed> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.groups.close();
        if self.groups.closed.is_empty() {
            return Ok(());
        }
        let mut groups = std::mem::take(&mut self.groups);
        for group in &groups.closed {
            if let Err(error) = self.write_group(&mut groups.buffer, group) {
                let failed = JournalFailed {
                    file: self.active_path(),
                    reason: error.to_string(),
                };
                self.failed = Some(failed.clone());
                return Err(failed);
            }
            self.enter(
                &mut groups.pending[group.pending.clone()],
                group.bytes.len() as u64,
            );
        }
        self.pushed_ends.clear();
        groups.clear();
        self.groups = groups;
        Ok(())
    }

    /// Frees the oldest segments whose entries are all at or below what `checkpointed` answers
    /// for their partition (and whatever else pins them, which is the caller's to consider).
    /// `None` keeps all entries of a partition that has not been forgotten. Answers the
    /// partitions whose log now begins later, and where.
    pub fn recycle(&mut self, checkpointed: impl Fn(u64) -> Option<u64>) -> Vec<(u64, u64)> {
        let mut changed = BTreeMap::new();
        while self.chain.live.len() > 1 {
            let Some(oldest) = self.chain.live.front() else {
                break;
            };
            let holds = |(partition, last): (&u64, &u64)| checkpointed(*partition) < Some(*last);
            if oldest.last_index.iter().any(holds) {
                break;
            }
            let Some(oldest) = self.chain.live.pop_front() else {
                break;
            };
            let mut book = self.book.lock();
            book.segments.remove(&(oldest.segment.generation as u32));
            for partition in oldest.last_index.keys() {
                if let Some(log) = book.partitions.get_mut(partition) {
                    log.drop_segment(oldest.segment.generation);
                    changed.insert(*partition, log.first());
                }
            }
            drop(book);
            self.pool.add(oldest.segment);
        }
        self.publish_pressure();
        changed.into_iter().collect()
    }

    /// If there are nearly as many live segments as there may be: the partitions that hold the
    /// oldest one. Otherwise empty. The journal grows on until they are checkpointed and
    /// [`recycle`](Self::recycle) is called; it never drops what may be needed.
    #[must_use]
    pub fn pressure(&self) -> Vec<Pressure> {
        // While the last ones fill, what holds the first is checkpointed.
        let few = self.settings.segments_max * 5 / 8;
        if self.chain.live.len() <= few.max(1) {
            Vec::new()
        } else {
            self.holders()
        }
    }

    /// The partitions that hold the oldest segment, if it is not also the newest.
    #[must_use]
    pub fn holders(&self) -> Vec<Pressure> {
        if self.chain.live.len() < 2 {
            return Vec::new();
        }
        let oldest = self.chain.live.front().map(|live| live.last_index.iter());
        let pressure = |(partition, index): (&u64, &u64)| Pressure {
            partition: *partition,
            index: *index,
        };
        oldest.into_iter().flatten().map(pressure).collect()
    }

    fn active_path(&self) -> PathBuf {
        match self.chain.live.back() {
            Some(live) => live.segment.path.clone(),
            None => self.directory.clone(),
        }
    }

    fn active(&self) -> Arc<Segment> {
        let live = self
            .chain
            .live
            .back()
            .expect("there is always a live segment");
        Arc::clone(&live.segment)
    }

    fn write_group(&mut self, buffer: &mut AlignedBuffer, group: &Group) -> io::Result<()> {
        let bytes = group.bytes.len() as u64;
        // A crash may have come between the seal and the preamble.
        if self.tail == BLOCK as u64 {
            let preamble = self.preamble();
            self.write_preamble(preamble)?;
        }
        if self.tail + bytes + SEAL_BYTES > self.active().bytes {
            self.roll(bytes)?;
        }
        let records = u32::try_from(group.pending.len()).unwrap_or(u32::MAX);
        self.write_at_tail(
            &mut buffer.bytes_mut()[group.bytes.clone()],
            group.length,
            records,
        )
    }

    /// Completes the header of a group and writes it at the end of the active segment.
    fn write_at_tail(&mut self, group: &mut [u8], length: u32, records: u32) -> io::Result<()> {
        let segment = self.active();
        let sequence = self.sequence_next;
        GroupHeader {
            generation: segment.generation,
            sequence,
            length,
            records,
        }
        .write(group);
        segment.file.write_durable(group, self.tail)?;
        self.tail += group.len() as u64;
        self.sequence_next += 1;
        self.stats.groups += 1;
        self.stats.records += u64::from(records);
        self.stats.bytes += group.len() as u64;
        Ok(())
    }

    /// Enters a group that is durable, and ends `bytes` after its start, into the books.
    fn enter(&mut self, pending: &mut [Pending], bytes: u64) {
        let start = self.tail - bytes;
        let generation = self.active().generation;
        let mut book = self.book.lock();
        for record in pending {
            match record {
                Pending::Entry {
                    partition,
                    epoch,
                    index,
                    offset,
                } => {
                    let position = Position::new(generation, start + *offset);
                    let next = book.entry(&mut self.chain, *partition, (*epoch, *index), position);
                    assert!(next, "the order was checked when the entry was pushed");
                }
                Pending::Meta { partition, meta } => {
                    book.set(&mut self.chain, *partition, std::mem::take(meta));
                }
                Pending::Forget { partition } => book.forget(&mut self.chain, *partition),
            }
        }
    }
}
