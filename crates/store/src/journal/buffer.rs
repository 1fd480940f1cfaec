//! Memory aligned to blocks, as writes past the page cache want it. Knows nothing of what is
//! in it.

use std::ops::Range;

use super::format::BLOCK;

/// A growing buffer whose content begins at a multiple of the block size.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer {
    /// Longer than the content by up to a block, so that an aligned start lies in it.
    raw: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut buffer = Self::default();
        buffer.reserve(len);
        buffer.len = len;
        buffer
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.raw[self.start..self.start + self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.raw[self.start..self.start + self.len]
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes()[range]
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let at = self.start + self.len;
        self.raw[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds zeros up to the next block.
    pub(super) fn pad(&mut self) {
        let padded = self.len.next_multiple_of(BLOCK);
        self.reserve(padded - self.len);
        let at = self.start + self.len;
        self.raw[at..self.start + padded].fill(0);
        self.len = padded;
    }

    /// Empties the buffer; gives memory beyond `kept_max` back.
    pub(super) fn clear(&mut self, kept_max: usize) {
        self.len = 0;
        if self.raw.len() > kept_max + BLOCK {
            *self = Self::default();
        }
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.len + more;
        if self.start + needed <= self.raw.len() {
            return;
        }
        let raw = vec![0; needed.next_power_of_two().max(16 * BLOCK) + BLOCK];
        let start = raw.as_ptr().align_offset(BLOCK);
        let old = std::mem::replace(&mut self.raw, raw);
        self.raw[start..start + self.len].copy_from_slice(&old[self.start..self.start + self.len]);
        self.start = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_survives_growth_and_stays_aligned() {
        let mut buffer = AlignedBuffer::default();
        let mut expected = Vec::new();
        for round in 0..2000u32 {
            let piece = vec![round as u8; (round % 97) as usize];
            buffer.extend(&piece);
            expected.extend(piece);
        }
        assert_eq!(buffer.bytes(), expected);
        assert_eq!(buffer.bytes().as_ptr().align_offset(BLOCK), 0);
        buffer.pad();
        assert_eq!(buffer.len(), expected.len().next_multiple_of(BLOCK));
        assert!(
            buffer.bytes()[expected.len()..]
                .iter()
                .all(|byte| *byte == 0)
        );
        buffer.clear(0);
        buffer.extend(b"x");
        buffer.pad();
        assert_eq!(buffer.bytes()[..2], *b"x\0");
    }
}
