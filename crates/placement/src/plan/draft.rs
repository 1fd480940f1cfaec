//! A plan in the making: a working copy of the map in which each step shows, so that the next
//! table or partition is planned with the loads that the earlier ones leave behind.

use std::collections::{BTreeMap, VecDeque};

use super::Plan;
use crate::{
    Assignment, AssignmentChange, ClusterMap, MemberState, NextAssignment, PartitionId, Rule,
    StorageId, Table, TableDefinition, check,
};

/// A plan and the map as it will be.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    original: &'a ClusterMap,
    working: ClusterMap,
    plan: Plan,
    next: BTreeMap<PartitionId, NextAssignment>,
    /// Replicas that have stopped for good.
    stopped: BTreeMap<PartitionId, Vec<StorageId>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(original: &'a ClusterMap) -> Self {
        let working = ClusterMap {
            format: original.format,
            cluster: original.cluster,
            version: original.version,
            members: original.members.clone(),
            retired: original.retired.clone(),
            tables: original.tables.clone(),
            decisions: VecDeque::new(),
            next_table: original.next_table,
            next_decision: original.next_decision,
            shared_as: original.shared_as,
        };
        Self {
            original,
            working,
            plan: Plan::default(),
            next: BTreeMap::new(),
            stopped: BTreeMap::new(),
        }
    }

    /// A replica has stopped for good: it may leave any in-sync set.
    pub(crate) fn has_stopped(&mut self, partition: PartitionId, storage: StorageId) {
        self.stopped.entry(partition).or_default().push(storage);
    }

    /// The map with what was planned so far.
    pub(crate) fn map(&self) -> &ClusterMap {
        &self.working
    }

    /// The tables as they were, to go through them while the draft changes.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &'a Table> + use<'a> {
        self.original.tables.values()
    }

    /// Those of them that have copies of their rows: where there are none only offices move.
    pub(crate) fn copied_tables(&self) -> impl Iterator<Item = &'a Table> + use<'a> {
        let tables = self.original.tables.values();
        tables.filter(|table| table.definition.data_path().has_copies())
    }

    /// Those of them that are copied to learners and dropped by this controller: the replicas of
    /// an active table leave by the same step by which another one joins.
    pub(crate) fn movable_tables(&self) -> impl Iterator<Item = &'a Table> + use<'a> {
        let tables = self.original.tables.values();
        tables.filter(|table| {
            let path = table.definition.data_path();
            path.has_offices() && path.has_copies()
        })
    }

    /// Those of them whose rows lie on shared storage: any member can take an office.
    pub(crate) fn shared_tables(&self) -> impl Iterator<Item = &'a Table> + use<'a> {
        let tables = self.original.tables.values();
        tables.filter(|table| {
            let path = table.definition.data_path();
            path.has_offices() && !path.has_copies()
        })
    }

    /// All partitions as they were, to go through them while the draft changes.
    pub(crate) fn partitions(&self) -> Vec<(PartitionId, &'a TableDefinition)> {
        self.original
            .partitions()
            .map(|(id, table, _)| (id, &table.definition))
            .collect()
    }

    /// The assignment of a partition with what was planned so far.
    pub(crate) fn assignment(&self, partition: PartitionId) -> Assignment {
        self.working
            .assignment(partition)
            .cloned()
            .unwrap_or_default()
    }

    /// Plans a member's state. A member that is unknown, or dead already, stays as it is.
    pub(crate) fn set_state(&mut self, storage: StorageId, state: MemberState) {
        let Some(member) = self.working.members.get_mut(&storage) else {
            return;
        };
        if member.state != state && member.state != MemberState::Down {
            member.state = state;
            self.plan.members.push((storage, member.incarnation, state));
        }
    }

    /// Plans an assignment, if it breaks no rule; it replaces an earlier plan for the partition.
    pub(crate) fn set(&mut self, partition: PartitionId, next: NextAssignment) -> Result<(), Rule> {
        let Some(before) = self.original.assignment(partition) else {
            return Ok(());
        };
        let Some(table) = self.original.tables.get(&partition.table) else {
            return Ok(());
        };
        let stopped = self.stopped.get(&partition).map_or(&[][..], Vec::as_slice);
        let after = check::next(&self.working, &table.definition, before, &next, stopped)?;
        // What comes out as it was needs no entry: the version is all that would differ.
        let same = after.primary == before.primary
            && after.replicas == before.replicas
            && after.in_sync == before.in_sync;
        if same {
            self.next.remove(&partition);
            self.working.put(partition, before.clone());
        } else {
            self.next.insert(partition, next);
            self.working.put(partition, after);
        }
        Ok(())
    }

    pub(crate) fn refused(&mut self, partition: PartitionId, rule: Rule) {
        self.plan.refused.push((partition, rule));
    }

    pub(crate) fn because(&mut self, reason: &str) {
        if !reason.is_empty() && self.plan.reasons.iter().all(|known| known != reason) {
            self.plan.reasons.push(reason.to_owned());
        }
    }

    /// How many assignments are planned so far.
    pub(crate) fn len(&self) -> usize {
        self.next.len()
    }

    pub(crate) fn finish(self) -> Plan {
        let Self {
            original,
            mut plan,
            next,
            mut stopped,
            ..
        } = self;
        plan.assignments = next
            .into_iter()
            .filter_map(|(partition, next)| {
                let before = original.assignment(partition)?;
                let expected = (before.epoch, before.version);
                Some(AssignmentChange {
                    partition,
                    expected,
                    next,
                    stopped: stopped.remove(&partition).unwrap_or_default(),
                })
            })
            .collect();
        plan
    }
}
