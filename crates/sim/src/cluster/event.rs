//! What happens when, in order. Knows nothing of what it means.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use bytes::Bytes;
use tablestore_controller::{Look, SignOfWork};
use tablestore_dataplane::{Lane, Reply};
use tablestore_placement::{Incarnation, Office, StorageId};

use super::shared::{Arrival, OwnerEvent};

/// The place of a machine.
pub(crate) type Slot = usize;

/// One start of a process on a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) slot: Slot,
    /// Unlike that of any other start in the run.
    pub(crate) number: u64,
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}.{}", self.slot, self.number)
    }
}

/// Who waits for an answer of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) client: usize,
    /// The number of the attempt, over all clients.
    pub(crate) attempt: u64,
}

/// What one process says to another beside its data.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Are you there, and whom do you hear?
    Ping,
    Pong {
        incarnation: Incarnation,
        hears: Vec<StorageId>,
    },
    Heartbeat {
        sent_us: u64,
        full: Vec<StorageId>,
        clock_off: bool,
    },
    Alive {
        sent_us: u64,
        answer: SignOfWork,
    },
    /// Look at another one.
    Probe {
        at: Slot,
        incarnation: Incarnation,
    },
    Probed {
        at: Slot,
        incarnation: Incarnation,
        found: Look,
    },
    /// The connection to a process that died was refused twice.
    Refused {
        slot: Slot,
        /// Whose the directory was, and which start of it.
        office: Office,
    },
}

/// Something that happens.
#[derive(Debug)]
pub(crate) enum ClusterEvent {
    /// A turn of the plane, if it is still wanted at this time.
    Turn(Life),
    /// A deadline of the controller.
    Tick(Life),
    /// Time to ask the others whether they are there.
    Pings(Life),
    /// The sync of a group of records has ended.
    Synced(Life),
    /// The job that runs on a lane has ended.
    JobEnds(Life, Lane),
    /// An attempt to connect.
    Dial {
        from: Life,
        peer: StorageId,
        link: u64,
    },
    /// A process is told of the end of a connection that it had closed meanwhile.
    LateNews {
        life: Life,
        peer: StorageId,
        link: u64,
    },
    /// The next frame of a session comes to its end.
    Frame {
        session: u64,
    },
    /// What was sent on a session should have been confirmed by now.
    Unconfirmed {
        session: u64,
        since: u64,
    },
    /// The receiver learns that a session is over.
    SessionOver {
        session: u64,
    },
    /// A process says something to another.
    Told {
        from: Life,
        to: Life,
        what: Told,
    },
    /// The agreement has something to do.
    Agreement,
    /// A client goes on.
    Client(usize),
    /// A request arrives at a node.
    Asked {
        to: Life,
        attempt: u64,
    },
    /// A client of an active table goes on.
    ActiveClient(usize),
    /// A request of one arrives at a node.
    ActiveAsked {
        to: Life,
        attempt: u64,
    },
    /// An answer arrives at a client.
    Answered {
        waiter: Waiter,
        by: StorageId,
        reply: Box<Reply>,
    },
    /// A client waits no longer for an attempt.
    GivenUp(Waiter),
    /// A planned fault begins or ends.
    Fault(usize),
    FaultEnds(usize),
    /// A start tries to become a member.
    Register(Life),
    /// A process starts on a machine.
    Start(Slot),
    /// The operator looks at tables and members.
    Operator,
    /// Something happens to an owner of a partition on shared storage.
    Owner(Life, OwnerEvent),
    /// A request reaches the shared storage.
    Stored(Box<Arrival>),
}

impl ClusterEvent {
    /// Goes into the hash of a run: two kinds differ in it, and some of what they say.
    pub(crate) fn kind(&self) -> u64 {
        match self {
            Self::Turn(life) => life.number << 5,
            Self::Tick(_) => 1,
            Self::Pings(_) => 2,
            Self::Synced(_) => 3,
            Self::JobEnds(..) => 4,
            Self::Dial { .. } => 5,
            Self::Frame { session } => 6 | session << 5,
            Self::Unconfirmed { .. } => 7,
            Self::SessionOver { .. } => 8,
            Self::Told { .. } => 9,
            Self::Agreement => 10,
            Self::Client(_) => 11,
            Self::Asked { .. } => 12,
            Self::Answered { .. } => 13,
            Self::GivenUp(_) => 14,
            Self::Fault(_) => 15,
            Self::FaultEnds(_) => 16,
            Self::Start(_) => 17,
            Self::Operator => 18,
            Self::Register(_) => 19,
            Self::LateNews { .. } => 20,
            Self::Owner(life, _) => 24 | life.number << 5,
            Self::Stored(_) => 25,
            Self::ActiveClient(_) => 21,
            Self::ActiveAsked { .. } => 22,
        }
    }
}

#[derive(Debug)]
struct Queued {
    at: u64,
    order: u64,
    event: ClusterEvent,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Events by time; those of one time in the order in which they were put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Queued>>,
    order: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, event: ClusterEvent) {
        self.order += 1;
        let order = self.order;
        self.heap.push(Reverse(Queued { at, order, event }));
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, ClusterEvent)> {
        let Reverse(queued) = self.heap.pop()?;
        Some((queued.at, queued.event))
    }
}

/// A frame under way.
pub(crate) type FrameBytes = Bytes;
