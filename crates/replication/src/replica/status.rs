//! What a replica tells about itself. Knows nothing that changes it.

use tablestore_placement::{Epoch, StorageId};

use crate::replica::Replica;
use crate::replica::follower::FollowerState;

/// What a replica is, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In office.
    Primary,
    /// In the in-sync set.
    Backup,
    /// A replica that is not in sync.
    Learner,
    /// No replica of this partition.
    Outsider,
    /// Stopped for good.
    Stopped,
}

/// A snapshot of a replica's state, for people and for heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The role.
    pub role: Role,
    /// The newest epoch adopted.
    pub epoch: Epoch,
    /// As primary: requests are served.
    pub serving: bool,
    /// The log end.
    pub end: u64,
    /// Durable up to here.
    pub durable: u64,
    /// Known to be committed.
    pub commit: u64,
    /// Applied to the state machine.
    pub applied: u64,
    /// As primary: the in-sync set as the map shows it.
    pub in_sync: Vec<StorageId>,
    /// As primary: the set that commits need.
    pub maximal: Vec<StorageId>,
    /// As primary: in-sync members that can be reached, and how many are needed.
    pub reachable: (u32, u32),
    /// As primary: one for each follower.
    pub followers: Vec<FollowerStatus>,
    /// Remembered requests.
    pub remembered: usize,
}

/// A follower as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerStatus {
    /// Who.
    pub member: StorageId,
    /// How far the session is.
    pub state: FollowerState,
    /// Durable and equal to the primary's log up to here.
    pub matched: u64,
    /// Its commit mark.
    pub commit: u64,
    /// It keeps up with the log end.
    pub caught_up: bool,
}

impl Replica {
    /// What this replica is and has.
    #[must_use]
    pub fn status(&self) -> Status {
        let core = &self.core;
        let mut status = Status {
            role: self.role(),
            epoch: core.adopted,
            serving: false,
            end: core.end(),
            durable: core.pending.durable(),
            commit: core.commit,
            applied: core.applied,
            in_sync: Vec::new(),
            maximal: Vec::new(),
            reachable: (0, 0),
            followers: Vec::new(),
            remembered: core.remembered.len(),
        };
        if let Some(primary) = &self.primary {
            status.serving = primary.serving;
            status.in_sync.clone_from(&primary.in_sync.committed);
            status.maximal.clone_from(&primary.in_sync.maximal);
            status.reachable = primary.reachable(core);
            let followers = primary.followers.values();
            status.followers = followers
                .map(|follower| FollowerStatus {
                    member: follower.member,
                    state: follower.state,
                    matched: follower.matched,
                    commit: follower.commit_known,
                    caught_up: follower.is_caught_up(core),
                })
                .collect();
        }
        status
    }

    /// The role as of now.
    #[must_use]
    pub fn role(&self) -> Role {
        let core = &self.core;
        let me = core.me.member;
        let assignment = core.view.as_ref().map(|view| &view.assignment);
        if core.stopped {
            Role::Stopped
        } else if self.primary.is_some() {
            Role::Primary
        } else if assignment.is_some_and(|a| a.in_sync.contains(&me)) {
            Role::Backup
        } else if assignment.is_some_and(|a| a.replicas.contains(&me)) {
            Role::Learner
        } else {
            Role::Outsider
        }
    }
}
