//! Which keys a database holds besides rows, and what is in them. Knows no database.
//!
//! Rows have their encoded keys and values as anywhere else, and begin with a byte above those of
//! the records here:
//!
//! - `00` `h`: the head: format `01`, index (8), log time in milliseconds (8).
//! - `01`, index (8, big-endian): a remembered request: id (16), digest (8), log time (8),
//!   code (2), version (8).
//!
//! Numbers in values are little-endian.

use std::ops::Range;

use tablestore_replication::{Outcome, Remembered, RequestId};
use tablestore_store::engine::{KEY_BYTES_MAX, ROW_KEY_FIRST_BYTE};

/// The key of the head.
pub(crate) const HEAD_KEY: &[u8] = &[0, b'h'];
const REMEMBERED: u8 = 1;
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 17;
const REMEMBERED_BYTES: usize = 42;

/// How far a partition has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The index of the last write; versions of rows are such.
    pub(crate) index: u64,
    /// The partition's own time of the last write.
    pub(crate) log_ms: u64,
}

impl Head {
    pub(crate) fn encode(self) -> [u8; HEAD_BYTES] {
        let mut out = [FORMAT; HEAD_BYTES];
        out[1..9].copy_from_slice(&self.index.to_le_bytes());
        out[9..].copy_from_slice(&self.log_ms.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() == HEAD_BYTES && bytes.first() == Some(&FORMAT);
        fits.then_some(())?;
        Some(Self {
            index: u64_at(bytes, 1)?,
            log_ms: u64_at(bytes, 9)?,
        })
    }
}

/// The key of what is remembered of the write at `index`.
pub(crate) fn remembered_key(index: u64) -> [u8; 9] {
    let mut key = [REMEMBERED; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// All keys of what is remembered.
pub(crate) fn remembered_keys() -> Range<[u8; 1]> {
    [REMEMBERED]..[REMEMBERED + 1]
}

pub(crate) fn encode_remembered(remembered: &Remembered) -> [u8; REMEMBERED_BYTES] {
    let mut out = [0; REMEMBERED_BYTES];
    out[..16].copy_from_slice(&remembered.request.0.to_le_bytes());
    out[16..24].copy_from_slice(&remembered.digest.to_le_bytes());
    out[24..32].copy_from_slice(&remembered.log_ms.to_le_bytes());
    out[32..34].copy_from_slice(&remembered.outcome.code.to_le_bytes());
    out[34..].copy_from_slice(&remembered.outcome.version.to_le_bytes());
    out
}

pub(crate) fn decode_remembered(key: &[u8], value: &[u8]) -> Option<Remembered> {
    let (first, index) = key.split_first()?;
    let fits = *first == REMEMBERED && value.len() == REMEMBERED_BYTES;
    fits.then_some(())?;
    Some(Remembered {
        request: RequestId(u128::from_le_bytes(value.get(..16)?.try_into().ok()?)),
        digest: u64_at(value, 16)?,
        index: u64::from_be_bytes(index.try_into().ok()?),
        log_ms: u64_at(value, 24)?,
        outcome: Outcome {
            code: u16::from_le_bytes(value.get(32..34)?.try_into().ok()?),
            version: u64_at(value, 34)?,
        },
    })
}

/// Whether a key may be a row's.
pub(crate) fn is_row_key(key: &[u8]) -> bool {
    let first = key
        .first()
        .is_some_and(|first| *first >= ROW_KEY_FIRST_BYTE);
    first && key.len() <= KEY_BYTES_MAX
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let found = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(found.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_the_records_stay_as_they_are() {
        let head = Head {
            index: 0x0102,
            log_ms: 0x0304,
        };
        let bytes = head.encode();
        assert_eq!(bytes[..4], [1, 2, 1, 0]);
        assert_eq!(Head::decode(&bytes), Some(head));
        assert_eq!(Head::decode(&bytes[1..]), None);
        let remembered = Remembered {
            request: RequestId(u128::MAX - 5),
            digest: 7,
            index: 0x0102_0304,
            log_ms: 9,
            outcome: Outcome {
                code: 412,
                version: 3,
            },
        };
        let (key, value) = (remembered_key(0x0102_0304), encode_remembered(&remembered));
        assert_eq!(key, [1, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(decode_remembered(&key, &value), Some(remembered));
        assert_eq!(decode_remembered(&key, &value[1..]), None);
        assert_eq!(decode_remembered(&key[1..], &value), None);
    }

    #[test]
    fn no_record_has_the_key_of_a_row() {
        assert!(!is_row_key(HEAD_KEY));
        assert!(!is_row_key(&remembered_key(u64::MAX)));
        assert!(!is_row_key(&[]));
        assert!(is_row_key(&[ROW_KEY_FIRST_BYTE]));
    }
}
