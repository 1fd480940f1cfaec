//! What the raft log file says of itself: how long it was made, and up to where it is durable.
//!
//! Two places in the file's header hold it in turn, each with a checksum: a write that a crash
//! tore leaves the other one. It is written where a sync comes anyway, or when nothing is to be
//! done, so that no commit waits for it. Knows nothing of what the file holds.

use super::frame::{u32_at, u64_at};

const MAGIC: &[u8; 4] = b"EXTN";
/// Magic, crc32c of all that follows it, number, filled, durable.
const EXTENT_BYTES: usize = 32;
/// The places lie in sectors of their own: a disk tears no sector.
const PLACES: [usize; 2] = [512, 1024];

/// One statement of the file about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Counts the statements; the greatest one counts.
    pub(super) number: u64,
    /// The file is at least so long: zeros had been written up to here.
    pub(super) filled: u64,
    /// Every frame that begins below this was durable.
    pub(super) durable: u64,
}

impl Extent {
    /// Where this statement goes, and its bytes.
    pub(super) fn encode(&self) -> (u64, [u8; EXTENT_BYTES]) {
        let mut bytes = [0; EXTENT_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.filled.to_le_bytes());
        bytes[24..].copy_from_slice(&self.durable.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (PLACES[(self.number % 2) as usize] as u64, bytes)
    }

    /// The first byte of a header, behind its first `mark` bytes, that belongs to no statement
    /// and is not zero as it was written.
    pub(super) fn stray_byte(header: &[u8], mark: usize) -> Option<usize> {
        let stated = |at: usize| {
            let within = |place: &usize| (*place..*place + EXTENT_BYTES).contains(&at);
            PLACES.iter().any(within)
        };
        (mark..header.len()).find(|at| header[*at] != 0 && !stated(*at))
    }

    /// The newest intact statement of a file.
    pub(super) fn newest(file: &[u8]) -> Option<Self> {
        let intact = PLACES.iter().filter_map(|at| Self::decode(file, *at));
        intact.max_by_key(|extent| extent.number)
    }

    fn decode(file: &[u8], at: usize) -> Option<Self> {
        let bytes = file.get(at..at + EXTENT_BYTES)?;
        let intact = &bytes[..4] == MAGIC && u32_at(bytes, 4)? == crc32c::crc32c(&bytes[8..]);
        intact.then_some(Self {
            number: u64_at(bytes, 8)?,
            filled: u64_at(bytes, 16)?,
            durable: u64_at(bytes, 24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_intact_statement_counts() {
        let mut file = vec![0; 4096];
        assert_eq!(Extent::newest(&file), None);
        for number in 1..4 {
            let extent = Extent {
                number,
                filled: 1 << 20,
                durable: 4096 * number,
            };
            let (at, bytes) = extent.encode();
            file[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
            assert_eq!(Extent::newest(&file), Some(extent));
        }
        let (newest, older) = (PLACES[1], PLACES[0]);
        for bit in 0..EXTENT_BYTES * 8 {
            let mut damaged = file.clone();
            damaged[newest + bit / 8] ^= 1 << (bit % 8);
            let found = Extent::newest(&damaged).map(|extent| extent.number);
            assert_eq!(found, Some(2), "bit {bit}");
            damaged[older + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Extent::newest(&damaged), None, "bit {bit}");
        }
    }
}
