//! Requests on their way to a primary and the answers that come back.
//!
//! Knows nothing of HTTP nor of frames.

use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use tablestore_placement::{Epoch, Incarnation, Office, PartitionId, StorageId};
use tablestore_store::engine::Scan;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is asked of a partition.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Carry out a mutation, once.
    Write {
        /// The request's id: repeated, it takes effect at most once.
        request: u128,
        /// Of the payload: the same id with another one is refused.
        digest: u64,
        /// The encoded mutation.
        payload: Bytes,
    },
    /// Read one row.
    Get {
        /// Its encoded key.
        key: Bytes,
        /// See every write that was acknowledged before; otherwise any in-sync copy may answer.
        strong: bool,
    },
    /// Read a range of encoded keys.
    Scan {
        /// The first key.
        from: Bytes,
        /// The key behind the last one; empty for the end of the partition.
        until: Bytes,
        /// Rows at most.
        limit: u32,
        /// From the last key down.
        reverse: bool,
        /// As in `Get`.
        strong: bool,
    },
    /// Compare all replicas at one index.
    Checksum,
}

impl Operation {
    /// Whether any replica may answer.
    pub(crate) fn is_eventual(&self) -> bool {
        matches!(
            self,
            Self::Get { strong: false, .. } | Self::Scan { strong: false, .. }
        )
    }

    /// The range that is asked for, if one is.
    pub(crate) fn as_scan(&self, bytes_max: usize) -> Option<Scan> {
        let Self::Scan {
            from,
            until,
            limit,
            reverse,
            ..
        } = self
        else {
            return None;
        };
        Some(Scan {
            from: Bound::Included(from.clone()),
            to: if until.is_empty() {
                Bound::Unbounded
            } else {
                Bound::Excluded(until.clone())
            },
            reverse: *reverse,
            limit: *limit as usize,
            bytes_max,
        })
    }

    /// A digest of what is asked, and of which partition: an answer carries the one of the question
    /// that it is for.
    pub(crate) fn question(&self, partition: PartitionId) -> u64 {
        let seed = partition.to_u64().rotate_left(8);
        match self {
            // The id is already a digest of the client's id and the row, and the body has its own.
            Self::Write {
                request, digest, ..
            } => {
                let mut bytes = [0; 24];
                bytes[..16].copy_from_slice(&request.to_le_bytes());
                bytes[16..].copy_from_slice(&digest.to_le_bytes());
                xxh3_64_with_seed(&bytes, seed)
            }
            Self::Get { key, strong } => xxh3_64_with_seed(key, seed ^ 2 ^ u64::from(*strong)),
            Self::Scan {
                from,
                until,
                limit,
                reverse,
                strong,
            } => {
                let flags = u64::from(*strong) | u64::from(*reverse) << 1;
                let limits = xxh3_64_with_seed(&limit.to_le_bytes(), seed ^ 4 ^ flags);
                xxh3_64_with_seed(until, xxh3_64_with_seed(from, limits))
            }
            Self::Checksum => xxh3_64_with_seed(&[], seed ^ 8),
        }
    }

    /// Bytes it keeps while it waits.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Write { payload, .. } => payload.len() + 128,
            Self::Get { key, .. } => key.len() + 128,
            Self::Scan { from, until, .. } => from.len() + until.len() + 128,
            Self::Checksum => 128,
        }
    }
}

/// The good answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The mutation is committed.
    Written {
        /// What it came to, as the mutation defines it.
        code: u16,
        /// The row's version: the index of the entry.
        version: u64,
        /// The request had taken effect before.
        repeated: bool,
    },
    /// The row as stored, with its version in front.
    Row(Option<Bytes>),
    /// Rows of a range.
    Page {
        /// Keys with their rows, in the order asked for.
        rows: Vec<(Bytes, Bytes)>,
        /// The limit cut the range.
        more: bool,
    },
    /// Of each replica.
    Checksums {
        /// The index at which they were taken.
        index: u64,
        /// By storage id: the sum, or why there is none.
        replicas: Vec<(u64, Result<u64, String>)>,
    },
}

/// The bad answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The answering node does not hold the office; ask again with a newer map.
    NotHere = 1,
    /// Not appended: too few in-sync replicas.
    NotEnoughReplicas = 2,
    /// The id was used with another body.
    RequestMismatch = 3,
    // 4 was "the id is too old" in format 1.
    /// Appended; whether it will be committed is unknown.
    Unknown = 5,
    /// Too many requests wait.
    Busy = 6,
    /// The replica has stopped after a fault.
    Stopped = 7,
    /// The deadline passed; certainly not appended.
    Deadline = 8,
    /// The office could not be confirmed.
    Unconfirmed = 9,
    /// The disk is full.
    Full = 10,
    // 11 was "the node is going down", which no node ever said.
    /// The owner of the partition cannot use the shared storage.
    NoStorage = 12,
    /// The clock of the answering node is off: it stamps no writes of active tables.
    ClockOff = 13,
}

impl Failure {
    const ALL: [Self; 11] = [
        Self::NotHere,
        Self::NotEnoughReplicas,
        Self::RequestMismatch,
        Self::Unknown,
        Self::Busy,
        Self::Stopped,
        Self::Deadline,
        Self::Unconfirmed,
        Self::Full,
        Self::NoStorage,
        Self::ClockOff,
    ];

    /// Its number on the wire.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// The failure with that number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|failure| failure.number() == number)
    }
}

/// An answer and the epoch under which it was given.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The epoch in which it was given.
    pub epoch: Epoch,
    /// What was answered.
    pub result: Result<Answer, Failure>,
}

/// What a node calls a request that it forwarded: unlike any other of any of its starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Correlation {
    /// The start that asks.
    pub(crate) incarnation: Incarnation,
    /// Rises with each request of that start.
    pub(crate) ticket: u64,
}

/// Who waits for the reply.
#[derive(Debug)]
pub(crate) enum ReplyTo<W> {
    /// Somebody at this node; learns which node answered.
    Local(W),
    /// This start of another node, under its own number.
    Peer { node: Office, ticket: u64 },
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for a primary.
    Parked,
    /// Handed to the replica of this node.
    Core,
    /// Sent to another node.
    Forwarded(StorageId),
}

/// A request under way on this node.
#[derive(Debug)]
pub(crate) struct Request<W> {
    pub(crate) partition: PartitionId,
    pub(crate) operation: Operation,
    pub(crate) deadline: Duration,
    pub(crate) reply_to: ReplyTo<W>,
    pub(crate) stage: Stage,
    /// It may have been appended somewhere: a failure is then `Unknown`.
    pub(crate) maybe_appended: bool,
    /// The epoch that the forwarding node knew; 0 for our own clients.
    pub(crate) epoch: Epoch,
    /// It may be sent on once more: a peer cannot reach the primary itself.
    pub(crate) may_relay: bool,
}

impl<W> Request<W> {
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.operation, Operation::Write { .. })
    }

    pub(crate) fn is_of_peer(&self) -> bool {
        matches!(self.reply_to, ReplyTo::Peer { .. })
    }
}
