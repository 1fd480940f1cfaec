//! Everything that can happen in a run. Times are microseconds since its start.

use std::rc::Rc;

use bytes::Bytes;
use tablestore_placement::{AssignmentVersion, Epoch, Office, StorageId};
use tablestore_replication::{Entry, WriteRefused};

use crate::authority::{InSyncProposal, MapCopy};
use crate::engine::Snapshot;

/// A place for a node; a wiped disk makes a new member in the same place.
pub(crate) type Slot = usize;

/// One start of a process: what was begun by an earlier one is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) slot: Slot,
    pub(crate) boot: u64,
}

/// What a client asks a node for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) client: usize,
    pub(crate) op: u32,
    pub(crate) attempt: u32,
    pub(crate) partition: usize,
    pub(crate) key: u8,
    pub(crate) is_write: bool,
}

/// What a node answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// The write is at this position of its key's list.
    Written { position: usize },
    /// The list's length and the hash of its items.
    Read { length: usize, hash: u64 },
    /// The write was refused.
    WriteRefused(WriteRefused),
    /// The read was refused.
    ReadRefused,
}

pub(crate) enum Event {
    Deliver {
        to: StorageId,
        from: Office,
        partition: usize,
        message: Bytes,
    },
    SyncDone(Process),
    Wake {
        process: Process,
        partition: usize,
        at: u64,
    },
    MapUpdate {
        process: Process,
        map: Rc<MapCopy>,
    },
    Propose {
        process: Process,
        proposal: InSyncProposal,
    },
    ProposalRefused {
        process: Process,
        partition: usize,
        version: AssignmentVersion,
    },
    ReadMap {
        process: Process,
        partition: usize,
        round: u64,
    },
    MapRead {
        process: Process,
        partition: usize,
        round: u64,
        shown: Option<(Epoch, AssignmentVersion)>,
    },
    LogRead {
        process: Process,
        partition: usize,
        from: u64,
        entries: Vec<Entry>,
    },
    SnapshotArrives {
        to: StorageId,
        from: Office,
        sender: Process,
        partition: usize,
        epoch: Epoch,
        snapshot: Rc<Snapshot>,
    },
    SnapshotSent {
        sender: Process,
        to: StorageId,
        partition: usize,
        delivered: Option<u64>,
    },
    SnapshotSwitched {
        process: Process,
        partition: usize,
    },
    /// The node looks whether its session to another one stands.
    CheckPeer {
        process: Process,
        peer: Slot,
    },
    ClientStarts {
        client: usize,
    },
    Arrives {
        to: Slot,
        request: Request,
    },
    Answered {
        request: Request,
        reply: Reply,
    },
    ClientTimesOut {
        client: usize,
        op: u32,
        attempt: u32,
    },
    Housekeeping(Process),
    Controller,
    Nemesis,
    Restart {
        slot: Slot,
    },
    Heal {
        cut: u64,
    },
    SpeedUp {
        slot: Slot,
    },
    WrongGuessEnds {
        slot: Slot,
    },
    Promote {
        partition: usize,
        to: Option<StorageId>,
    },
    ControlPlaneBack,
}

impl Event {
    /// The process whose pause delays the event.
    pub(crate) fn process(&self) -> Option<Process> {
        match self {
            Self::SyncDone(process)
            | Self::Wake { process, .. }
            | Self::MapUpdate { process, .. }
            | Self::ProposalRefused { process, .. }
            | Self::MapRead { process, .. }
            | Self::LogRead { process, .. }
            | Self::SnapshotSwitched { process, .. }
            | Self::CheckPeer { process, .. }
            | Self::Housekeeping(process) => Some(*process),
            Self::SnapshotSent { sender, .. } => Some(*sender),
            _ => None,
        }
    }

    /// A number for the hash of the trace.
    pub(crate) fn tag(&self) -> u64 {
        match self {
            Self::Deliver { message, to, .. } => 1 + to.0 * 64 + ((message.len() as u64) << 20),
            Self::SyncDone(process) => 2 + process.boot * 64,
            Self::Wake { partition, .. } => 3 + *partition as u64 * 64,
            Self::MapUpdate { map, .. } => 4 + map.version * 64,
            Self::Propose { .. } => 5,
            Self::ProposalRefused { .. } => 6,
            Self::ReadMap { round, .. } => 7 + round * 64,
            Self::MapRead { round, .. } => 8 + round * 64,
            Self::LogRead { from, .. } => 9 + from * 64,
            Self::SnapshotArrives { to, .. } => 10 + to.0 * 64,
            Self::SnapshotSent { to, .. } => 11 + to.0 * 64,
            Self::SnapshotSwitched { .. } => 12,
            Self::CheckPeer { peer, .. } => 13 + *peer as u64 * 64,
            Self::ClientStarts { client } => 14 + *client as u64 * 64,
            Self::Arrives { request, .. } => 15 + u64::from(request.op) * 64,
            Self::Answered { request, .. } => 16 + u64::from(request.op) * 64,
            Self::ClientTimesOut { op, .. } => 17 + u64::from(*op) * 64,
            Self::Housekeeping(process) => 18 + process.slot as u64 * 64,
            Self::Controller => 19,
            Self::Nemesis => 20,
            Self::Restart { slot } => 21 + *slot as u64 * 64,
            Self::Heal { cut } => 22 + cut * 64,
            Self::SpeedUp { slot } => 23 + *slot as u64 * 64,
            Self::WrongGuessEnds { slot } => 24 + *slot as u64 * 64,
            Self::Promote { partition, .. } => 25 + *partition as u64 * 64,
            Self::ControlPlaneBack => 26,
        }
    }
}
