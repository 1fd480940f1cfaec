//! The cluster map as a value: members, tables, assignments and the last decisions.
//! Knows nothing about how it is replicated, nor what time it is; [`crate::Command`]s change it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tablestore_ring::{PartitionTable, Point};

use crate::{
    AssignmentVersion, ClusterId, Decision, Epoch, Incarnation, MapVersion, PartitionId, StorageId,
    TableId,
};

/// The format of the map that this version of the program writes.
pub const MAP_FORMAT: u32 = 1;

/// Everything that the nodes of a cluster agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMap {
    /// The format number, for nodes of another version.
    pub format: u32,
    /// The cluster; zero until it is founded.
    pub cluster: ClusterId,
    /// One more at every applied command.
    pub version: MapVersion,
    /// The members by storage id.
    #[serde(default)]
    pub members: BTreeMap<StorageId, Member>,
    /// Storage ids that have left for good and are never accepted again.
    #[serde(default)]
    pub retired: BTreeSet<StorageId>,
    /// The tables by id.
    #[serde(default)]
    pub tables: BTreeMap<TableId, Table>,
    /// The last [`crate::DECISIONS_KEPT`] decisions, oldest first; shared by copies of the map.
    #[serde(default, with = "crate::decision::shared")]
    pub decisions: VecDeque<Arc<Decision>>,
    /// The id of the next table; ids are never reused.
    #[serde(default = "first_id_u32")]
    pub next_table: u32,
    /// The id of the next decision.
    #[serde(default = "first_id_u64")]
    pub next_decision: u64,
    /// The cluster from which this one was recovered, see `recover`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_as: Option<ClusterId>,
}

fn first_id_u32() -> u32 {
    1
}

fn first_id_u64() -> u64 {
    1
}

/// One member: a data directory and the node that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The id of its data directory.
    pub storage: StorageId,
    /// The name that its operator gave it.
    pub name: String,
    /// Where clients reach it.
    pub http_address: String,
    /// Where the other nodes reach it.
    pub peer_address: String,
    /// `region/zone`; empty: it is a failure domain of its own.
    #[serde(default)]
    pub zone: String,
    /// Its share of the data relative to the others; 0 takes none.
    #[serde(default = "weight_default")]
    pub weight: u32,
    /// Its current start.
    pub incarnation: Incarnation,
    /// The random id of its current start; 0 if it has none.
    #[serde(default)]
    pub start: u64,
    /// The boot of its machine, to tell a restart of the process from one of the machine.
    #[serde(default)]
    pub boot: u64,
    /// What the controller decided about it.
    pub state: MemberState,
    /// Wall-clock milliseconds of its last change, for people and waiting times, never for safety.
    #[serde(default)]
    pub since_ms: u64,
    /// The storage id that took this one's name over, while this one still holds in-sync places.
    #[serde(default)]
    pub replaced_by: Option<StorageId>,
    /// It was drained by order: its next starts drain on until that is called off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drains: bool,
}

fn weight_default() -> u32 {
    1
}

impl Member {
    /// Whether a directory that has begun these starts is no older copy of the member's.
    #[must_use]
    pub fn is_of(&self, begun: &[u64]) -> bool {
        self.start == 0 || begun.contains(&self.start)
    }

    /// Whether it may hold an office: not down and not gone.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state.is_live()
    }

    /// What fails together with it: its zone, or it alone when it has none.
    #[must_use]
    pub fn failure_domain(&self) -> FailureDomain<'_> {
        match self.zone.as_str() {
            "" => FailureDomain::Member(self.storage),
            zone => FailureDomain::Zone(zone),
        }
    }

    /// Whether new replicas and offices may be put on it.
    #[must_use]
    pub fn is_placeable(&self) -> bool {
        self.state == MemberState::Up && self.weight > 0
    }
}

/// What is expected to fail together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureDomain<'a> {
    /// All members of a zone.
    Zone(&'a str),
    /// One member.
    Member(StorageId),
}

/// What the controller decided about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It works.
    Up,
    /// It was not heard of for a while; nothing is taken from it yet.
    Suspect,
    /// It is dead until it registers with a newer incarnation.
    Down,
    /// It works, and everything moves away from it.
    Draining,
    /// It has left; its storage id is retired.
    Left,
}

impl MemberState {
    /// `Up`, `Suspect` and `Draining` are live.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Up | Self::Suspect | Self::Draining)
    }
}

/// One table and where its partitions are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its id, never reused.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// As created, and altered since.
    pub definition: TableDefinition,
    /// The assignment of each partition, by partition number.
    pub partitions: Vec<Assignment>,
    /// The number of the shared storage of its rows, once all its partitions are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founded: Option<u64>,
}

/// What a table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// The attribute that decides in which partition a row lives.
    pub partition_key: KeyDefinition,
    /// The attribute by which the rows of one partition key are ordered.
    #[serde(default)]
    pub sort_key: Option<KeyDefinition>,
    /// The name of the failover strategy.
    #[serde(default = "strategy_default")]
    pub strategy: String,
    /// How many replicas each partition has.
    pub replicas: u32,
    /// How many replicas must have a write before it is acknowledged.
    pub min_in_sync: u32,
    /// How many partitions the table has, a power of two.
    pub partitions: u32,
    /// How rows are laid out on disk.
    #[serde(default)]
    pub layout: Layout,
}

