//! The bytes of segments, groups and records; all numbers are little-endian. Knows nothing of
//! files.
//!
//! ```text
//! segment: a header block, then groups, each from the start of a block
//! header:  magic 8 | format 4 | file 4 | journal id 8 | generation 8 | size 8 |
//!          first sequence 8 | oldest generation 8 | oldest file 4 | crc32c 4 of all before
//! group:   magic 4 | crc32c 4 of the rest | generation 8 | sequence 8 | length 4 | records 4 |
//!          records | zeros up to the end of the block
//! record:  length of data 4 | crc32c 4 of the rest | kind 1 | partition 8 | epoch 8 | index 8 |
//!          data
//! kinds:   1 entry | 2 meta | 3 forget | 4 seal: index is the next segment's generation,
//!          epoch its file
//! meta:    adopted 8 | end 8 | commit 8 | epochs 8 | (epoch 8, index 8)…
//! ```

use super::buffer::AlignedBuffer;
use super::{Meta, Replayed};
use crate::item::codec::Input;

/// The unit of writes: a disk's block or a multiple of it.
pub(crate) const BLOCK: usize = 4096;
/// The format this version writes, and the newest that it reads.
pub(super) const JOURNAL_FORMAT: u32 = 1;

pub(super) const GROUP_HEADER_BYTES: usize = 32;
pub(super) const RECORD_HEADER_BYTES: usize = 33;

const SEGMENT_MAGIC: [u8; 8] = *b"TSSEGMNT";
const GROUP_MAGIC: [u8; 4] = *b"TSGR";
const SEGMENT_HEADER_BYTES: usize = 64;

const ENTRY: u8 = 1;
const META: u8 = 2;
const FORGET: u8 = 3;
const SEAL: u8 = 4;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) file: u32,
    pub(super) journal_id: u64,
    pub(super) generation: u64,
    pub(super) size: u64,
    /// The sequence number of its first group.
    pub(super) first_sequence: u64,
    pub(super) oldest_generation: u64,
    pub(super) oldest_file: u32,
}

/// What the first block of a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderBlock {
    /// Prepared, never used.
    Blank,
    Segment(SegmentHeader),
    NewerFormat(u32),
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> AlignedBuffer {
        let mut out = AlignedBuffer::default();
        out.extend(&SEGMENT_MAGIC);
        out.extend(&JOURNAL_FORMAT.to_le_bytes());
        out.extend(&self.file.to_le_bytes());
        out.extend(&self.journal_id.to_le_bytes());
        out.extend(&self.generation.to_le_bytes());
        out.extend(&self.size.to_le_bytes());
        out.extend(&self.first_sequence.to_le_bytes());
        out.extend(&self.oldest_generation.to_le_bytes());
        out.extend(&self.oldest_file.to_le_bytes());
        let crc = crc32c::crc32c(out.bytes());
        out.extend(&crc.to_le_bytes());
        out.pad();
        out
    }

    pub(super) fn decode(block: &[u8]) -> HeaderBlock {
        if block.iter().all(|byte| *byte == 0) {
            return HeaderBlock::Blank;
        }
        if block.get(..8) != Some(&SEGMENT_MAGIC[..]) {
            return HeaderBlock::Damaged;
        }
        let format = u32_at(block, 8);
        if format > JOURNAL_FORMAT {
            return HeaderBlock::NewerFormat(format);
        }
        let content = &block[..SEGMENT_HEADER_BYTES - 4];
        if crc32c::crc32c(content) != u32_at(block, SEGMENT_HEADER_BYTES - 4) {
            return HeaderBlock::Damaged;
        }
        HeaderBlock::Segment(Self {
            file: u32_at(block, 12),
            journal_id: u64_at(block, 16),
            generation: u64_at(block, 24),
            size: u64_at(block, 32),
            first_sequence: u64_at(block, 40),
            oldest_generation: u64_at(block, 48),
            oldest_file: u32_at(block, 56),
        })
    }
}

/// The header of a group, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) generation: u64,
    pub(super) sequence: u64,
    /// Of the records.
    pub(super) length: u32,
    pub(super) records: u32,
}

