//! Everything that can happen to a data plane. Knows nothing of what is done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tablestore_placement::{
    AssignmentVersion, ClusterMap, Office, PartitionId, Refused, StorageId,
};

use crate::active::ActiveRequest;
use crate::job::Done;
use crate::request::{Answer, Failure, Operation};
use crate::wire::Frame;

/// The time of a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the process began; never goes back.
    pub since_start: Duration,
    /// The wall clock in milliseconds, for people and for stamps that nothing true rests on.
    pub wall_ms: u64,
}

/// What happened.
#[derive(Debug)]
pub enum PlaneEvent<W> {
    /// A client of this node asks; `waiter` comes back with the answer.
    Request {
        /// Which partition is asked.
        partition: PartitionId,
        /// What is asked of it.
        operation: Operation,
        /// When it is answered with a failure at the latest.
        deadline: Duration,
        /// Who waits.
        waiter: W,
    },
    /// A client of this node asks for a row of an active table; `waiter` comes back with the
    /// answer.
    Active {
        /// Which partition is asked.
        partition: PartitionId,
        /// What is asked of it.
        request: ActiveRequest,
        /// Who waits.
        waiter: W,
    },
    /// A frame from a start of a peer that has dialled this node.
    Frame {
        /// Who says it.
        from: Office,
        /// What is said.
        frame: Frame,
    },
    /// A start of a peer has dialled this node.
    Inbound(Office),
    /// A connection that a start of a peer dialled has ended.
    InboundEnded(Office),
    /// The connection that was asked for under this number stands.
    PeerUp {
        /// To whom.
        peer: StorageId,
        /// The number of [`LinkOrder::Dial`](crate::LinkOrder::Dial).
        link: u64,
    },
    /// The connection that was asked for under this number is gone; it is dialled again.
    PeerDown {
        /// To whom.
        peer: StorageId,
        /// The number of [`LinkOrder::Dial`](crate::LinkOrder::Dial).
        link: u64,
    },
    /// The cluster map changed.
    Map(Arc<ClusterMap>),
    /// The first so many records of the journal are durable.
    Persisted(u64),
    /// The journal failed for good.
    JournalFailed,
    /// Partitions that keep the oldest segment of the journal from being used again, each until it
    /// is durable in the engine up to this index.
    Held(BTreeMap<u64, u64>),
    /// The journal let go of entries: (partition, first index left).
    Trimmed(Vec<(u64, u64)>),
    /// A job has come to its end.
    Done(Done),
    /// A partition on shared storage is open.
    OwnedOpened {
        /// Which one.
        partition: PartitionId,
        /// The number of [`OwnedOrder::Open`](crate::OwnedOrder::Open).
        life: u64,
    },
    /// A partition on shared storage is open no more, or could not be opened.
    OwnedEnded {
        /// Which one.
        partition: PartitionId,
        /// The number of [`OwnedOrder::Open`](crate::OwnedOrder::Open).
        life: u64,
        /// What is wrong, if it is with this node or its storage: another member may do better.
        fault: Option<String>,
    },
    /// What an open partition answered. Of failures, [`Failure::NotHere`] says that nothing was
    /// done and [`Failure::Unknown`] that it may have been; both are asked again.
    OwnedAnswered {
        /// The number of [`OwnedOrder::Ask`](crate::OwnedOrder::Ask).
        ticket: u64,
        /// The answer.
        result: Result<Answer, Failure>,
    },
    /// The map's answer to a proposal; see [`PlaneEvent::proposed`].
    Proposed {
        /// Whose proposal it was.
        partition: PartitionId,
        /// The version that it was for, if it was certainly not carried out.
        refused: Option<AssignmentVersion>,
    },
    /// A linearizable read of the map ended; `None` if it could not be had.
    MapRead {
        /// For whom it was made.
        rounds: Vec<(PartitionId, u64)>,
        /// What it showed.
        map: Option<Arc<ClusterMap>>,
    },
    /// Whether disks are full.
    Room {
        /// This node's.
        full: bool,
        /// Of which members, as the controller last told.
        members: BTreeSet<StorageId>,
    },
    /// Whether this node's wall clock is off, as the controller last told: then it stamps no writes
    /// of active tables.
    Clock {
        /// It is.
        off: bool,
    },
    /// Stop taking writes; [`Effects::resigned`](crate::Effects::resigned) when all is committed
    /// everywhere.
    Resign,
    /// Flush everything; [`Effects::flushed_all`](crate::Effects::flushed_all) when that is done.
    FlushAll,
}

impl<W> PlaneEvent<W> {
    /// What came of a proposal for a version: `refusal` is the map's, none if it was carried out or
    /// the answer was lost.
    ///
    /// A command may be put in twice on its way, and what holds now need not hold for the other
    /// copy: a joiner that was not up may be, or the version has passed by this very proposal. So
    /// only what stays refused for as long as the version stands is certain.
    #[must_use]
    pub fn proposed(
        partition: PartitionId,
        version: AssignmentVersion,
        refusal: Option<&Refused>,
    ) -> Self {
        let is_certain = |refusal: &Refused| match refusal {
            Refused::UnknownPartition { .. } | Refused::RuleBroken { .. } => true,
            // An earlier start never comes back.
            Refused::StaleIncarnation { current, given, .. } => given < current,
            _ => false,
        };
        Self::Proposed {
            partition,
            refused: refusal.is_some_and(is_certain).then_some(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::{Epoch, Incarnation, StorageId, TableId};

    #[test]
    fn a_refusal_because_the_version_has_passed_does_not_say_that_nothing_was_done() {
        let partition = PartitionId::new(TableId(1), 2);
        let version = AssignmentVersion(4);
        let refused = |refusal: Option<Refused>| {
            let event = PlaneEvent::<()>::proposed(partition, version, refusal.as_ref());
            match event {
                PlaneEvent::Proposed { refused, .. } => refused,
                _ => None,
            }
        };
        assert_eq!(refused(None), None);
        let passed = Refused::StaleAssignment {
            epoch: Epoch(1),
            version: version.next(),
        };
        assert_eq!(refused(Some(passed)), None);
        let wrong = Refused::UnknownPartition { partition };
        assert_eq!(refused(Some(wrong)), Some(version));
    }

    #[test]
    fn a_refusal_that_another_copy_of_the_command_may_escape_is_not_certain() {
        let (partition, version) = (PartitionId::new(TableId(1), 2), AssignmentVersion(4));
        let storage = StorageId(3);
        let is_certain = |refusal: Refused| {
            let event = PlaneEvent::<()>::proposed(partition, version, Some(&refusal));
            matches!(
                event,
                PlaneEvent::Proposed {
                    refused: Some(_),
                    ..
                }
            )
        };
        assert!(!is_certain(Refused::NotUp { storage }));
        assert!(!is_certain(Refused::UnknownMember { storage }));
        let start = |current, given| Refused::StaleIncarnation {
            storage,
            current: Incarnation(current),
            given: Incarnation(given),
        };
        assert!(!is_certain(start(1, 2)), "its registration is on its way");
        assert!(is_certain(start(2, 1)));
    }
}
