//! Everything that can happen to a replica. Knows nothing of what follows from it.

use bytes::Bytes;
use tablestore_placement::{AssignmentVersion, Epoch, Office, StorageId};

use crate::entry::Entry;
use crate::message::Message;
use crate::types::{Outcome, Remembered, RequestId, SnapshotMeta, Ticket, View};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The map's assignment of this partition, or the state of one of its members, changed.
    Assignment(View),
    /// A client wants to write.
    Write {
        /// Answered by `Output::WriteDone`.
        ticket: Ticket,
        /// The client's id of the request.
        request: RequestId,
        /// The digest of the request's body.
        digest: u64,
        /// For the state machine.
        payload: Bytes,
    },
    /// A client wants a linearizable read.
    Read {
        /// Answered by `Output::ReadReady` or `Output::ReadRefused`.
        ticket: Ticket,
    },
    /// A message of another replica of this partition.
    Message {
        /// Who sent it, as its session was authenticated.
        from: Office,
        /// What it says.
        message: Message,
    },
    /// All `Output::Persist` with a token up to this one are durable.
    Persisted {
        /// The greatest such token.
        token: u64,
    },
    /// The answer to `Output::Apply`, before any other input.
    Applied {
        /// Index and outcome of each write among the entries, in order.
        results: Vec<(u64, Outcome)>,
    },
    /// The answer to `Output::ReadLog`: consecutive entries from `from`, possibly fewer than
    /// were asked for; none if they are not there.
    LogRead {
        /// As asked for.
        from: u64,
        /// In order.
        entries: Vec<Entry>,
    },
    /// The journal dropped entries.
    LogTrimmed {
        /// The first index that is still there.
        first: u64,
    },
    /// The controller refused one `Output::Propose` for good. At most one of these per
    /// `Propose`, and only if the host is certain that this very attempt was not and will not be
    /// applied (it must not repeat an attempt whose outcome it does not know). Without this
    /// certainty: say nothing.
    ProposalRefused {
        /// The version that the proposal carried.
        version: AssignmentVersion,
    },
    /// A linearizable read of the map, begun after `Output::ConfirmByMap`, shows this.
    MapConfirmed {
        /// Of the `ConfirmByMap`.
        round: u64,
        /// The partition's epoch in the map.
        epoch: Epoch,
        /// The assignment's version in the map.
        version: AssignmentVersion,
    },
    /// The map cannot be read now.
    MapUnavailable {
        /// Of the `ConfirmByMap`.
        round: u64,
    },
    /// The data session to a member is there (again): a hint to send at once.
    PeerUp(StorageId),
    /// The data session to a member is lost: a hint not to send in vain.
    PeerDown(StorageId),
    /// At the primary: a snapshot was received in full by its receiver and switched in there or
    /// offered to it.
    SnapshotDelivered {
        /// The receiver.
        to: StorageId,
        /// The log index of the snapshot.
        index: u64,
    },
    /// At the primary: a snapshot could not be sent, or the receiver dropped it.
    SnapshotFailed {
        /// The receiver.
        to: StorageId,
    },
    /// At the receiver: the host has all of a snapshot aside.
    SnapshotOffered {
        /// Who sent it.
        from: Office,
        /// The epoch in which it was sent.
        epoch: Epoch,
        /// What it contains.
        meta: SnapshotMeta,
    },
    /// At the receiver: switched in and synced, after `Output::InstallSnapshot`.
    SnapshotInstalled {
        /// What it contains.
        meta: SnapshotMeta,
        /// The requests that the snapshot remembers, by ascending index.
        remembered: Vec<Remembered>,
    },
    /// A sync failed: what is on the disk is not known. The replica stops for good.
    StorageFailed,
    /// Put a checksum mark into the log; `Output::ChecksumRefused` if this is no primary that
    /// serves and can reach enough members.
    Checksum {
        /// Comes back in `Output::ChecksumDue`.
        id: u64,
    },
    /// Take no more writes; `Output::Resigned` follows when all are committed.
    Resign,
    /// A deadline passed.
    Tick,
}
