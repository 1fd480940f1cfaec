//! What can happen to a controller. Knows nothing of how it is noticed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tablestore_health::{Probe, Work};
use tablestore_placement::{ClusterMap, Epoch, Incarnation, PartitionId, StorageId};

use crate::{Job, Sign};

/// The time of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since any moment before the first input; never goes back.
    pub since_start: Duration,
    /// The wall clock in milliseconds, for people and for what outlives this controller.
    pub wall_ms: u64,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// This node leads in this term and has all that was decided before; or it leads no more.
    Leadership {
        /// The term, if it leads.
        term: Option<u64>,
    },
    /// Who votes.
    Voters(BTreeSet<StorageId>),
    /// The cluster map has changed.
    Map(Arc<ClusterMap>),
    /// Something happened to a connection of this node.
    Link(LinkNews),
    /// A member answered a heartbeat.
    Answered {
        /// The member.
        node: StorageId,
        /// When the heartbeat was sent, by [`Now::since_start`].
        sent: Duration,
        /// What it answered.
        answer: SignOfWork,
    },
    /// A member looked at another.
    Probed {
        /// Who looked.
        by: StorageId,
        /// At whom.
        node: StorageId,
        /// The start of it that was suspected.
        incarnation: Incarnation,
        /// What it found.
        found: Probe,
    },
    /// A proposal is no longer under way.
    Proposed {
        /// Which.
        job: Job,
        /// It was committed.
        done: bool,
    },
    /// Time has passed, and whatever had arrived by then has been handled.
    Tick,
}

/// What happens to a connection of this node, whoever leads.
#[derive(Clone, Debug)]
pub enum LinkNews {
    /// A voter answered a ping.
    Heard {
        /// The voter.
        storage: StorageId,
        /// Its start, as far as it is known.
        incarnation: Option<Incarnation>,
        /// The voters that it hears.
        hears: BTreeSet<StorageId>,
    },
    /// Connected and greeted.
    Up {
        /// The node.
        storage: StorageId,
        /// Its start.
        incarnation: Incarnation,
    },
    /// The connection ended. Says nothing yet.
    Lost {
        /// The node.
        storage: StorageId,
        /// The start that it was with.
        incarnation: Incarnation,
    },
    /// A sign that a start is gone.
    Seen {
        /// The node.
        storage: StorageId,
        /// What was seen.
        sign: Sign,
    },
}

/// A member's sign of work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignOfWork {
    /// The start of the member.
    pub incarnation: Incarnation,
    /// How old its oldest work is.
    pub work: Work,
    /// Whether its disk is full.
    pub full: bool,
    /// Whether it was told to stop.
    pub leaving: bool,
    /// What its wall clock shows, in milliseconds.
    pub wall_ms: u64,
    /// All of its replicas.
    pub replicas: Vec<ReplicaProgress>,
}

/// How far one replica is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaProgress {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch that the replica adopted.
    pub epoch: Epoch,
    /// The end of its log.
    pub end: u64,
    /// Why it has stopped for good, if it has.
    pub stopped: Option<String>,
}
