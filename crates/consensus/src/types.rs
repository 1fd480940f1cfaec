//! The types with which the raft library is filled in: what an entry carries and what applying it
//! answers. Knows nothing of files or sockets.

use std::fmt;

use openraft::BasicNode;
use openraft::type_config::alias;
use serde::{Deserialize, Serialize};
use tablestore_placement::{Applied, Command, Refused};

/// What one log entry carries: a command for the cluster map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proposal(pub Command);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Command::Found { .. } => "found",
            Command::Register(_) => "register",
            Command::CreateTable { .. } => "create table",
            Command::DropTable { .. } => "drop table",
            Command::AlterTable { .. } => "alter table",
            Command::FoundTable { .. } => "found table",
            Command::ProposeInSync { .. } => "propose in-sync set",
            Command::Change(_) => "change",
        })
    }
}

/// What applying one entry answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryAnswer {
    /// The entry was raft's own (blank, or a change of its members).
    Nothing,
    /// The entry was a command; the map took it or refused it.
    Command(Result<Applied, Refused>),
}

openraft::declare_raft_types!(
    /// The types of the one raft group.
    pub TypeConfig:
        D = Proposal,
        R = EntryAnswer,
        NodeId = u64,
        Node = BasicNode,
);

/// The raft instance of a node.
pub(crate) type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;
/// (term, leader, index) of an entry; totally ordered.
pub type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Snapshot = alias::SnapshotOf<TypeConfig, Vec<u8>>;
