//! What coordinators and replicas of an active partition say to each other. Knows nothing of bytes
//! on a wire, nor of what is done about a message.

use bytes::Bytes;
use tablestore_placement::{Epoch, StorageId};

use super::merkle::Node;
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

/// Where a change comes from. The numbers travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A client's write.
    Client = 1,
    /// A write that the replica missed, kept by its coordinator.
    Hint = 2,
    /// What a read found at other replicas.
    Repair = 3,
    /// What a read found durable at other replicas: as good as anti-entropy, so that it passes a
    /// fence, though not a floor.
    DurableRepair = 4,
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
    /// The disk is full. Deletions are taken.
    #[error("the disk of the replica is full")]
    NoRoom,
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
    /// Replica to replica: from now on take nothing at or below this floor but from replicas.
    Fence {
        /// What the proof rests on.
        head: SweepHead,
        /// The floor that is to be proved.
        floor: Floor,
    },
    /// Answer to `Fence`: so it is, durably.
    Fenced {
        /// As in `Fence`.
        request: RequestNumber,
    },
    /// Replica to replica: these are sums of my tree, which of yours differ?
    Compare {
        /// Who asks, and from which floor.
        head: SweepHead,
        /// Nodes and their sums.
        nodes: Vec<(Node, u128)>,
    },
    /// Answer to `Compare`: these.
    Differ {
        /// As in `Compare`.
        request: RequestNumber,
        /// Nodes, in the order in which they were asked for.
        nodes: Vec<Node>,
    },
    /// Replica to replica: all my rows of a part of a leaf; what do you have beyond them?
    Exchange {
        /// Who asks, and from which floor.
        head: SweepHead,
        /// The rows.
        page: Page,
    },
    /// Answer to `Exchange`: yours are durable here, and this you lack.
    Exchanged {
        /// As in `Exchange`.
        request: RequestNumber,
        /// Of the same leaf, up to the same key or a smaller one.
        page: Page,
        /// A row was not taken, as it is too far ahead or at or below the floor.
        refused: bool,
    },
    /// Replica to replica: this floor is proved.
    Proved {
        /// In which epoch.
        epoch: Epoch,
        /// For whom.
        proof: Proof,
    },
    /// Answer to `Fence`, `Compare` or `Exchange`: not now.
    NotNow {
        /// As in the question.
        request: RequestNumber,
        /// My epoch: where it is newer, look into the map.
        epoch: Epoch,
        /// My floor: where it is newer, adopt it.
        proof: Proof,
    },
}

impl Message {
    /// Whether it is for the coordinator of a node. The others are for its replica.
    #[must_use]
    pub fn is_for_coordinator(&self) -> bool {
        matches!(
            self,
            Self::Written { .. } | Self::Found { .. } | Self::Refused { .. }
        )
    }
}

/// A floor, and for whom it was proved: a replica that is not among them may hold what the others
/// have deleted and forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The floor.
    pub floor: Floor,
    /// The replicas that proved equal, ascending.
    pub members: Vec<StorageId>,
}

/// What every question of one replica to another begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepHead {
    /// Comes back in the answer.
    pub request: RequestNumber,
    /// The asker's epoch.
    pub epoch: Epoch,
    /// The asker's floor.
    pub proof: Proof,
}

/// Rows of a part of a leaf, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The leaf.
    pub leaf: u32,
    /// Behind this key; nothing stands for the beginning of the leaf.
    pub after: Option<Bytes>,
    /// Up to this key; nothing stands for the end of the leaf.
    pub until: Option<Bytes>,
    /// The rows.
    pub rows: Vec<(Bytes, Row)>,
}
