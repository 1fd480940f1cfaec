//! Everything that can wake the data thread, in one bounded queue.
//!
//! Knows nothing of what is done about it.

use std::net::TcpStream;
use std::sync::Arc;

use tablestore_placement::{AssignmentVersion, ClusterMap, Office, PartitionId, StorageId};
use tablestore_replication::{Entry, Remembered, SnapshotMeta};
use tablestore_store::engine::{Checksums, EngineError, Replacement};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::apply::Pieces;
use super::copies::{CopyId, CopyPage, Source};
use super::request::{Reply, Request};
use crate::control;
use crate::wire::DataMessage;

/// Events that may wait; senders on other threads block, those on this thread are refused.
pub(crate) const EVENTS_MAX: usize = 16_384;

/// A copy that was switched in.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) meta: SnapshotMeta,
    /// The requests that it remembers.
    pub(crate) remembered: Vec<Remembered>,
    /// The last indexes of the side records that hold them.
    pub(crate) pieces: Pieces,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client of this node asks.
    Request(Request),
    /// A frame from a peer whose session has been greeted.
    Frame {
        from: Office,
        messages: Vec<DataMessage>,
        /// Room for more from this peer; given back when the messages are dealt with.
        unread: OwnedSemaphorePermit,
    },
    /// A peer dialled us for data.
    Inbound { peer: Office, socket: TcpStream },
    /// A connection that a peer dialled has ended.
    InboundEnded(Office),
    /// Our data connection to a peer stands.
    PeerUp(StorageId),
    /// Our data connection to a peer is gone.
    PeerDown(StorageId),
    /// The cluster map changed.
    Map(Arc<ClusterMap>),
    /// The journal failed for good.
    JournalFailed,
    /// The journal let go of entries: (partition, first index left).
    Trimmed(Vec<(u64, u64)>),
    /// Entries that a replica asked to read.
    LogRead {
        partition: PartitionId,
        from: u64,
        entries: Vec<Entry>,
    },
    /// The answer of the controller to a proposal: `None` is a lost reply.
    Proposed {
        partition: PartitionId,
        refused: Option<AssignmentVersion>,
    },
    /// A linearizable read of the map ended; `None` if it could not be had.
    MapRead {
        rounds: Vec<(PartitionId, u64)>,
        map: Option<Arc<ClusterMap>>,
    },
    /// A background job answers a request.
    Answered { ticket: u64, reply: Reply },
    /// A partition that the map does not know was put aside, at this place if it has files;
    /// nothing if that failed.
    PutAside {
        partition: PartitionId,
        place: Option<Option<std::path::PathBuf>>,
    },
    /// A partition was flushed, or could not be.
    Flushed {
        partition: PartitionId,
        flushed: Result<(), EngineError>,
    },
    /// A background job met an error in the files of a partition.
    Met {
        partition: PartitionId,
        error: EngineError,
        what: &'static str,
    },
    /// The files of a partition that was dropped are gone.
    Dropped(PartitionId),
    /// Flush everything; answered when that is done.
    FlushAll(oneshot::Sender<()>),
    /// The next rows of a copy that is being sent.
    CopyRead {
        copy: CopyId,
        source: Source,
        page: Result<CopyPage, EngineError>,
    },
    /// Rows of a copy that is being received are stored aside, or could not be.
    CopyStored {
        copy: CopyId,
        stored: Result<Box<dyn Replacement>, EngineError>,
    },
    /// A snapshot cannot be sent now.
    SnapshotPutOff {
        partition: PartitionId,
        to: StorageId,
    },
    /// A snapshot was switched in, or could not be.
    SnapshotInstalled {
        partition: PartitionId,
        installed: Result<Installed, String>,
    },
    /// This replica's checksum at a mark.
    ChecksumTaken {
        partition: PartitionId,
        id: u64,
        index: u64,
        sums: Checksums,
    },
    /// What this node's replicas remember, also of what a member has acknowledged.
    Remembered(StorageId, oneshot::Sender<control::Remembered>),
    /// Stop taking writes; answered when all is committed everywhere.
    Resign(oneshot::Sender<()>),
    /// End the data thread.
    Stop(oneshot::Sender<()>),
}

/// Sends events to the data thread.
#[derive(Debug, Clone)]
pub(crate) struct EventSender(mpsc::Sender<Event>);

/// The data thread's end.
pub(crate) type EventReceiver = mpsc::Receiver<Event>;

/// The queue.
pub(crate) fn channel() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    (EventSender(sender), receiver)
}

impl EventSender {
    /// Waits for room. The data thread is gone if it fails, and with it the process.
    pub(crate) async fn send(&self, event: Event) {
        let _ = self.0.send(event).await;
    }

    /// Blocks until there is room; only for threads that are not async.
    pub(crate) fn send_blocking(&self, event: Event) {
        let _ = self.0.blocking_send(event);
    }

    /// Gives the event back if the queue is full.
    pub(crate) fn offer(&self, event: Event) -> Result<(), Box<Event>> {
        self.0
            .try_send(event)
            .map_err(|error| Box::new(error.into_inner()))
    }
}
