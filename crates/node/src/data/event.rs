//! Everything that can wake the data thread, in one bounded queue.
//!
//! Knows nothing of what is done about it.

use std::net::TcpStream;

use tablestore_dataplane::{self as dataplane, Frame, Operation, Remembers, Reply, Standing};
use tablestore_placement::{Office, PartitionId, StorageId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::owned::Opened;

/// Events that may wait; senders on other threads block, those on this thread are refused.
pub(crate) const EVENTS_MAX: usize = 16_384;

/// Who waits for an answer; learns which node gave it.
pub(crate) type Waiter = oneshot::Sender<(StorageId, Reply)>;

/// What a client of this node asks.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) partition: PartitionId,
    pub(crate) operation: Operation,
    pub(crate) deadline: Instant,
    pub(crate) waiter: Waiter,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum DataEvent {
    /// For the plane as it is.
    Plane(dataplane::PlaneEvent<Waiter>),
    /// A partition on shared storage was opened.
    Owned(Opened),
    /// A client of this node asks.
    Asked(Asked),
    /// A frame from a peer.
    Frame {
        from: Office,
        frame: Frame,
        /// Room for more from this peer; given back when the messages are dealt with.
        unread: OwnedSemaphorePermit,
    },
    /// A peer dialled us for data.
    Inbound { peer: Office, socket: TcpStream },
    /// What this node's replicas remember, also of what a member has acknowledged.
    Remembered(StorageId, oneshot::Sender<Remembers>),
    /// How active replicas and partitions on shared storage stand.
    Standing(oneshot::Sender<Standing>),
    /// Stop taking writes; answered when all is committed everywhere.
    Resign(oneshot::Sender<()>),
    /// Flush everything; answered when that is done.
    FlushAll(oneshot::Sender<()>),
    /// End the data thread.
    Stop(oneshot::Sender<()>),
}

/// Sends events to the data thread.
#[derive(Debug, Clone)]
pub(crate) struct EventSender(mpsc::Sender<DataEvent>);

/// The data thread's end.
pub(crate) type EventReceiver = mpsc::Receiver<DataEvent>;

/// The queue.
pub(crate) fn channel() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    (EventSender(sender), receiver)
}

impl EventSender {
    /// Waits for room. The data thread is gone if it fails, and with it the process.
    pub(crate) async fn send(&self, event: DataEvent) {
        let _ = self.0.send(event).await;
    }

    /// The same, for the plane.
    pub(crate) async fn tell(&self, event: dataplane::PlaneEvent<Waiter>) {
        self.send(DataEvent::Plane(event)).await;
    }

    /// Blocks until there is room; only for threads that are not async.
    pub(crate) fn tell_blocking(&self, event: dataplane::PlaneEvent<Waiter>) {
        let _ = self.0.blocking_send(DataEvent::Plane(event));
    }

    /// Events that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// How many may wait.
    pub(crate) fn waiting_max(&self) -> usize {
        self.0.max_capacity()
    }

    /// Gives the event back if the queue is full.
    pub(crate) fn offer(&self, event: DataEvent) -> Result<(), Box<DataEvent>> {
        self.0
            .try_send(event)
            .map_err(|error| Box::new(error.into_inner()))
    }
}