impl TableDefinition {
    /// The partition that a point of the ring falls into: the top bits of the point.
    #[must_use]
    pub fn partition_of(&self, point: Point) -> u32 {
        let table = PartitionTable::new(self.partitions);
        table.map_or(0, |table| table.partition_of(point))
    }
}

fn strategy_default() -> String {
    crate::PRIMARY_BACKUP.to_owned()
}

/// How rows are laid out on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Row by row.
    #[default]
    Row,
    /// Column by column.
    Column,
}

/// The name and type of a key attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyDefinition {
    /// The name of the attribute.
    pub name: String,
    /// Its type.
    pub key_type: KeyType,
}

/// The types that a key attribute may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// A UTF-8 string.
    String,
    /// A decimal number.
    Number,
    /// Bytes.
    Binary,
}

/// The right of one start of one member to act for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Office {
    /// The member that holds it.
    pub member: StorageId,
    /// The start of the member that holds it; a restart loses the office.
    pub incarnation: Incarnation,
}

/// Who does what for one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// One more whenever the primary changes, or the table's minimum rises; of an active table
    /// whenever a replica changes.
    pub epoch: Epoch,
    /// One more whenever anything here changes.
    pub version: AssignmentVersion,
    /// Who decides about writes.
    pub primary: Option<Office>,
    /// Who has, or is to get, a copy. While there are more than the table asks for, the last is the
    /// one that leaves.
    pub replicas: Vec<StorageId>,
    /// Who has every acknowledged write; of an active table the replicas that make its quorums.
    pub in_sync: Vec<StorageId>,
}

impl Assignment {
    /// The member that holds the office, in whatever incarnation.
    #[must_use]
    pub fn primary_member(&self) -> Option<StorageId> {
        self.primary.map(|office| office.member)
    }

    /// Whether `storage` is replica, in-sync member or primary here.
    #[must_use]
    pub fn involves(&self, storage: StorageId) -> bool {
        self.replicas.contains(&storage)
            || self.in_sync.contains(&storage)
            || self.primary_member() == Some(storage)
    }

    /// Of an active table, the member that is to become a replica: until it is whole, requests
    /// are answered by both sets of replicas, `in_sync` and [`Self::replicas_after`].
    #[must_use]
    pub fn joiner(&self) -> Option<StorageId> {
        let mut replicas = self.replicas.iter().copied();
        replicas.find(|storage| !self.in_sync.contains(storage))
    }

    /// Of an active table that is to have `wanted` replicas, those after the change that is under
    /// way: one comes, or one leaves, or both. The one that leaves is the last of the list.
    #[must_use]
    pub fn replicas_after(&self, wanted: u32) -> Option<Vec<StorageId>> {
        let leaves = self.replicas.len() > wanted as usize;
        if !leaves && self.joiner().is_none() {
            return None;
        }
        let mut after = self.replicas.clone();
        if leaves {
            after.pop();
        }
        Some(after)
    }
}

impl Default for ClusterMap {
    fn default() -> Self {
        Self::empty()
    }
}

impl ClusterMap {
    /// The map before the cluster is founded.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            format: MAP_FORMAT,
            cluster: ClusterId(0),
            version: MapVersion(0),
            members: BTreeMap::new(),
            retired: BTreeSet::new(),
            tables: BTreeMap::new(),
            decisions: VecDeque::new(),
            next_table: first_id_u32(),
            next_decision: first_id_u64(),
            shared_as: None,
        }
    }

    /// Whether the cluster exists.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        self.cluster != ClusterId(0)
    }

    /// The assignment of a partition, if there is such a partition.
    #[must_use]
    pub fn assignment(&self, partition: PartitionId) -> Option<&Assignment> {
        self.tables
            .get(&partition.table)?
            .partitions
            .get(partition.partition as usize)
    }

    /// The table of that name.
    #[must_use]
    pub fn table_named(&self, name: &str) -> Option<&Table> {
        self.tables.values().find(|table| table.name == name)
    }

    /// The member that owns the name now; one whose name was taken over is found by id only.
    #[must_use]
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        self.members
            .values()
            .find(|member| member.name == name && member.replaced_by.is_none())
    }

    /// The members that may hold an office, by storage id.
    pub fn live_members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.is_live())
    }

    /// Whether this member is known and live.
    #[must_use]
    pub fn is_live(&self, storage: StorageId) -> bool {
        self.members.get(&storage).is_some_and(Member::is_live)
    }

    /// Whether the office belongs to the current start of a live member.
    #[must_use]
    pub fn is_filled(&self, office: Option<Office>) -> bool {
        office
            .and_then(|o| Some((o, self.members.get(&o.member)?)))
            .is_some_and(|(o, member)| member.is_live() && member.incarnation == o.incarnation)
    }

    /// Whether the holder of the office lives, but in another start than the one that holds it.
    pub(crate) fn is_live_in_another_start(&self, office: Option<Office>) -> bool {
        office.is_some_and(|office| self.is_live(office.member)) && !self.is_filled(office)
    }

    /// All partitions of all tables with their assignments, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Table, &Assignment)> {
        self.tables.values().flat_map(|table| {
            (0u32..)
                .zip(&table.partitions)
                .map(move |(number, assignment)| {
                    (PartitionId::new(table.id, number), table, assignment)
                })
        })
    }
}

#[cfg(test)]
mod tests;
