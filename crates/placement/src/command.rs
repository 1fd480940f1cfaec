//! What the log of the control plane carries: the commands that change the map, the answer of an
//! applied one, and the refusals. Knows nothing about how they are agreed on.

use serde::{Deserialize, Serialize};

use crate::check::Rule;
use crate::decision::Decision;
use crate::{
    Assignment, AssignmentVersion, ClusterId, Epoch, Incarnation, MapVersion, MemberState, Office,
    PartitionId, StorageId, TableDefinition, TableId,
};

/// A change of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Founds the cluster; once.
    Found {
        /// The id of the new cluster.
        cluster: ClusterId,
        /// Wall-clock milliseconds, stamped by the proposer.
        at_ms: u64,
    },
    /// A node has started and shows who it is.
    Register(Registration),
    /// Creates a table with the assignments that the proposer planned.
    CreateTable {
        /// Its name.
        name: String,
        /// What it is.
        definition: TableDefinition,
        /// One for each partition; checked when applied.
        assignments: Vec<Assignment>,
        /// Wall-clock milliseconds, stamped by the proposer.
        at_ms: u64,
    },
    /// Drops a table.
    DropTable {
        /// Its name.
        name: String,
        /// Wall-clock milliseconds, stamped by the proposer.
        at_ms: u64,
    },
    /// A primary asks for another in-sync set.
    ProposeInSync {
        /// The partition.
        partition: PartitionId,
        /// The epoch in which it holds the office.
        epoch: Epoch,
        /// The version of the assignment that it knows.
        version: AssignmentVersion,
        /// Its office.
        office: Office,
        /// The whole set that it asks for.
        in_sync: Vec<StorageId>,
        /// The one member that joins the set, in the start that the primary brought up to date.
        joiner: Option<(StorageId, Incarnation)>,
        /// Wall-clock milliseconds, stamped by the proposer.
        at_ms: u64,
    },
    /// A decision of the controller.
    Change(Change),
    /// Changes what a table is from now on.
    AlterTable {
        /// Its name.
        name: String,
        /// What becomes different.
        alteration: Alteration,
        /// Of partitions of an active table that come to have too many replicas: all of them, as
        /// the proposer planned it, the last to leave first. One that does not fit is passed over.
        #[serde(default)]
        leaving: Vec<(u32, Vec<StorageId>)>,
        /// Wall-clock milliseconds, stamped by the proposer.
        at_ms: u64,
    },
    /// All partitions of a table are in its shared storage of this number; the first one stays.
    FoundTable {
        /// Which one.
        table: TableId,
        /// The number.
        storage: u64,
        /// Wall-clock milliseconds, stamped by the proposer.
        at_ms: u64,
    },
}

/// What of a table's definition is to become different; the rest stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alteration {
    /// How many replicas each partition is to have.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// How many replicas must have a write before it is acknowledged.
    #[serde(default)]
    pub min_in_sync: Option<u32>,
}

/// What a node shows when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The id of its data directory.
    pub storage: StorageId,
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub http_address: String,
    /// Where the other nodes reach it.
    pub peer_address: String,
    /// `region/zone`, or empty.
    #[serde(default)]
    pub zone: String,
    /// Its share of the data relative to the others.
    pub weight: u32,
    /// This start.
    pub incarnation: Incarnation,
    /// A random id of this start; 0 from a node that makes none.
    #[serde(default)]
    pub start: u64,
    /// The starts that its directory has begun since the last one that the cluster is known to have
    /// taken, that one included. If the start in the map is none of these the directory is an
    /// older copy of itself.
    #[serde(default)]
    pub begun: Vec<u64>,
    /// The boot of its machine.
    #[serde(default)]
    pub boot: u64,
    /// Wall-clock milliseconds, stamped by the proposer.
    pub at_ms: u64,
}

