//! What a controller wants done. Knows nothing of how it is done.

use std::collections::BTreeMap;

use tablestore_placement::plan::Trusted;
use tablestore_placement::{Change, ClusterMap, Decision, Incarnation, StorageId, Strategies};

use crate::Planned;

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Ask a member for a sign of work, and tell it [`crate::Controller::full_members`] and
    /// [`crate::Controller::clock_off_ms`]. This node is asked first in each round; its answer is
    /// handled before the next output is taken.
    Heartbeat {
        /// The member.
        to: StorageId,
    },
    /// Ask a member to look at another.
    Probe {
        /// Who should look.
        by: StorageId,
        /// At whom.
        node: StorageId,
        /// The start of it that is suspected.
        incarnation: Incarnation,
    },
    /// Have this decided, and say what became of it by [`crate::Input::Proposed`].
    Propose(Box<Proposal>),
    /// Give the leadership to a voter that hears more.
    HandOver {
        /// The voter.
        to: StorageId,
        /// Whom this node does not hear, each with a voter that does.
        broken: BTreeMap<StorageId, StorageId>,
    },
    /// For whoever elects leaders: this start is gone.
    CrashHint {
        /// The node.
        storage: StorageId,
        /// The start.
        incarnation: Incarnation,
    },
    /// For people.
    Notice(Notice),
}

/// What is proposed under one name; one of each is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// The failover of a member that is gone.
    Down(StorageId),
    /// Offices move off a member that lives.
    OfficesOff(StorageId),
    /// Offices of an earlier start of a member are given away.
    Restart(StorageId),
    /// Replicas that have stopped count no more.
    Stopped,
    /// A member's disk is full, or has room again.
    Room(StorageId),
    /// What can wait.
    Review,
}

/// Something to be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Under which name.
    pub job: Job,
    /// The term in which this node may decide it; in no other.
    pub term: u64,
    /// What is to be decided.
    pub planned: Planned,
    /// Who is known to be there; nobody else is given an office.
    pub trusted: Trusted,
    /// On what evidence and why.
    pub decision: Decision,
}

impl Proposal {
    /// The change of this map, if there is one to make. Asked about the map that it is applied to;
    /// the term and the version are for the caller to fill in.
    #[must_use]
    pub fn change(&self, strategies: &Strategies, map: &ClusterMap) -> Option<Change> {
        let plan = self.planned.plan(strategies, map);
        let plan = plan.relying_on(map, &self.trusted);
        (!plan.is_empty()).then(|| plan.into_change(self.decision.clone()))
    }
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What sort.
    pub kind: NoticeKind,
    /// The member that it is about; this node if none is named.
    pub member: Option<StorageId>,
    /// Why, if that is not obvious.
    pub why: Option<String>,
}

/// The sorts of notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// This node is the controller now.
    Controller,
    /// A member was seen gone.
    CrashHint,
    /// Too many members are missing to copy what they held.
    CopyingRefused,
    /// Balancing does not come to rest.
    BalancingRefused,
    /// The wall clock of a member differs from those of most others.
    ClockOff,
}

impl NoticeKind {
    /// Its name in the timeline.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::CrashHint => "crash_hint",
            Self::CopyingRefused => "copying_refused",
            Self::BalancingRefused => "balancing_refused",
            Self::ClockOff => "clock_off",
        }
    }
}
