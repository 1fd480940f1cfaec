//! Connections for data between processes: ordered bytes one way, that break with a lost suffix,
//! and whose ends learn of it at different times. Knows nothing of what the frames say.

use std::collections::{BTreeMap, VecDeque};

use tablestore_placement::{Office, StorageId};

use super::event::{FrameBytes, Life};

/// Bytes that the kernel takes from a process before they are written, in most runs.
pub(crate) const SOCKET_BYTES: usize = 64 << 10;

/// One connection; whoever dialled it speaks on it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) from: Life,
    pub(crate) to: Life,
    /// The start that speaks.
    pub(crate) speaker: Office,
    /// The receiver, as the sender calls it.
    pub(crate) peer: StorageId,
    /// What the sender calls it.
    pub(crate) link: u64,
    pub(crate) frames: VecDeque<FrameBytes>,
    /// Bytes of these.
    pub(crate) bytes: usize,
    /// When the last frame arrives.
    pub(crate) last_arrival: u64,
    /// Since when something is not confirmed because the way is cut.
    pub(crate) stuck_since: Option<u64>,
    /// The sender thinks that it stands.
    pub(crate) is_up: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) all: BTreeMap<u64, Session>,
    last: u64,
}

impl Sessions {
    /// A connection stands now; its number.
    pub(crate) fn open(
        &mut self,
        (from, speaker): (Life, Office),
        to: Life,
        peer: StorageId,
        link: u64,
        now: u64,
    ) -> u64 {
        self.last += 1;
        let session = Session {
            from,
            to,
            speaker,
            peer,
            link,
            frames: VecDeque::new(),
            bytes: 0,
            last_arrival: now,
            stuck_since: None,
            is_up: true,
        };
        self.all.insert(self.last, session);
        self.last
    }

    /// The connection on which a process speaks to a peer.
    pub(crate) fn of(&self, from: Life, peer: StorageId) -> Option<u64> {
        let mut all = self.all.iter();
        let found = all.find(|(_, one)| one.is_up && one.from == from && one.peer == peer);
        found.map(|(number, _)| *number)
    }

    /// Bytes that each peer of a process has not taken yet.
    pub(crate) fn unwritten(&self, from: Life, socket_bytes: usize) -> Vec<(StorageId, usize)> {
        let of = self
            .all
            .values()
            .filter(|one| one.is_up && one.from == from);
        of.map(|one| (one.peer, one.bytes.saturating_sub(socket_bytes)))
            .collect()
    }

    /// Those that a process has an end of.
    pub(crate) fn with(&self, life: Life) -> Vec<u64> {
        let with = self.all.iter();
        let with = with.filter(|(_, one)| one.from == life || one.to == life);
        with.map(|(number, _)| *number).collect()
    }

    /// Those on which something waits for a cut to heal.
    pub(crate) fn stuck(&self) -> Vec<u64> {
        let stuck = self.all.iter().filter(|(_, one)| one.stuck_since.is_some());
        stuck.map(|(number, _)| *number).collect()
    }
}
