//! The bytes of the raft log file: a header, then frames, then zeros.
//!
//! The header says how long the file is (see `extent`).
//! A frame is one group of records that was written at once. It says up to where the file was
//! known to be durable when it was written (`synced_to`), so that a reader can tell a write that a
//! crash tore (legal, nothing of it was acknowledged) from damage to something acknowledged.
//! Knows nothing of what the records mean.

/// First bytes of every raft log file.
pub(super) const FILE_MAGIC: &[u8; 8] = b"TSRAFTLG";
/// The format that this version writes; an older program must refuse a newer one.
pub(super) const FILE_FORMAT: u32 = 2;
/// The format that did not know its own length; it is rewritten when it is opened.
pub(super) const FILE_FORMAT_WITHOUT_EXTENT: u32 = 1;
/// Magic, format, crc32c of both; then, a sector each, the two places of the extent.
pub(super) const FILE_HEADER_BYTES: usize = 4096;
/// How much of the header the checksum in it is about, with itself.
pub(super) const FILE_MARK_BYTES: usize = 16;

/// Where the frames begin in a file of this format.
pub(super) fn header_bytes(format: u32) -> usize {
    if format == FILE_FORMAT_WITHOUT_EXTENT {
        FILE_MARK_BYTES
    } else {
        FILE_HEADER_BYTES
    }
}

const FRAME_MAGIC: u32 = 0x4d52_4654;
/// Magic, payload length, crc32c of all that follows it, sequence, synced_to.
pub(super) const FRAME_HEADER_BYTES: usize = 28;
/// A frame beyond this is damage: the writer splits groups far below it.
pub(super) const FRAME_BYTES_MAX: usize = 256 << 20;

/// The first bytes of a new file.
pub(super) fn file_header() -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(FILE_MAGIC);
    header[8..12].copy_from_slice(&FILE_FORMAT.to_le_bytes());
    let crc = crc32c::crc32c(&header[..12]);
    header[12..FILE_MARK_BYTES].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Reads the format number out of a file header, or nothing if it is damaged.
pub(super) fn read_file_header(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..FILE_MARK_BYTES)?;
    let intact =
        &header[..8] == FILE_MAGIC && u32_at(header, 12) == Some(crc32c::crc32c(&header[..12]));
    if intact { u32_at(header, 8) } else { None }
}

/// One frame around `payload`.
pub(super) fn encode(sequence: u64, synced_to: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("the writer limits groups");
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&synced_to.to_le_bytes());
    frame.extend_from_slice(payload);
    let crc = crc32c::crc32c(&frame[12..]);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// An intact frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    pub(super) synced_to: u64,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload.len()
    }
}

/// The intact frame that begins at `at`, if one does.
pub(super) fn decode(file: &[u8], at: usize) -> Option<Frame<'_>> {
    if u32_at(file, at)? != FRAME_MAGIC {
        return None;
    }
    let length = u32_at(file, at + 4)? as usize;
    if length > FRAME_BYTES_MAX {
        return None;
    }
    let end = at + FRAME_HEADER_BYTES + length;
    let checked = file.get(at + 12..end)?;
    if u32_at(file, at + 8)? != crc32c::crc32c(checked) {
        return None;
    }
    Some(Frame {
        sequence: u64_at(file, at + 12)?,
        synced_to: u64_at(file, at + 20)?,
        payload: &file[at + FRAME_HEADER_BYTES..end],
    })
}

/// Whether something behind `end` proves that the file had been durable beyond `end`: then what
/// is missing there was not torn by a crash but damaged.
pub(super) fn is_damaged_beyond(file: &[u8], end: usize) -> bool {
    let magic = FRAME_MAGIC.to_le_bytes();
    let mut at = end + 1;
    while at + FRAME_HEADER_BYTES <= file.len() {
        let Some(found) = file[at..].iter().position(|byte| *byte == magic[0]) else {
            return false;
        };
        at += found;
        if decode(file, at).is_some_and(|frame| frame.synced_to > end as u64) {
            return true;
        }
        at += 1;
    }
    false
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let part = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(part.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let part = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(part.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_way_through_bytes() {
        let mut file = file_header().to_vec();
        assert_eq!(read_file_header(&file), Some(FILE_FORMAT));
        file.extend(encode(7, 16, b"hello"));
        let frame = decode(&file, FILE_HEADER_BYTES);
        assert_eq!(
            frame,
            Some(Frame {
                sequence: 7,
                synced_to: 16,
                payload: b"hello"
            })
        );
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed() {
        let frame = encode(7, 16, b"hello");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged, 0), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(decode(&[0; 64], 0), None);
    }
}
