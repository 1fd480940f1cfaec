//! How a run begins and ends: tables are created, and when all faults are healed everything must be
//! well within a bound, and the same everywhere. Knows nothing of how that comes about.

use tablestore_placement::plan;
use tablestore_placement::{Command, KeyDefinition, KeyType, Layout, TableDefinition};

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
        let mut checks_at = self.now;
        while self.violation.is_none() && self.step() {
            if self.now < checks_at {
                continue;
            }
            checks_at = self.now + 20 * MS;
            match self.unwell() {
                None => return self.judge_rest(),
                Some(why) if self.now > at_latest => {
                    self.fail("Liveness", || format!("not well long after healing: {why}"));
                }
                Some(_) => {}
            }
        }
    }

    /// What is not as it must be when no fault is left.
    fn unwell(&mut self) -> Option<String> {
        if !self.clients.are_idle() {
            return Some("clients wait".to_owned());
        }
        let map = self.agreement.map.clone();
        if map.tables.len() < self.scenario.tables {
            return Some("tables are missing".to_owned());
        }
        for (partition, table, assignment) in map.partitions() {
            let Some(primary) = assignment.primary else {
                return Some(format!("{partition} has no primary"));
            };
            let wanted = table.definition.replicas as usize;
            if assignment.in_sync.len() != wanted || assignment.replicas.len() != wanted {
                let replicas = assignment.replicas.iter();
                let shown = replicas.map(|member| {
                    let process = self.machines[slot_of(*member)].process.as_ref();
                    format!(
                        "{member}: {:?}",
                        process.and_then(|p| p.plane.status(partition))
                    )
                });
                let shown: Vec<String> = shown.collect();
                return Some(format!("{partition}: {assignment:?} {shown:#?}"));
            }
            let mut all = Vec::new();
            for member in &assignment.replicas {
                let machine = &self.machines[slot_of(*member)];
                let process = machine.process.as_ref();
                let Some(status) = process.and_then(|p| p.plane.status(partition)) else {
                    return Some(format!("{partition}: nothing of {member}"));
                };
                let is_primary = *member == primary.member;
                if is_primary && machine.office() != primary {
                    return Some(format!("{partition}: the office is vacant"));
                }
                if is_primary && !status.serving {
                    return Some(format!("{partition}: {member} does not serve: {status:?}"));
                }
                all.push((status.end, status.commit, status.applied));
            }
            let end = all[0].0;
            if all.iter().any(|one| *one != (end, end, end)) {
                return Some(format!("{partition}: {all:?}"));
            }
        }
        None
    }
}
