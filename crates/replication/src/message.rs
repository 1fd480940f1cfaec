//! What replicas of one partition say to each other. Knows nothing of bytes on a wire (see
//! `codec`) nor of what is done about a message.

use tablestore_placement::Epoch;

use crate::entry::Entry;
use crate::history::EpochStartsAt;

/// A place in a log together with the epoch of the entry there. Index 0 with epoch 0 stands
/// before the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPoint {
    /// The epoch of the entry.
    pub epoch: Epoch,
    /// Its index.
    pub index: u64,
}

/// A message. Each carries the epoch in which it was sent; whoever has adopted a newer one
/// answers [`Message::Stale`]. Messages may be lost, repeated and overtake each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Primary to replica: opens a session; the replica brings its log in line with mine.
    Sync {
        /// The primary's epoch.
        epoch: Epoch,
        /// Numbers the sessions of one epoch and follower; a smaller one is late.
        nonce: u64,
        /// The epochs of the primary's log.
        history: Vec<EpochStartsAt>,
        /// The end of the primary's log.
        end: u64,
        /// The primary's commit mark.
        commit: u64,
        /// The first index that the primary's journal still holds.
        first: u64,
        /// The end of the primary's log from behind its commit mark, if that is short.
        entries: Vec<Entry>,
    },
    /// Answer to `Sync`: from here on my log is a prefix of yours, durably.
    Synced {
        /// As in `Sync`.
        epoch: Epoch,
        /// As in `Sync`.
        nonce: u64,
        /// My log end, all of it durable.
        end: u64,
        /// My commit mark.
        commit: u64,
        /// There is no common point to go on from: only a snapshot helps.
        needs_snapshot: bool,
    },
    /// Primary to replica: entries that follow `prev`.
    Append {
        /// The primary's epoch.
        epoch: Epoch,
        /// The entry before the first one here.
        prev: LogPoint,
        /// The primary's commit mark.
        commit: u64,
        /// Consecutive, from `prev.index + 1`.
        entries: Vec<Entry>,
    },
    /// Replica to primary: cumulative.
    Ack {
        /// The primary's epoch.
        epoch: Epoch,
        /// My log up to here is durable and equal to yours.
        end: u64,
        /// My log end, durable or not.
        received: u64,
        /// My commit mark.
        commit: u64,
    },
    /// Replica to primary: an append does not follow my log end.
    Gap {
        /// The primary's epoch.
        epoch: Epoch,
        /// My log end.
        end: u64,
    },
    /// Replica to primary: no session of this epoch is open here.
    NoSession {
        /// The primary's epoch.
        epoch: Epoch,
    },
    /// Primary to replica: the commit mark, when no append carries it.
    Commit {
        /// The primary's epoch.
        epoch: Epoch,
        /// The primary's commit mark.
        commit: u64,
    },
    /// Primary to in-sync member: have you adopted an epoch newer than mine?
    Confirm {
        /// The primary's epoch.
        epoch: Epoch,
        /// Comes back in the answer.
        round: u64,
    },
    /// No.
    Confirmed {
        /// As in `Confirm`.
        epoch: Epoch,
        /// As in `Confirm`.
        round: u64,
    },
    /// Yes, or any other message of an older epoch: refused.
    Stale {
        /// The newer epoch.
        epoch: Epoch,
        /// The epoch that was refused.
        refused: Epoch,
    },
}

impl Message {
    /// The epoch that the message carries.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Sync { epoch, .. }
            | Self::Synced { epoch, .. }
            | Self::Append { epoch, .. }
            | Self::Ack { epoch, .. }
            | Self::Gap { epoch, .. }
            | Self::NoSession { epoch }
            | Self::Commit { epoch, .. }
            | Self::Confirm { epoch, .. }
            | Self::Confirmed { epoch, .. }
            | Self::Stale { epoch, .. } => *epoch,
        }
    }

    /// Whether it is sent by a primary to its followers.
    #[must_use]
    pub fn is_from_primary(&self) -> bool {
        matches!(
            self,
            Self::Sync { .. } | Self::Append { .. } | Self::Commit { .. } | Self::Confirm { .. }
        )
    }
}
