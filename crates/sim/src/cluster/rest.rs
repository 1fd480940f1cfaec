//! How a run begins and ends: tables are created, and when all faults are healed everything must be
//! well within a bound, and the same everywhere. Knows nothing of how that comes about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tablestore_placement::{
    ACTIVE, Assignment, Command, KeyDefinition, KeyType, Layout, PRIMARY_BACKUP, PartitionId,
    StorageId, Strategies, TableDefinition, plan,
};
use tablestore_store::ReadRows as _;

use super::event::Life;
use super::machine::slot_of;
use super::{MS, World};

/// After all faults are healed everything must be well within this time.
const QUIET_US_MAX: u64 = 60_000 * MS;

/// What has come to rest.
#[derive(Default)]
struct Rested {
    partitions: BTreeSet<PartitionId>,
    /// How far partitions that keep a journal's oldest segment were flushed when that was seen.
    flushed: BTreeMap<(Life, PartitionId), u64>,
}

impl World {
    /// Creates the tables when the members are there.
    pub(super) fn create_tables(&mut self) {
        let map = &self.agreement.map;
        let begun = map.next_table > 1 || map.live_members().count() == self.machines.len();
        if !begun || map.tables.len() >= self.scenario.tables {
            return;
        }
        let (strategy, replicas, min_in_sync) = self.how_next_table_is_kept();
        let strategy = match strategy {
            PRIMARY_BACKUP => self.next_strategy(),
            other => other,
        };
        let definition = TableDefinition {
            partition_key: KeyDefinition {
                name: "id".to_owned(),
                key_type: KeyType::String,
            },
            sort_key: None,
            strategy: strategy.to_owned(),
            replicas,
            min_in_sync,
            partitions: self.scenario.partitions,
            layout: Layout::Row,
        };
        let assignments = plan::initial(&Strategies::built_in(), map, &definition);
        let assignments = assignments.unwrap_or_default();
        // What is made while members are missing has fewer replicas, and its majority is of those.
        let is_short = |first: &Assignment| first.replicas.len() < self.scenario.replicas as usize;
        if strategy == ACTIVE && assignments.iter().any(is_short) {
            return;
        }
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
        let healed_us = self.now;
        let at_latest = healed_us + QUIET_US_MAX;
        let (mut checks_at, mut rested) = (self.now, Rested::default());
        while self.violation.is_none() && self.step() {
            if self.now < checks_at {
                continue;
            }
            checks_at = self.now + 20 * MS;
            match self.unwell(&mut rested) {
                None => {
                    self.well_after_us = self.now - healed_us;
                    return self.judge_end();
                }
                Some(why) if self.now > at_latest => {
                    self.fail("Liveness", || format!("not well long after healing: {why}"));
                }
                Some(_) => {}
            }
        }
    }

    /// What is not as it must be when no fault is left. Each partition is judged when it comes to
    /// rest: marks for comparisons go on.
    fn unwell(&mut self, rested: &mut Rested) -> Option<String> {
        if !self.clients.are_idle() || !self.active.are_idle() {
            return Some("clients wait".to_owned());
        }
        if let Some(why) = self.unflushed(rested) {
            return Some(why);
        }
        let map = Arc::clone(&self.agreement.map);
        if map.tables.len() < self.scenario.tables {
            return Some("tables are missing".to_owned());
        }
        let mut unwell = None;
        for (partition, table, assignment) in map.partitions() {
            if rested.partitions.contains(&partition) || self.is_active(partition) {
                continue;
            }
            if !table.definition.data_path().has_copies() {
                match self.unwell_shared(partition, assignment) {
                    None => {
                        self.judge_shared_rest(partition, assignment);
                        rested.partitions.insert(partition);
                    }
                    Some(why) => unwell = Some(why),
                }
                continue;
            }
            if self.dead.is_some() {
                unwell = self.unserved(partition, assignment).or(unwell);
                continue;
            }
            let wanted = table.definition.replicas as usize;
            match self.unwell_partition(partition, assignment, wanted) {
                None => {
                    self.judge_rest(partition, assignment);
                    rested.partitions.insert(partition);
                }
                Some(why) => unwell = Some(why),
            }
        }
        self.unwell_active().or(unwell)
    }

    /// A partition that keeps the oldest segment of a journal and was not flushed since the end of
    /// the faults. Entries come all the time (marks for comparisons): it need not be flushed up to
    /// the last of them at the same moment as all others.
    fn unflushed(&self, rested: &mut Rested) -> Option<String> {
        for machine in &self.machines {
            let Some(process) = &machine.process else {
                continue;
            };
            let (engine, life) = (&machine.engine, process.life);
            for (number, index) in &process.journal.held {
                let partition = PartitionId::from_u64(*number);
                let durable = engine.checkpointed(*number);
                let before = *rested.flushed.entry((life, partition)).or_insert(durable);
                let status = process.plane.status(partition);
                if status.is_some() && durable < *index && durable <= before {
                    return Some(format!(
                        "{partition} of {life:?} is not flushed: durable up to {durable} of {}, \
                         and the journal wants {index}: {status:?}",
                        engine.applied(*number),
                    ));
                }
            }
        }
        None
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
