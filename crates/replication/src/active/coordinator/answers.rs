//! What a coordinator is told and what it asks of its host. Knows no behaviour.

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};

use crate::active::clock::{ClockError, Version};
use crate::active::message::{Message, Refusal, RequestNumber};
use crate::active::row::Row;
use crate::active::view::{Quorum, View};
use crate::types::Ticket;

/// What a client wants to do to a row; the coordinator stamps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set attributes, and remove those without a value.
    Patch(Vec<(Bytes, Option<Bytes>)>),
    /// The whole row becomes this.
    Put(Vec<(Bytes, Bytes)>),
    /// The row is deleted.
    Delete,
}

impl Change {
    pub(crate) fn stamped(self, version: Version) -> Row {
        match self {
            Self::Patch(attributes) => Row::patch(version, attributes),
            Self::Put(attributes) => Row::put(version, attributes),
            Self::Delete => Row::delete(version),
        }
    }
}

/// What happens to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The map says so; older epochs are ignored.
    View {
        /// Of this partition.
        partition: PartitionId,
        /// Who serves it.
        view: View,
    },
    /// The table is no more: what waits for the partition is answered, and it is forgotten.
    Gone {
        /// Which.
        partition: PartitionId,
    },
    /// A client writes.
    Write {
        /// Comes back in the answer.
        ticket: Ticket,
        /// Where the row belongs.
        partition: PartitionId,
        /// Of the row.
        key: Bytes,
        /// What to do.
        change: Change,
        /// How many replicas must have it.
        quorum: Quorum,
    },
    /// A client reads.
    Read {
        /// Comes back in the answer.
        ticket: Ticket,
        /// Where the row belongs.
        partition: PartitionId,
        /// Of the row.
        key: Bytes,
        /// How many replicas are asked; for strong reads always a majority.
        quorum: Quorum,
        /// Answer only what a majority has durably, so that no later strong read sees less.
        /// Not linearizable: which of two writes is the newer one, clocks decide.
        strong: bool,
    },
    /// A replica answers.
    Message {
        /// Who.
        from: StorageId,
        /// What.
        message: Message,
    },
    /// A `Send` was certainly not put on any wire.
    NotSent {
        /// For whom it was.
        to: StorageId,
        /// Of the message.
        request: RequestNumber,
    },
    /// Whether a member can be reached. Without a word every member is tried.
    Reachable {
        /// Which.
        member: StorageId,
        /// Whether.
        reachable: bool,
    },
    /// A bound of the clock is durable.
    BoundPersisted {
        /// Which.
        bound_ms: u64,
    },
    /// A deadline has come.
    Tick,
}

/// What a coordinator asks of its host, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send to a replica, best effort, also to that of this node.
    Send {
        /// To whom.
        to: StorageId,
        /// Of which partition.
        partition: PartitionId,
        /// What.
        message: Message,
    },
    /// A write is answered.
    WriteDone {
        /// Of the write.
        ticket: Ticket,
        /// Its version, once it is durable on enough replicas.
        result: Result<Version, WriteFailed>,
    },
    /// A read is answered.
    ReadDone {
        /// Of the read.
        ticket: Ticket,
        /// The merged row.
        result: Result<Row, ReadFailed>,
    },
    /// Make this bound durable, and answer `Input::BoundPersisted`; after a restart it is handed
    /// to [`Coordinator::new`](super::Coordinator::new).
    PersistBound {
        /// Which.
        bound_ms: u64,
    },
    /// A replica knows a newer map: read it, and answer `Input::View`.
    RefreshView {
        /// Of this partition.
        partition: PartitionId,
    },
}

/// Why a write is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFailed {
    /// Fewer replicas are assigned than must have it. Nothing happened; ask for less.
    #[error("fewer replicas are assigned than the write asks for")]
    TooFewReplicas,
    /// Nothing is known of the partition, or too much waits. Nothing happened; repeat later.
    #[error("the coordinator cannot take the write now")]
    Busy,
    /// This node's clock is ahead of its own time of day. Nothing happened; ask another node.
    #[error("the coordinator's clock is wrong")]
    Clock(#[source] ClockError),
    /// No replica got it; the last refusal, if there was one. Repeat as you like.
    #[error("no replica got the write")]
    NotApplied(Option<Refusal>),
    /// Some replicas may have it and it may still reach all. A repetition is another write.
    #[error("too few replicas acknowledged in time")]
    OutcomeUnknown,
}

/// Why a read is not answered. Nothing changed but repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadFailed {
    /// Fewer replicas are assigned than are to be asked. Ask for less.
    #[error("fewer replicas are assigned than the read asks for")]
    TooFewReplicas,
    /// Nothing is known of the partition, or too much waits. Repeat later.
    #[error("the coordinator cannot take the read now")]
    Busy,
    /// Too few replicas answered in time; the last refusal, if there was one. Repeat later.
    #[error("too few replicas answered in time")]
    TimedOut(Option<Refusal>),
}