/// What the controller went by when it decided: it is the controller of one term only, and what it
/// concluded from one map holds for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeUnder {
    /// The term in which it led.
    pub term: u64,
    /// The version of the map that it looked at.
    pub map_version: MapVersion,
}

/// A decision with the new states and assignments. Each part is applied only if it still fits the
/// map; the others are applied nevertheless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Why; its id and changes are filled in when it is applied.
    pub decision: Decision,
    /// The term and map of the controller that decided by itself: under any other the whole change
    /// is refused. None for what a person or a node asks for about itself.
    #[serde(default)]
    pub made_under: Option<MadeUnder>,
    /// New states of members, each for the one incarnation it is about.
    #[serde(default)]
    pub members: Vec<(StorageId, Incarnation, MemberState)>,
    /// New assignments.
    #[serde(default)]
    pub assignments: Vec<AssignmentChange>,
}

impl Change {
    /// Whether it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.assignments.is_empty()
    }
}

/// A new assignment of one partition, by compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentChange {
    /// The partition.
    pub partition: PartitionId,
    /// What the assignment must be when this is applied.
    pub expected: (Epoch, AssignmentVersion),
    /// What it becomes.
    pub next: NextAssignment,
    /// Replicas of the partition that have stopped for good, as their members say: they may leave
    /// the in-sync set below the table's minimum.
    #[serde(default)]
    pub stopped: Vec<StorageId>,
}

/// The part of an assignment that a planner chooses; epoch, version and the incarnation of the
/// office follow from the map when it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAssignment {
    /// Who is to hold the office.
    pub primary: Option<StorageId>,
    /// Who has, or is to get, a copy.
    pub replicas: Vec<StorageId>,
    /// Who stays in the in-sync set.
    pub in_sync: Vec<StorageId>,
}

impl NextAssignment {
    /// The same as the assignment is now.
    #[must_use]
    pub fn keep(current: &Assignment) -> Self {
        Self {
            primary: current.primary_member(),
            replicas: current.replicas.clone(),
            in_sync: current.in_sync.clone(),
        }
    }
}

/// What an applied command did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The version of the map that has it.
    pub map_version: MapVersion,
    /// The partitions of a [`Change`] that were left as they are, and why.
    #[serde(default)]
    pub skipped: Vec<(PartitionId, Refused)>,
    /// The members of a [`Change`] whose state was left as it is, and why.
    #[serde(default)]
    pub skipped_members: Vec<(StorageId, Refused)>,
    /// The table that was created, altered or dropped.
    #[serde(default)]
    pub table: Option<TableId>,
    /// The decision that records it; none if the command changed nothing.
    #[serde(default)]
    pub decision: Option<u64>,
}

