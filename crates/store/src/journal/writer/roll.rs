//! From one segment to the next. Knows nothing of what is committed.

use std::io;
use std::sync::Arc;

use super::super::book::Segment;
use super::super::format::{BLOCK, Record, SegmentHeader, encode_meta};
use super::groups::{Groups, Pending};
use super::{JournalWriter, SEAL_BYTES};

impl JournalWriter {
    /// Lets the readers see the pressure.
    pub(super) fn publish_pressure(&self) {
        let partitions = self
            .pressure()
            .iter()
            .map(|pressure| pressure.partition)
            .collect();
        self.book.lock().pressure = partitions;
    }

    /// Begins the next segment: its header, then the seal of the present one, which makes it
    /// part of the journal, then the state of all partitions, so that older ones can go.
    pub(super) fn roll(&mut self, bytes: u64) -> io::Result<()> {
        let preamble = self.preamble();
        let preamble_bytes = preamble.buffer.len().next_multiple_of(BLOCK) as u64;
        let needed = BLOCK as u64 + preamble_bytes + bytes + SEAL_BYTES;
        let next = self.take_segment(needed)?;
        let oldest = self.chain.live.front().map_or(&next, |live| &live.segment);
        let header = SegmentHeader {
            file: next.file_number,
            journal_id: self.settings.journal_id,
            generation: next.generation,
            size: next.bytes,
            // After the seal.
            first_sequence: self.sequence_next + 1,
            oldest_generation: oldest.generation,
            oldest_file: oldest.file_number,
        };
        next.file.write_durable(header.encode().bytes(), 0)?;
        let mut seal = Groups::default();
        seal.add(&Record::seal(next.generation, next.file_number));
        let seal_length = seal.open_length();
        seal.buffer.pad();
        self.write_at_tail(seal.buffer.bytes_mut(), seal_length, 1)?;
        let next = Arc::new(next);
        self.book
            .lock()
            .segments
            .insert(next.generation as u32, Arc::clone(&next));
        self.chain.push(next);
        self.tail = BLOCK as u64;
        self.write_preamble(preamble)?;
        self.stats.rolls += 1;
        self.publish_pressure();
        let free_max = self
            .settings
            .segments_max
            .saturating_sub(self.chain.live.len());
        self.pool.drop_surplus(free_max.max(1));
        self.pool.prepare_next();
        Ok(())
    }

    pub(super) fn write_preamble(&mut self, mut preamble: Groups) -> io::Result<()> {
        let (length, records) = (preamble.open_length(), preamble.open_records());
        if records == 0 {
            return Ok(());
        }
        preamble.buffer.pad();
        self.write_at_tail(preamble.buffer.bytes_mut(), length, records)
    }

    /// A group with the state of every partition, as it is without what is not yet durable.
    pub(super) fn preamble(&self) -> Groups {
        let mut groups = Groups::default();
        groups.begin();
        let mut data = Vec::new();
        let book = self.book.lock();
        for (partition, log) in &book.partitions {
            data.clear();
            encode_meta(&log.meta, &mut data);
            groups.add(&Record::meta(*partition, &data));
            groups.pending.push(Pending::Forget {
                partition: *partition,
            });
        }
        groups
    }

    /// A file for the next segment, with the next generation.
    fn take_segment(&mut self, bytes: u64) -> io::Result<Segment> {
        let taken = self.pool.take(bytes)?;
        let generation = self.generation_next;
        self.generation_next += 1;
        Ok(Segment {
            generation,
            ..taken
        })
    }
}