impl GroupHeader {
    /// The header at the start of these bytes, if it is one; nothing is checked yet.
    pub(super) fn peek(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < GROUP_HEADER_BYTES || bytes[..4] != GROUP_MAGIC {
            return None;
        }
        Some(Self {
            generation: u64_at(bytes, 8),
            sequence: u64_at(bytes, 16),
            length: u32_at(bytes, 24),
            records: u32_at(bytes, 28),
        })
    }

    /// The bytes the group takes in a segment.
    pub(super) fn padded_bytes(&self) -> u64 {
        (GROUP_HEADER_BYTES as u64 + u64::from(self.length)).next_multiple_of(BLOCK as u64)
    }

    /// Whether the checksum over header and records is right; `group` has at least both.
    pub(super) fn verify(&self, group: &[u8]) -> bool {
        let end = GROUP_HEADER_BYTES + self.length as usize;
        group.len() >= end && crc32c::crc32c(&group[8..end]) == u32_at(group, 4)
    }

    /// Fills in the header space at the start of a group whose records are complete.
    pub(super) fn write(&self, group: &mut [u8]) {
        group[..4].copy_from_slice(&GROUP_MAGIC);
        group[8..16].copy_from_slice(&self.generation.to_le_bytes());
        group[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        group[24..28].copy_from_slice(&self.length.to_le_bytes());
        group[28..32].copy_from_slice(&self.records.to_le_bytes());
        let end = GROUP_HEADER_BYTES + self.length as usize;
        let crc = crc32c::crc32c(&group[8..end]);
        group[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A record as it lies in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    kind: u8,
    pub(super) partition: u64,
    pub(super) epoch: u64,
    pub(super) index: u64,
    pub(super) data: &'a [u8],
}

/// What a record says.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Entry(Record<'a>),
    Meta(u64, Meta),
    Forget(u64),
    /// The segment ends here; the next one has this generation and file.
    Seal(u64, u32),
}

impl<'a> Record<'a> {
    pub(super) fn entry(partition: u64, epoch: u64, index: u64, data: &'a [u8]) -> Self {
        Self {
            kind: ENTRY,
            partition,
            epoch,
            index,
            data,
        }
    }

    pub(super) fn forget(partition: u64) -> Self {
        Self {
            kind: FORGET,
            partition,
            epoch: 0,
            index: 0,
            data: &[],
        }
    }

    pub(super) fn seal(generation: u64, file: u32) -> Self {
        Self {
            kind: SEAL,
            partition: 0,
            epoch: u64::from(file),
            index: generation,
            data: &[],
        }
    }

    pub(super) fn meta(partition: u64, data: &'a [u8]) -> Self {
        Self {
            kind: META,
            partition,
            epoch: 0,
            index: 0,
            data,
        }
    }

    pub(super) fn write(&self, out: &mut AlignedBuffer) {
        let mut header = [0; RECORD_HEADER_BYTES];
        let length = u32::try_from(self.data.len()).expect("records are bounded");
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[8] = self.kind;
        header[9..17].copy_from_slice(&self.partition.to_le_bytes());
        header[17..25].copy_from_slice(&self.epoch.to_le_bytes());
        header[25..33].copy_from_slice(&self.index.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[8..]), self.data);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        out.extend(&header);
        out.extend(self.data);
    }

    /// The bytes of the record whose header starts here.
    pub(super) fn bytes(header: &[u8]) -> usize {
        RECORD_HEADER_BYTES + u32_at(header, 0) as usize
    }

    /// The record at the start of these bytes, if it is whole and its checksum is right.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < RECORD_HEADER_BYTES {
            return None;
        }
        let end = Self::bytes(bytes);
        if bytes.len() < end || crc32c::crc32c(&bytes[8..end]) != u32_at(bytes, 4) {
            return None;
        }
        Some(Self {
            kind: bytes[8],
            partition: u64_at(bytes, 9),
            epoch: u64_at(bytes, 17),
            index: u64_at(bytes, 25),
            data: &bytes[RECORD_HEADER_BYTES..end],
        })
    }

    pub(super) fn is_entry(&self) -> bool {
        self.kind == ENTRY
    }

    pub(super) fn content(self) -> Option<Content<'a>> {
        Some(match self.kind {
            ENTRY => Content::Entry(self),
            META => Content::Meta(self.partition, decode_meta(self.data)?),
            FORGET => Content::Forget(self.partition),
            SEAL => Content::Seal(self.index, u32::try_from(self.epoch).ok()?),
            _ => return None,
        })
    }
}