/// Why a command, or a part of one, was refused. The map is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refused {
    /// There is no cluster yet. Found it or join one.
    #[error("the cluster has not been founded")]
    NotFounded,
    /// The cluster exists already. Join it instead.
    #[error("the cluster {cluster} has been founded already")]
    AlreadyFounded {
        /// The cluster that exists.
        cluster: ClusterId,
    },
    /// The partition has changed meanwhile. Plan again from a fresh map.
    #[error("the assignment is at epoch {epoch} version {version} by now")]
    StaleAssignment {
        /// Its current epoch.
        epoch: Epoch,
        /// Its current version.
        version: AssignmentVersion,
    },
    /// The controller that decided this leads no more, or the map has changed since. Look at the
    /// map and decide anew.
    #[error(
        "it was decided in term {} on map version {}, which are term {term} and version {version} \
         by now",
        made.term, made.map_version
    )]
    StaleDecision {
        /// What it was decided under.
        made: MadeUnder,
        /// The term in which it would be applied.
        term: u64,
        /// The version of the map that it would change.
        version: MapVersion,
    },
    /// The command is about another start of the member than the current one. A node that reads
    /// this about itself runs on a restored or copied disk and needs a new storage id.
    #[error("member {storage} is at incarnation {current}, not {given}")]
    StaleIncarnation {
        /// The member.
        storage: StorageId,
        /// Its incarnation in the map.
        current: Incarnation,
        /// The incarnation in the command.
        given: Incarnation,
    },
    /// The directory of the member is an older copy of itself: it does not know of the start that
    /// the map shows. Begin with an empty directory as a new member.
    #[error("the directory of member {storage} is older than the start of it that the map shows")]
    OlderDirectory {
        /// The member.
        storage: StorageId,
    },
    /// The controller held this start of the node for dead, and a dead incarnation never comes
    /// back. Begin a new incarnation and register again.
    #[error("incarnation {incarnation} of member {storage} was declared dead")]
    DeadIncarnation {
        /// The member.
        storage: StorageId,
        /// The incarnation.
        incarnation: Incarnation,
    },
    /// The sender does not hold the office. Take the fresh map and stop acting as primary.
    #[error("the office is held by someone else")]
    NotPrimary {
        /// Who holds it.
        primary: Option<Office>,
    },
    /// The storage id has left for good. Start with a new data directory.
    #[error("storage id {storage} has left the cluster for good")]
    RetiredStorage {
        /// The storage id.
        storage: StorageId,
    },
    /// The name belongs to another member that is not down. Choose another name.
    #[error("the name {name} is in use by {holder}")]
    NameTaken {
        /// The name.
        name: String,
        /// The member that has it.
        holder: StorageId,
    },
    /// No such member. Register it first.
    #[error("no member has the storage id {storage}")]
    UnknownMember {
        /// The storage id.
        storage: StorageId,
    },
    /// The member is not up, so it cannot join an in-sync set. Try again when it is.
    #[error("member {storage} is not up")]
    NotUp {
        /// The storage id.
        storage: StorageId,
    },
    /// The member cannot get this state by a change: a dead incarnation never comes back.
    #[error("member {storage} cannot go from {from:?} to {to:?}")]
    ImpossibleState {
        /// The member.
        storage: StorageId,
        /// Its state.
        from: MemberState,
        /// The state asked for.
        to: MemberState,
    },
    /// The member still holds places in these many partitions. Move them away first.
    #[error("member {storage} still holds a place in {partitions} partitions")]
    StillInUse {
        /// The member.
        storage: StorageId,
        /// How many partitions.
        partitions: u32,
    },
    /// The only member cannot leave.
    #[error("member {storage} is the last one: stop it and delete its directory")]
    LastMember {
        /// The member.
        storage: StorageId,
    },
    /// No such table.
    #[error("no table is named {name}")]
    UnknownTable {
        /// The name.
        name: String,
    },
    /// No such partition; its table may have been dropped.
    #[error("there is no partition {partition}")]
    UnknownPartition {
        /// The partition.
        partition: PartitionId,
    },
    /// The table exists with the same definition. Nothing to do.
    #[error("the table {name} exists already")]
    TableExists {
        /// The name.
        name: String,
        /// The table.
        table: TableId,
    },
    /// The table exists with another definition. Choose another name or drop it first.
    #[error("the table {name} exists with another definition")]
    TableExistsDifferently {
        /// The name.
        name: String,
    },
    /// A field has a value that is not allowed. Correct it.
    #[error("{field} must be {expected}")]
    Invalid {
        /// The field.
        field: String,
        /// What is allowed.
        expected: String,
    },
    /// The cluster has as many of them as it may have. Drop some first.
    #[error("there may not be more than {limit} {what}")]
    TooMany {
        /// What there would be too many of.
        what: String,
        /// How many there may be.
        limit: u32,
    },
    /// This version cannot do that.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// A plan breaks a rule of the framework: the strategy or planner is wrong, or the map has
    /// changed since. Plan again from a fresh map.
    #[error("partition {partition} would break the rule {rule}")]
    RuleBroken {
        /// The rule.
        rule: Rule,
        /// The partition.
        partition: PartitionId,
    },
}
