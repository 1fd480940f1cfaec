//! What operators do with tables on shared storage: which one is created, and to whom offices move.
//! Knows nothing of what follows.

use tablestore_placement::{
    NextAssignment, PARTITION, PRIMARY_BACKUP, PartitionId, StorageId, Table,
};

use super::super::World;
use super::super::scenario::Scenario;
use crate::rng::one_of;

impl World {
    /// The strategy of the next table, how many replicas it has and how many must be in sync. One
    /// of the tables of a run lies on shared storage, if there is one.
    pub(in crate::cluster) fn how_next_table_is_kept(&self) -> (&'static str, u32, u32) {
        let tables = &self.agreement.map.tables;
        let is_shared = |table: &Table| !table.definition.data_path().has_copies();
        let is_next = |at: usize| tables.len() == at && !tables.values().any(is_shared);
        let plan = self.scenario.shared.as_ref();
        match plan.is_some_and(|plan| is_next(plan.table)) {
            true => (PARTITION, 1, 1),
            false => {
                let Scenario {
                    replicas,
                    min_in_sync,
                    ..
                } = self.scenario;
                (PRIMARY_BACKUP, replicas, min_in_sync)
            }
        }
    }

    /// Moves the office of an owner that may work well to any other member.
    pub(in crate::cluster) fn move_owner(&mut self, partition: PartitionId, whom: u64) {
        let map = self.agreement.map.clone();
        let Some(current) = map.assignment(partition) else {
            return;
        };
        let others = map.live_members().map(|member| member.storage);
        let others = others.filter(|one| Some(*one) != current.primary_member());
        let others: Vec<StorageId> = others.collect();
        let Some(to) = one_of(&others, whom / 7) else {
            return;
        };
        let next = NextAssignment {
            primary: Some(to),
            replicas: vec![to],
            in_sync: vec![to],
        };
        self.assign(partition, (current.epoch, current.version), next);
        self.took("an owner was replaced by an operator");
    }
}