impl<'a> Content<'a> {
    /// What the outside sees of it.
    pub(super) fn replayed(&'a self) -> Option<Replayed<'a>> {
        match self {
            Self::Entry(record) => Some(Replayed::Entry {
                partition: record.partition,
                epoch: record.epoch,
                index: record.index,
                data: record.data,
            }),
            Self::Meta(partition, meta) => Some(Replayed::Meta {
                partition: *partition,
                meta,
            }),
            Self::Forget(partition) => Some(Replayed::Forget {
                partition: *partition,
            }),
            Self::Seal(..) => None,
        }
    }
}

pub(super) fn encode_meta(meta: &Meta, out: &mut Vec<u8>) {
    for number in [
        meta.adopted,
        meta.end,
        meta.commit,
        meta.history.len() as u64,
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for (epoch, index) in &meta.history {
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend_from_slice(&index.to_le_bytes());
    }
}

fn decode_meta(data: &[u8]) -> Option<Meta> {
    let mut input = Input { bytes: data };
    let mut number = || input.u64().ok();
    let (adopted, end, commit, epochs) = (number()?, number()?, number()?, number()?);
    let mut history = Vec::new();
    for _ in 0..epochs {
        history.push((number()?, number()?));
    }
    input.bytes.is_empty().then_some(Meta {
        adopted,
        end,
        history,
        commit,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::testing::golden::{Golden, hex};

    #[test]
    fn the_bytes_of_a_journal_do_not_change() {
        let header = SegmentHeader {
            file: 3,
            journal_id: 0xabc,
            generation: 7,
            size: 65536,
            first_sequence: 99,
            oldest_generation: 5,
            oldest_file: 1,
        };
        let encoded = header.encode();
        assert_eq!(
            SegmentHeader::decode(encoded.bytes()),
            HeaderBlock::Segment(header)
        );
        let mut group = AlignedBuffer::zeroed(GROUP_HEADER_BYTES);
        let mut meta = Vec::new();
        let state = Meta {
            adopted: 4,
            end: 11,
            history: vec![(2, 1), (4, 9)],
            commit: 10,
        };
        encode_meta(&state, &mut meta);
        Record::entry(1, 4, 12, b"data").write(&mut group);
        Record::meta(1, &meta).write(&mut group);
        Record::forget(2).write(&mut group);
        Record::seal(8, 4).write(&mut group);
        let length = (group.len() - GROUP_HEADER_BYTES) as u32;
        let group_header = GroupHeader {
            generation: 7,
            sequence: 99,
            length,
            records: 4,
        };
        group_header.write(group.bytes_mut());
        assert_eq!(GroupHeader::peek(group.bytes()), Some(group_header));
        assert!(group_header.verify(group.bytes()));
        let golden = Golden {
            format: "the journal's header, group and records",
            number: "JOURNAL_FORMAT",
            file: "journal-records-1.txt",
            text: include_str!("../../testdata/journal-records-1.txt"),
        };
        golden.check(&format!(
            "header: {}\ngroup with entry, meta, forget, seal: {}\n",
            hex(&encoded.bytes()[..SEGMENT_HEADER_BYTES]),
            hex(group.bytes())
        ));
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        let mut group = AlignedBuffer::zeroed(GROUP_HEADER_BYTES);
        Record::entry(1, 4, 12, b"data").write(&mut group);
        let length = (group.len() - GROUP_HEADER_BYTES) as u32;
        GroupHeader {
            generation: 7,
            sequence: 99,
            length,
            records: 1,
        }
        .write(group.bytes_mut());
        let good = group.bytes().to_vec();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let accepted = GroupHeader::peek(&bad).is_some_and(|header| header.verify(&bad));
            assert!(!accepted, "bit {bit}");
            if bit / 8 >= GROUP_HEADER_BYTES {
                assert!(
                    Record::read(&bad[GROUP_HEADER_BYTES..]).is_none(),
                    "bit {bit}"
                );
            }
        }
    }
}
