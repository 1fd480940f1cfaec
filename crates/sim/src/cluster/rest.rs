//! How a run begins and ends: tables are created, and when all faults are healed everything must be
//! well within a bound, and the same everywhere. Knows nothing of how that comes about.

use std::collections::BTreeSet;
use std::sync::Arc;

use tablestore_placement::{
    Assignment, Command, KeyDefinition, KeyType, Layout, PartitionId, StorageId, TableDefinition,
    plan,
};
use tablestore_store::Engine as _;

use super::machine::slot_of;
use super::{MS, World};

/// After all faults are healed everything must be well within this time.
const QUIET_US_MAX: u64 = 60_000 * MS;

impl World {
    /// Creates the tables when the members are there.
    pub(super) fn create_tables(&mut self) {
        let map = &self.agreement.map;
        let begun = map.next_table > 1 || map.live_members().count() == self.machines.len();
        if !begun || map.tables.len() >= self.scenario.tables {
            return;
        }
        let definition = TableDefinition {
            partition_key: KeyDefinition {
                name: "id".to_owned(),
                key_type: KeyType::String,
            },
            sort_key: None,
            strategy: tablestore_placement::PRIMARY_BACKUP.to_owned(),
            replicas: self.scenario.replicas,
            min_in_sync: self.scenario.min_in_sync,
            partitions: self.scenario.partitions,
            layout: Layout::Row,
        };
        let assignments = plan::initial(map, &definition);
        let name = format!("table{}", map.next_table);
        self.command(Command::CreateTable {
            name,
            definition,
            assignments,
            at_ms: 1,
        });
    }

    /// Waits until all is well, and looks whether all is the same.
    pub(super) fn rest(&mut self) {
        let at_latest = self.now + QUIET_US_MAX;
        let (mut checks_at, mut rested) = (self.now, BTreeSet::new());
        while self.violation.is_none() && self.step() {
            if self.now < checks_at {
                continue;
            }
            checks_at = self.now + 20 * MS;
            match self.unwell(&mut rested) {
                None => return self.judge_end(),
                Some(why) if self.now > at_latest => {
                    self.fail("Liveness", || format!("not well long after healing: {why}"));
                }
                Some(_) => {}
            }
        }
    }

    /// What is not as it must be when no fault is left. Each partition is judged when it comes to
    /// rest: marks for comparisons go on.
    fn unwell(&mut self, rested: &mut BTreeSet<PartitionId>) -> Option<String> {
        if !self.clients.are_idle() {
            return Some("clients wait".to_owned());
        }
        for machine in &self.machines {
            let Some(process) = &machine.process else {
                continue;
            };
            let engine = &machine.engine;
            let works = |number: u64| {
                process
                    .plane
                    .status(PartitionId::from_u64(number))
                    .is_some()
            };
            let mut held = process.journal.held.iter();
            let late = held
                .find(|(number, index)| works(**number) && engine.checkpointed(**number) < **index);
            if let Some((number, index)) = late {
                let (partition, life) = (PartitionId::from_u64(*number), process.life);
                let durable = engine.checkpointed(*number);
                return Some(format!(
                    "{partition} of {life:?} is not flushed: durable up to {durable}, and the \
                     journal wants {index}"
                ));
            }
        }
        let map = Arc::clone(&self.agreement.map);
        if map.tables.len() < self.scenario.tables {
            return Some("tables are missing".to_owned());
        }
        let mut unwell = None;
        for (partition, table, assignment) in map.partitions() {
            if rested.contains(&partition) {
                continue;
            }
            let wanted = table.definition.replicas as usize;
            match self.unwell_partition(partition, assignment, wanted) {
                None => {
                    self.judge_rest(partition, assignment);
                    rested.insert(partition);
                }
                Some(why) => unwell = Some(why),
            }
        }
        unwell
    }

    fn unwell_partition(
        &self,
        partition: PartitionId,
        assignment: &Assignment,
        wanted: usize,
    ) -> Option<String> {
        let status = |member: &StorageId| {
            let process = self.machines[slot_of(*member)].process.as_ref();
            process.and_then(|process| process.plane.status(partition))
        };
        let shown = || {
            let replicas = assignment.replicas.iter();
            let lines = replicas.map(|member| format!("\n  {member}: {:?}", status(member)));
            format!("{partition}: {assignment:?}{}", lines.collect::<String>())
        };
        let Some(primary) = assignment.primary else {
            return Some(format!("no primary: {}", shown()));
        };
        if assignment.in_sync.len() != wanted || assignment.replicas.len() != wanted {
            return Some(format!("not whole: {}", shown()));
        }
        if self.machines[slot_of(primary.member)].office() != primary {
            return Some(format!("the office is vacant: {}", shown()));
        }
        let mut ends = Vec::new();
        for member in &assignment.replicas {
            let Some(status) = status(member) else {
                return Some(format!("nothing of {member}: {}", shown()));
            };
            if *member == primary.member && !status.serving {
                return Some(format!("not served: {}", shown()));
            }
            ends.push((status.end, status.commit, status.applied));
        }
        let end = ends[0].0;
        let is_at_rest = ends.iter().all(|one| *one == (end, end, end));
        (!is_at_rest).then(|| format!("not at rest: {}", shown()))
    }
}
