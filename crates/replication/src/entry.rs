//! One entry of a partition's log and the encoding of its body. Knows nothing of how entries
//! travel or are stored.

use bytes::{BufMut, Bytes, BytesMut};
use tablestore_placement::Epoch;

use crate::types::{Outcome, Remembered, RequestId};

const KIND_EPOCH_START: u8 = 0;
const KIND_WRITE: u8 = 1;
const KIND_CHECKSUM: u8 = 2;
const KIND_TIME: u8 = 3;

/// Kind, log time, request id and digest stand before the payload of a write.
const WRITE_HEADER_BYTES: usize = 1 + 8 + 16 + 8;

/// One entry of the log. The pair (epoch, index) is unique among all replicas for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The epoch of the primary that wrote it.
    pub epoch: Epoch,
    /// Its place in the log, from 1.
    pub index: u64,
    /// The encoded body; sent and stored as it is.
    pub data: Bytes,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryBody<'a> {
    /// A primary took office.
    EpochStart,
    /// A request of a client.
    Write {
        /// The log's own time, in milliseconds; never goes back within a log.
        log_ms: u64,
        /// The client's id.
        request: RequestId,
        /// The digest of the request's body.
        digest: u64,
        /// For the state machine.
        payload: &'a [u8],
    },
    /// All replicas compute a checksum of their state as of this index.
    Checksum {
        /// Chosen by the host that asked for it.
        id: u64,
    },
    /// Nothing was written for so long that what is remembered can be forgotten.
    Time {
        /// The log's own time, in milliseconds.
        log_ms: u64,
    },
    /// Not written by this version: skipped by the state machine, kept in the log.
    Unknown,
}

impl Entry {
    /// The first entry of an epoch.
    #[must_use]
    pub fn epoch_start(epoch: Epoch, index: u64) -> Self {
        Self {
            epoch,
            index,
            data: Bytes::from_static(&[KIND_EPOCH_START]),
        }
    }

    /// A client's write.
    #[must_use]
    pub fn write(
        epoch: Epoch,
        index: u64,
        log_ms: u64,
        request: RequestId,
        digest: u64,
        payload: &[u8],
    ) -> Self {
        let mut data = BytesMut::with_capacity(WRITE_HEADER_BYTES + payload.len());
        data.put_u8(KIND_WRITE);
        data.put_u64_le(log_ms);
        data.put_u128_le(request.0);
        data.put_u64_le(digest);
        data.put_slice(payload);
        Self {
            epoch,
            index,
            data: data.freeze(),
        }
    }

    /// A checksum mark.
    #[must_use]
    pub fn checksum(epoch: Epoch, index: u64, id: u64) -> Self {
        let mut data = BytesMut::with_capacity(1 + 8);
        data.put_u8(KIND_CHECKSUM);
        data.put_u64_le(id);
        Self {
            epoch,
            index,
            data: data.freeze(),
        }
    }

    /// The log's own time, with nothing to do.
    #[must_use]
    pub fn time(epoch: Epoch, index: u64, log_ms: u64) -> Self {
        let mut data = BytesMut::with_capacity(1 + 8);
        data.put_u8(KIND_TIME);
        data.put_u64_le(log_ms);
        Self {
            epoch,
            index,
            data: data.freeze(),
        }
    }

    /// Reads the body.
    #[must_use]
    pub fn body(&self) -> EntryBody<'_> {
        let data = &self.data[..];
        match data.first() {
            Some(&KIND_EPOCH_START) => EntryBody::EpochStart,
            Some(&KIND_WRITE) if data.len() >= WRITE_HEADER_BYTES => EntryBody::Write {
                log_ms: u64_at(data, 1),
                request: RequestId(
                    u128::from(u64_at(data, 9)) | u128::from(u64_at(data, 17)) << 64,
                ),
                digest: u64_at(data, 25),
                payload: &data[WRITE_HEADER_BYTES..],
            },
            Some(&KIND_CHECKSUM) if data.len() >= 9 => EntryBody::Checksum {
                id: u64_at(data, 1),
            },
            Some(&KIND_TIME) if data.len() >= 9 => EntryBody::Time {
                log_ms: u64_at(data, 1),
            },
            _ => EntryBody::Unknown,
        }
    }

    /// The payload of a write as a share of the entry's buffer, without a copy.
    #[must_use]
    pub fn payload(&self) -> Option<Bytes> {
        matches!(self.body(), EntryBody::Write { .. })
            .then(|| self.data.slice(WRITE_HEADER_BYTES..))
    }

    /// What is remembered of a write that was applied with this outcome; `None` for other entries.
    #[must_use]
    pub fn remembered(&self, outcome: Outcome) -> Option<Remembered> {
        let EntryBody::Write {
            log_ms,
            request,
            digest,
            ..
        } = self.body()
        else {
            return None;
        };
        Some(Remembered {
            request,
            digest,
            index: self.index,
            log_ms,
            outcome,
        })
    }

    /// What the entry counts against limits in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        size_of::<Self>() + self.data.len()
    }
}

/// The eight bytes at `at`, little endian.
fn u64_at(data: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&data[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_write_do_not_change() {
        let entry = Entry::write(Epoch(1), 2, 0x0304, RequestId(0x0506), 0x0708, b"row");
        let golden = [
            &[1][..],
            &[4, 3, 0, 0, 0, 0, 0, 0],
            &[6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[8, 7, 0, 0, 0, 0, 0, 0],
            b"row",
        ];
        assert_eq!(entry.data, golden.concat());
    }

    #[test]
    fn a_write_is_read_back_as_it_was_encoded() {
        let entry = Entry::write(Epoch(3), 9, 1234, RequestId(u128::MAX - 5), 77, b"row");
        assert_eq!(
            entry.body(),
            EntryBody::Write {
                log_ms: 1234,
                request: RequestId(u128::MAX - 5),
                digest: 77,
                payload: b"row"
            }
        );
        assert_eq!(entry.payload().as_deref(), Some(&b"row"[..]));
        assert_eq!(
            entry.data[0], 1,
            "the kind of a write is part of the format"
        );
    }

    #[test]
    fn marks_are_read_back_and_foreign_kinds_are_skipped() {
        assert_eq!(
            Entry::epoch_start(Epoch(1), 1).body(),
            EntryBody::EpochStart
        );
        assert_eq!(
            Entry::checksum(Epoch(1), 2, 8).body(),
            EntryBody::Checksum { id: 8 }
        );
        assert_eq!(
            Entry::time(Epoch(1), 2, 8).body(),
            EntryBody::Time { log_ms: 8 }
        );
        for data in [&b""[..], &b"\xff"[..], &b"\x01short"[..]] {
            let entry = Entry {
                epoch: Epoch(1),
                index: 1,
                data: Bytes::copy_from_slice(data),
            };
            assert_eq!(entry.body(), EntryBody::Unknown);
            assert_eq!(entry.payload(), None);
        }
    }
}
