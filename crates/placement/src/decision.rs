//! Decisions: what was changed in the map, on what evidence, for what reason, and when each phase
//! was reached. For people and for events; nothing in the map's rules reads them.

use serde::{Deserialize, Serialize};

use crate::{Assignment, PartitionId, StorageId};

/// How many decisions the map keeps; older ones are in the local file of each node.
pub const DECISIONS_KEPT: usize = 200;

/// How many partition changes one kept decision lists, so that the map stays small when a node
/// with thousands of partitions fails; [`Decision::changes_total`] has the whole number.
pub const CHANGES_KEPT: usize = 64;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number; zero until it is applied.
    pub id: u64,
    /// Wall-clock milliseconds, stamped by the proposer.
    pub at_ms: u64,
    /// What sort of decision it is.
    pub kind: DecisionKind,
    /// The member it is about.
    #[serde(default)]
    pub subject: Option<StorageId>,
    /// What was observed.
    #[serde(default)]
    pub evidence: String,
    /// Why that led to this decision.
    #[serde(default)]
    pub reason: String,
    /// When each step was reached, as far as it is known.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// The first [`CHANGES_KEPT`] partitions that changed.
    #[serde(default)]
    pub changes: Vec<PartitionChange>,
    /// How many partitions changed in all.
    #[serde(default)]
    pub changes_total: u32,
}

impl Decision {
    /// A decision that has not been applied yet.
    #[must_use]
    pub fn new(kind: DecisionKind, at_ms: u64) -> Self {
        Self {
            id: 0,
            at_ms,
            kind,
            subject: None,
            evidence: String::new(),
            reason: String::new(),
            phases: Vec::new(),
            changes: Vec::new(),
            changes_total: 0,
        }
    }

    /// The same about a member.
    #[must_use]
    pub fn about(mut self, subject: StorageId) -> Self {
        self.subject = Some(subject);
        self
    }

    /// The same with what was observed.
    #[must_use]
    pub fn on_evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    /// The same with why it was decided.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// The same with one more phase.
    #[must_use]
    pub fn phase(mut self, name: impl Into<String>, at_ms: u64) -> Self {
        self.phases.push(Phase {
            name: name.into(),
            at_ms,
        });
        self
    }

    /// Notes a partition that this decision changed; beyond [`CHANGES_KEPT`] it is only counted.
    pub(crate) fn note(&mut self, change: PartitionChange) {
        self.changes_total += 1;
        if self.changes.len() < CHANGES_KEPT {
            self.changes.push(change);
        }
    }
}

/// The sorts of decisions. They are kept by name: a name stays, and new ones come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The cluster was founded.
    Founded,
    /// A member joined.
    Joined,
    /// A member left.
    Left,
    /// A table was created.
    TableCreated,
    /// A table was dropped.
    TableDropped,
    /// A member was found dead or suspect.
    MemberDown,
    /// A member came back.
    MemberBack,
    /// Offices moved because their holder failed.
    Failover,
    /// Offices or replicas moved for an even spread.
    Rebalance,
    /// Replicas were added, replaced or dropped.
    Rereplicate,
    /// Everything moves off a member.
    Drain,
    /// A primary changed its in-sync set.
    InSync,
    /// Offices were filled after nobody held them.
    ColdStart,
    /// Offices moved off a member that answers but does not finish its work. Maps and logs of
    /// before have it also for what is `DiskFull`, `DiskRoom`, `ReplicasStopped` and `Unreachable`.
    Stall,
    /// A replica that may lack acknowledged writes was promoted by order.
    Unclean,
    /// Offices moved off a member whose disk is full; it gets nothing new.
    DiskFull,
    /// A member whose disk was full has room again.
    DiskRoom,
    /// Replicas that have stopped count no more and hold no office.
    ReplicasStopped,
    /// Offices moved off a member that others hear and the controller cannot reach.
    Unreachable,
    /// A table was altered.
    TableAltered,
    /// A cluster was founded from what one member of another had.
    Recovered,
    /// The drain of a member was called off.
    Undrain,
}

impl DecisionKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 22] = [
        Self::Founded,
        Self::Joined,
        Self::Left,
        Self::TableCreated,
        Self::TableDropped,
        Self::MemberDown,
        Self::MemberBack,
        Self::Failover,
        Self::Rebalance,
        Self::Rereplicate,
        Self::Drain,
        Self::InSync,
        Self::ColdStart,
        Self::Stall,
        Self::Unclean,
        Self::DiskFull,
        Self::DiskRoom,
        Self::ReplicasStopped,
        Self::Unreachable,
        Self::TableAltered,
        Self::Recovered,
        Self::Undrain,
    ];
}

/// A step of a decision and when it was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Wall-clock milliseconds.
    pub at_ms: u64,
}

/// How a decision changed one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionChange {
    /// The partition.
    pub partition: PartitionId,
    /// Its assignment before; none for a new table.
    pub before: Option<Assignment>,
    /// Its assignment after.
    pub after: Assignment,
}

/// Writes shared decisions as plain ones.
pub(crate) mod shared {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Decision;

    pub(crate) fn serialize<S: Serializer>(
        decisions: &VecDeque<Arc<Decision>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(decisions.iter().map(Arc::as_ref))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VecDeque<Arc<Decision>>, D::Error> {
        let decisions = Vec::<Decision>::deserialize(deserializer)?;
        Ok(decisions.into_iter().map(Arc::new).collect())
    }
}
