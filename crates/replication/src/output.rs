//! Everything a replica asks of its host. Knows nothing of how it is done.

use tablestore_placement::{AssignmentVersion, Epoch, Office, StorageId};

use crate::entry::Entry;
use crate::message::Message;
use crate::replica::Role;
use crate::types::{Outcome, PartitionMeta, SnapshotMeta, Ticket};

/// One thing to do. Outputs are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put a record into the journal and sync it; journal order is output order.
    Persist {
        /// Rises by one with every `Persist`.
        token: u64,
        /// What to store.
        record: PersistRecord,
    },
    /// Send a message, best effort. It need not wait for any `Persist`.
    Send {
        /// To whom.
        to: StorageId,
        /// What.
        message: Message,
    },
    /// Apply committed entries to the state machine at once; answer `Input::Applied` next.
    Apply {
        /// In log order, following what was applied before.
        entries: Vec<Entry>,
    },
    /// The answer to `Input::Write`.
    WriteDone {
        /// Of the write.
        ticket: Ticket,
        /// What became of it.
        result: Result<Written, WriteRefused>,
    },
    /// Read the engine right now and answer the client.
    ReadReady {
        /// Of the read.
        ticket: Ticket,
        /// In which it is answered.
        epoch: Epoch,
    },
    /// A read cannot be answered here.
    ReadRefused {
        /// Of the read.
        ticket: Ticket,
        /// Why.
        why: ReadRefused,
    },
    /// Read the map linearizably, from now on, and answer `MapConfirmed` or `MapUnavailable`.
    ConfirmByMap {
        /// Comes back in the answer.
        round: u64,
    },
    /// Ask the controller for another in-sync set, by compare-and-set. Each `Propose` is one
    /// attempt; see `Input::ProposalRefused`.
    Propose {
        /// The epoch of the assignment that it changes.
        epoch: Epoch,
        /// The version of the assignment that it changes.
        version: AssignmentVersion,
        /// The set asked for.
        in_sync: Vec<StorageId>,
        /// The member that would be new in it, in the start that was brought up to date: one that
        /// came back since may have lost what it had.
        joiner: Option<Office>,
    },
    /// Read durable entries back from the journal; answer `Input::LogRead`.
    ReadLog {
        /// The first index.
        from: u64,
        /// The last index, inclusive.
        to: u64,
        /// Stop behind the entry that reaches this; at least one entry is read.
        bytes_max: usize,
    },
    /// Take a snapshot of the engine and send it, described by
    /// [`Replica::snapshot_meta`](crate::Replica::snapshot_meta) of the very moment at which the
    /// engine's snapshot is taken: entries may be applied between this output and then.
    SendSnapshot {
        /// To whom.
        to: StorageId,
        /// The primary's epoch, sent along.
        epoch: Epoch,
    },
    /// Switch in the snapshot that was offered; answer `Input::SnapshotInstalled`.
    InstallSnapshot {
        /// Who sent it.
        from: Office,
        /// What it contains.
        meta: SnapshotMeta,
    },
    /// Throw the offered snapshot away.
    DropSnapshot {
        /// Who sent it.
        from: Office,
    },
    /// For time lines and events.
    RoleChanged {
        /// The role now.
        role: Role,
        /// The epoch now.
        epoch: Epoch,
        /// As primary: whether requests are served.
        serving: bool,
    },
    /// Exactly the entries up to `index` are applied: take a snapshot of the engine now and
    /// compute its checksum aside.
    ChecksumDue {
        /// Of `Input::Checksum`.
        id: u64,
        /// The log index of the mark.
        index: u64,
    },
    /// After `Input::Checksum`: no mark was put into the log. Ask again later, or another primary.
    ChecksumRefused {
        /// Of `Input::Checksum`.
        id: u64,
    },
    /// After `Input::Resign`: everything appended is committed (or this is no primary).
    Resigned,
    /// An invariant is broken: this replica has stopped and must not be used.
    Halted {
        /// Which one.
        invariant: String,
    },
}

/// One record for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersistRecord {
    /// An entry, at the end of the log.
    Entry(Entry),
    /// The meta data; entries above `end` are gone from here on.
    Meta(PartitionMeta),
    /// A snapshot replaced the log: *all* entries before this record are gone, the log goes on
    /// behind `end`.
    Restart(PartitionMeta),
}

/// A write was committed and applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// What the state machine answered.
    pub outcome: Outcome,
    /// The log index of the write.
    pub index: u64,
    /// The epoch in which it is answered.
    pub epoch: Epoch,
    /// It had been carried out before; this is the remembered answer.
    pub repeated: bool,
}

/// Why a write was not answered with an outcome. Only one that is [`Unknown`](Self::Unknown) may
/// have been carried out, or may still be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteRefused {
    /// Not appended. Ask the primary, if it is known.
    #[error("not the primary of this partition")]
    NotPrimary {
        /// Who is, as far as this replica knows.
        primary: Option<StorageId>,
        /// The newest epoch known here.
        epoch: Epoch,
    },
    /// Not appended. Retry when more replicas are in sync.
    #[error("{have} replicas are in sync and reachable, {need} are needed")]
    NotEnoughReplicas {
        /// In-sync members that can be reached.
        have: u32,
        /// `in_sync_min`.
        need: u32,
    },
    /// Not appended. The same id was used with another body: the client is at fault.
    #[error("the request id was used with another body")]
    RequestMismatch,
    /// Appended; it may or may not become committed. Retry with the same id.
    #[error("the outcome is unknown")]
    Unknown,
    /// Not appended. Too much waits already; retry later.
    #[error("too many requests wait")]
    Busy,
    /// Not appended. The replica has stopped after a fault; ask elsewhere.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a strong read was not answered. Nothing changed; the client may ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadRefused {
    /// Ask the primary, if it is known.
    #[error("not the primary of this partition")]
    NotPrimary {
        /// Who is, as far as this replica knows.
        primary: Option<StorageId>,
        /// The newest epoch known here.
        epoch: Epoch,
    },
    /// Neither all in-sync members nor the map confirmed the office in time.
    #[error("the office could not be confirmed")]
    Unconfirmed,
    /// Too much waits already; retry later.
    #[error("too many requests wait")]
    Busy,
    /// The replica has stopped after a fault; ask elsewhere.
    #[error("this replica has stopped")]
    Stopped,
}
