//! What coordinators and replicas of an active partition say to each other. Knows nothing of bytes
//! on a wire, nor of what is done about a message.

use bytes::Bytes;
use tablestore_placement::Epoch;

use super::row::{Floor, Row};

/// What a coordinator calls a request. The incarnation keeps answers to an earlier run of its
/// process apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestNumber {
    /// Of the coordinating node.
    pub incarnation: u64,
    /// Rises by one with every request.
    pub number: u64,
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's write.
    Client,
    /// A write that the replica missed, kept by its coordinator.
    Hint,
    /// What a read found at other replicas.
    Repair,
    /// What a read found durable at other replicas: as good as anti-entropy, so that it passes a
    /// fence, though not a floor.
    DurableRepair,
}

/// Why a replica refuses. Its state did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The replica has adopted a newer epoch: look into the map and repeat.
    #[error("the epoch is older than that of the replica")]
    OlderEpoch,
    /// The replica has not heard of the epoch yet and asks for the map: repeat a little later.
    #[error("the replica does not know the epoch yet")]
    EpochUnknown,
    /// The node has no copy in this epoch: look into the map.
    #[error("no replica of this partition")]
    NotAReplica,
    /// A version is at or below the floor, where replicas have proved equal: it comes too late,
    /// and is not stamped anew. Of a repair what was left may have been taken.
    #[error("a version is at or below the floor")]
    BelowFloor,
    /// A version is too far ahead of the replica's time of day: one of two clocks is wrong.
    #[error("a version is {ahead_ms} ms ahead of the replica's clock")]
    TooFarAhead {
        /// How far it is ahead.
        ahead_ms: u64,
    },
    /// The copy is being made anew and does not answer reads.
    #[error("the copy is being made anew")]
    Rebuilding,
    /// Too much waits for the disk: repeat later.
    #[error("the replica is busy")]
    Busy,
}

/// A message. It may be lost, and messages may overtake each other; an answer may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Coordinator to replica: merge this change.
    Write {
        /// Comes back in the answer.
        request: RequestNumber,
        /// The coordinator's epoch.
        epoch: Epoch,
        /// Of the row.
        key: Bytes,
        /// The change.
        change: Row,
        /// Where it comes from.
        origin: Origin,
    },
    /// Replica to coordinator: the change, or what is newer, is durable here.
    Written {
        /// As in `Write`.
        request: RequestNumber,
    },
    /// Coordinator to replica: what do you know of this row?
    Read {
        /// Comes back in the answer.
        request: RequestNumber,
        /// The coordinator's epoch.
        epoch: Epoch,
        /// Of the row.
        key: Bytes,
        /// Answer only what is durable.
        durable: bool,
    },
    /// Replica to coordinator: this.
    Found {
        /// As in `Read`.
        request: RequestNumber,
        /// The row without deletions that the floor covers.
        row: Row,
        /// The replica's floor.
        floor: Floor,
    },
    /// Replica to coordinator: no.
    Refused {
        /// As in the request.
        request: RequestNumber,
        /// Why.
        why: Refusal,
    },
}
