//! What a data plane asks of its host. Knows nothing of how it is carried out.

use bytes::Bytes;
use tablestore_placement::{AssignmentVersion, Command, Epoch, PartitionId, StorageId};

use crate::job::Job;
use crate::journal::Record;
use crate::owned::OwnedOrder;
use crate::progress::ReplicaProgress;
use crate::request::Reply;

/// What follows from a turn, in order within each kind. Drain it before the next turn; the
/// vectors are used again.
#[derive(Debug)]
pub struct Effects<W> {
    /// Connections to open and to close; before the frames.
    pub links: Vec<LinkOrder>,
    /// One group for the journal: write and sync it, then say
    /// [`Persisted`](crate::PlaneEvent::Persisted).
    pub journal: Vec<Record>,
    /// Frames for peers, each on the connection that stands.
    pub frames: Vec<(StorageId, Bytes)>,
    /// Answers for those who asked here, and which node gave them.
    pub answers: Vec<(W, StorageId, Reply)>,
    /// Jobs that may block. Each is answered by [`Done`](crate::PlaneEvent::Done).
    pub jobs: Vec<Job>,
    /// What is asked of whoever has partitions on shared storage open; in this order.
    pub owned: Vec<OwnedOrder>,
    /// Proposals for the map. Each is answered by [`Proposed`](crate::PlaneEvent::Proposed).
    pub proposals: Vec<Proposal>,
    /// Read rounds that want one linearizable read of the map, which is answered by
    /// [`MapRead`](crate::PlaneEvent::MapRead); none is asked for before that.
    pub map_read: Option<Vec<(PartitionId, u64)>>,
    /// What people should learn.
    pub notices: Vec<Notice>,
    /// What became of replicas; `None` for one that is here no more.
    pub progress: Vec<(PartitionId, Option<ReplicaProgress>)>,
    /// Every replica of this node has let go, as it was asked to.
    pub resigned: bool,
    /// Everything is flushed, as it was asked for.
    pub flushed_all: bool,
}

impl<W> Default for Effects<W> {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            journal: Vec::new(),
            frames: Vec::new(),
            answers: Vec::new(),
            jobs: Vec::new(),
            owned: Vec::new(),
            proposals: Vec::new(),
            map_read: None,
            notices: Vec::new(),
            progress: Vec::new(),
            resigned: false,
            flushed_all: false,
        }
    }
}

/// What becomes of the connection to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOrder {
    /// Dial the peer, again and again, until it is told to be closed.
    Dial {
        /// Whom.
        peer: StorageId,
        /// Where.
        address: String,
        /// What the connection is called in events.
        link: u64,
    },
    /// Close the connection and dial no more.
    Close {
        /// To whom.
        peer: StorageId,
    },
}

/// A change of an in-sync set that a primary asks for.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Whose.
    pub partition: PartitionId,
    /// Told back if it is refused.
    pub version: AssignmentVersion,
    /// What the map is asked.
    pub command: Command,
}

/// What happened that people should learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A replica of this node became primary.
    Promoted {
        /// Of which partition.
        partition: PartitionId,
        /// Of its office.
        epoch: Epoch,
    },
    /// A primary began to serve.
    Serving {
        /// Of which partition.
        partition: PartitionId,
        /// Of its office.
        epoch: Epoch,
    },
    /// A replica of this node has stopped for good.
    ReplicaStopped {
        /// Of which partition.
        partition: PartitionId,
        /// Why.
        why: String,
    },
    /// A comparison found that replicas differ.
    ReplicasDiffer {
        /// Of which partition.
        partition: PartitionId,
        /// The name of its table.
        table: String,
        /// At which index.
        index: u64,
        /// Those found wrong; empty if nobody can say.
        differ: Vec<String>,
    },
    /// Rows of which the map knows nothing lie elsewhere now.
    PutAside {
        /// Of which partition.
        partition: PartitionId,
        /// Where; empty if they had no files.
        place: String,
    },
}
