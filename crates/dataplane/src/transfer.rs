//! Copies of a partition on their way between two nodes: complete, or nothing.
//!
//! A copy travels in numbered chunks; the last one says how many rows and bytes there were, with a
//! checksum over all of them. Each message names its transfer: which start of which node sends, in
//! which epoch, its how-manieth. Whatever does not fit ends the transfer on both sides. Plain
//! state machines: they know no thread, channel, file, clock nor what a row is.

mod incoming;
mod outgoing;

use std::fmt;

use bytes::Bytes;
use tablestore_placement::{Epoch, Office};
use xxhash_rust::xxh3::Xxh3;

pub(crate) use self::incoming::Incoming;
pub(crate) use self::outgoing::{Acked, Outgoing};

/// Keys with their values.
pub(crate) type Pairs = Vec<(Bytes, Bytes)>;

/// A transfer, unlike any other for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransferId {
    /// The start of the node that sends.
    pub(crate) sender: Office,
    /// The epoch in which it is primary.
    pub(crate) epoch: Epoch,
    /// Rises with each transfer of that start.
    pub(crate) number: u64,
}

/// One piece of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// From 1, without a gap.
    pub(crate) number: u64,
    pub(crate) pairs: Pairs,
    /// Of all chunks, in the last one.
    pub(crate) totals: Option<Totals>,
}

/// What all chunks of a copy contain together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// xxh3 over the length and the bytes of each key and value, in order.
    pub(crate) checksum: u64,
}

/// Counts what has passed.
#[derive(Clone, Default)]
struct Tally {
    rows: u64,
    bytes: u64,
    hash: Xxh3,
}

impl Tally {
    fn add(&mut self, pairs: &Pairs) {
        for (key, value) in pairs {
            self.rows += 1;
            for field in [key, value] {
                self.bytes += field.len() as u64;
                self.hash.update(&(field.len() as u64).to_le_bytes());
                self.hash.update(field);
            }
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            rows: self.rows,
            bytes: self.bytes,
            checksum: self.hash.digest(),
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.totals().fmt(f)
    }
}

/// Why a transfer ended before its copy was complete. Nothing of the copy is used; the sender may
/// begin another transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// The receiver holds no replica that could take the copy, or receives too many already.
    #[error("the receiver does not take it")]
    Refused,
    /// A chunk or an acknowledgement was lost, repeated, or is of another copy.
    #[error("something was lost on the way")]
    Gap,
    /// All chunks came, but rows, bytes or checksum are others than those that were sent.
    #[error("what arrived is not what was sent")]
    Differs,
    /// One side could not read or write its files.
    #[error("rows could not be read or written")]
    Failed,
    /// The other side was silent for too long.
    #[error("the other side was silent for too long")]
    Silent,
    /// The sender is no longer primary, a connection was lost, or another copy took its place.
    #[error("it was given up")]
    GivenUp,
}

impl Ended {
    const ALL: [Self; 6] = [
        Self::Refused,
        Self::Gap,
        Self::Differs,
        Self::Failed,
        Self::Silent,
        Self::GivenUp,
    ];

    /// Its number on the wire.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Gap => 2,
            Self::Differs => 3,
            Self::Failed => 4,
            Self::Silent => 5,
            Self::GivenUp => 6,
        }
    }

    /// The reason with that number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.number() == number)
    }
}

#[cfg(test)]
mod tests;
