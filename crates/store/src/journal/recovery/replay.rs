//! Following the chain of segments and reading their groups. Knows nothing of which other
//! files there are.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::super::book::{Book, Chain, Position, Segment};
use super::super::format::{
    BLOCK, Content, GROUP_HEADER_BYTES, GroupHeader, Record, SegmentHeader,
};
use super::super::reader::Window;
use super::super::{OpenError, Replayed};
use super::{Directory, Found};

pub(super) struct Replaying<'a> {
    pub(super) at: &'a Directory<'a>,
    pub(super) found: &'a BTreeMap<u32, Found>,
    pub(super) window: Window,
    pub(super) book: Book,
    pub(super) chain: Chain,
    pub(super) sequence_next: u64,
    pub(super) replay: &'a mut dyn FnMut(Replayed<'_>),
    /// Where the last group lies, and how long it is.
    pub(super) last_group: Option<(Arc<Segment>, u64, u64)>,
}

impl Replaying<'_> {
    /// Replays the chain that ends with the newest segment, or with the one before it if the
    /// newest was not yet linked. Answers where the last one ends.
    pub(super) fn follow(&mut self, newest: SegmentHeader) -> Result<u64, OpenError> {
        let mut link = (newest.oldest_generation, newest.oldest_file);
        let mut is_first = true;
        loop {
            let (generation, number) = link;
            let found = self.found.get(&number).filter(|found| {
                found
                    .header
                    .is_some_and(|header| header.generation == generation)
            });
            let Some((found, header)) = found.and_then(|found| Some((found, found.header?))) else {
                return Err(OpenError::Missing {
                    file: self.at.file(number),
                });
            };
            let segment = Arc::new(self.at.segment(number, found));
            if is_first {
                self.sequence_next = header.first_sequence;
                is_first = false;
            } else if header.first_sequence != self.sequence_next {
                let reason = format!(
                    "it begins with group {}, but {} comes next",
                    header.first_sequence, self.sequence_next
                );
                return Err(OpenError::Corrupt {
                    file: segment.path.clone(),
                    offset: 0,
                    reason,
                });
            }
            self.book
                .segments
                .insert(generation as u32, Arc::clone(&segment));
            self.chain.push(Arc::clone(&segment));
            match self.replay_segment(&segment)? {
                SegmentEnd::Sealed(next) => link = next,
                SegmentEnd::Open(tail) => {
                    let next = self.sequence_next;
                    self.at
                        .check_empty_from(&segment, tail, next, &self.chain)?;
                    return Ok(tail);
                }
            }
        }
    }

    fn replay_segment(&mut self, segment: &Arc<Segment>) -> Result<SegmentEnd, OpenError> {
        let mut offset = BLOCK as u64;
        loop {
            let header = peek(&mut self.window, segment, offset)?.filter(|header| {
                header.generation == segment.generation && header.sequence == self.sequence_next
            });
            let Some(header) = header else {
                return Ok(SegmentEnd::Open(offset));
            };
            let Some(group) = read_group(&mut self.window, segment, offset, header)? else {
                return Ok(SegmentEnd::Open(offset));
            };
            let records = &group[GROUP_HEADER_BYTES..];
            let books = (&mut self.book, &mut self.chain);
            let start = offset + GROUP_HEADER_BYTES as u64;
            let seal = replay_records(records, segment, start, books, self.replay)?;
            self.sequence_next += 1;
            self.last_group = Some((Arc::clone(segment), offset, header.padded_bytes()));
            if let Some(next) = seal {
                return Ok(SegmentEnd::Sealed(next));
            }
            offset += header.padded_bytes();
        }
    }
}

/// How a segment ends: with a seal that names the next one, or with the journal.
enum SegmentEnd {
    Sealed((u64, u32)),
    Open(u64),
}

/// Enters the records of a group into the books; answers the seal if there is one.
fn replay_records(
    mut records: &[u8],
    segment: &Segment,
    start: u64,
    (book, chain): (&mut Book, &mut Chain),
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<Option<(u64, u32)>, OpenError> {
    let total = records.len();
    let mut seal = None;
    while !records.is_empty() {
        let offset = start + (total - records.len()) as u64;
        let corrupt = |reason: &str| OpenError::Corrupt {
            file: segment.path.clone(),
            offset,
            reason: reason.to_owned(),
        };
        let record = Record::read(records).ok_or_else(|| corrupt("a damaged record"))?;
        records = &records[Record::bytes(records)..];
        let content = record
            .content()
            .ok_or_else(|| corrupt("an unknown record"))?;
        if let Some(replayed) = content.replayed() {
            replay(replayed);
        }
        match content {
            Content::Entry(record) => {
                let position = Position::new(segment.generation, offset);
                let at = (record.epoch, record.index);
                if !book.entry(chain, record.partition, at, position) {
                    return Err(corrupt("an entry that does not follow the one before it"));
                }
            }
            Content::Meta(partition, meta) => book.set(chain, partition, meta),
            Content::Forget(partition) => book.forget(chain, partition),
            Content::Seal(generation, file) => seal = Some((generation, file)),
        }
    }
    Ok(seal)
}

/// What looks like a group's header at this place.
pub(super) fn peek(
    window: &mut Window,
    segment: &Segment,
    offset: u64,
) -> Result<Option<GroupHeader>, OpenError> {
    let bytes = window.read(segment, offset, GROUP_HEADER_BYTES);
    Ok(bytes
        .map_err(|source| io_at(segment, source))?
        .and_then(GroupHeader::peek))
}

/// Header and records of the group, if it is whole and its checksum is right.
pub(super) fn read_group<'a>(
    window: &'a mut Window,
    segment: &Segment,
    offset: u64,
    header: GroupHeader,
) -> Result<Option<&'a [u8]>, OpenError> {
    let length = GROUP_HEADER_BYTES + header.length as usize;
    let group = window
        .read(segment, offset, length)
        .map_err(|source| io_at(segment, source))?;
    Ok(group.filter(|group| header.verify(group)))
}

fn io_at(segment: &Segment, source: io::Error) -> OpenError {
    OpenError::Io {
        path: segment.path.clone(),
        source,
    }
}
