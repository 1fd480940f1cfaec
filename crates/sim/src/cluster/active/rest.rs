//! How a run with an active table ends: every partition takes a write and then shows all its rows,
//! and its replicas become the same. Knows nothing of what they should have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tablestore_placement::{Assignment, PartitionId, StorageId, TableId};
use tablestore_replication::active::{Row, codec};
use tablestore_store::ReadRows as _;
use tablestore_store::engine::Scan;

use super::wanted::key_of;
use super::{ClusterEvent, World};
use crate::cluster::machine::slot_of;

/// Pauses between probes, which nothing hurries.
const PROBE_EVERY_US: u64 = 500;

/// A row that is written or read when all is healed.
#[derive(Clone, Debug)]
struct Probe {
    partition: PartitionId,
    key: Bytes,
    reads: bool,
}

/// What is asked when all is healed, again and again until it is answered.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Of these tables.
    tables: BTreeSet<TableId>,
    writes: VecDeque<Probe>,
    reads: VecDeque<Probe>,
    /// Whether the reads were listed.
    are_listed: bool,
    /// Partitions whose replicas were the same.
    equal: BTreeSet<PartitionId>,
    under_way: bool,
}

impl Probes {
    /// The probe under way was answered, and is the next one unless all were listed anew.
    pub(super) fn answered(&mut self, partition: PartitionId) {
        let is_next = self.next().is_some_and(|next| next.partition == partition);
        if is_next && self.writes.pop_front().is_none() {
            self.reads.pop_front();
        }
    }

    fn next(&self) -> Option<&Probe> {
        self.writes.front().or_else(|| self.reads.front())
    }
}

type Copied = (StorageId, BTreeMap<Bytes, Row>);

impl World {
    /// Asks for what is to be asked next.
    pub(super) fn probe(&mut self) {
        let Some(probe) = self.active.probes.next().cloned() else {
            self.active.probes.under_way = false;
            return;
        };
        let client = self.active.prober();
        let place = (probe.partition, probe.key);
        if self.ask_somebody(client, place, probe.reads).is_none() {
            self.later(client, PROBE_EVERY_US);
        }
    }

    /// What is not as it must be of the active tables, when no fault is left and all tables are
    /// there.
    pub(in crate::cluster) fn unwell_active(&mut self) -> Option<String> {
        let partitions = self.active_partitions();
        let tables: BTreeSet<TableId> = partitions.iter().map(|one| one.table).collect();
        if self.active.probes.tables != tables {
            self.list_writes(tables, &partitions);
        }
        if !self.active.probes.writes.is_empty() {
            return self.ask_on();
        }
        if self.dead.is_none()
            && let Some(why) = self.not_equal(&partitions)
        {
            return Some(why);
        }
        if !self.active.probes.are_listed {
            self.list_reads(&partitions);
        }
        if !self.active.probes.reads.is_empty() {
            return self.ask_on();
        }
        None
    }

    fn list_writes(&mut self, tables: BTreeSet<TableId>, partitions: &[PartitionId]) {
        let writes = (0u64..).zip(partitions).map(|(number, partition)| Probe {
            partition: *partition,
            key: key_of(1_000_000 + number),
            reads: false,
        });
        self.active.probes = Probes {
            tables,
            writes: writes.collect(),
            under_way: self.active.probes.under_way,
            ..Probes::default()
        };
    }

    fn list_reads(&mut self, partitions: &[PartitionId]) {
        let mut reads = VecDeque::new();
        for partition in partitions {
            let keys = self.active.check.keys(*partition);
            reads.extend(keys.into_iter().map(|key| Probe {
                partition: *partition,
                key,
                reads: true,
            }));
        }
        self.active.probes.reads = reads;
        self.active.probes.are_listed = true;
    }

    /// Goes on asking, and says what is not answered yet.
    fn ask_on(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.active.probes.under_way, true) {
            let client = self.active.prober();
            self.queue
                .push(self.now, ClusterEvent::ActiveClient(client));
        }
        let probe = self.active.probes.next()?;
        let (what, partition) = (if probe.reads { "read" } else { "write" }, probe.partition);
        let assignment = self.agreement.map.assignment(partition);
        Some(format!(
            "{partition} answers no {what}: {assignment:?}{}",
            assignment.map_or_else(String::new, |a| self.shown(partition, a))
        ))
    }

    /// A partition whose replicas are not all there, or differ. The judge sees them when they are
    /// the same for the first time, as no client writes any more.
    fn not_equal(&mut self, partitions: &[PartitionId]) -> Option<String> {
        let map = Arc::clone(&self.agreement.map);
        let wanted = self.scenario.replicas as usize;
        for partition in partitions {
            if self.active.probes.equal.contains(partition) {
                continue;
            }
            let Some(assignment) = map.assignment(*partition) else {
                continue;
            };
            let is_whole = assignment.in_sync.len() == wanted && assignment.joiner().is_none();
            let copies = self.copies(*partition, assignment);
            let is_equal = copies.as_ref().is_some_and(|copies| {
                let first = copies.first().map(|one| &one.1);
                copies.iter().all(|one| Some(&one.1) == first)
            });
            let Some(copies) = copies.filter(|_| is_whole && is_equal) else {
                let shown = self.shown(*partition, assignment);
                return Some(format!("{partition} is not equal: {assignment:?}{shown}"));
            };
            self.active.check.at_rest(*partition, &copies);
            self.heed_active();
            self.count_ways(*partition, assignment);
            self.active.probes.equal.insert(*partition);
        }
        None
    }

    fn copies(&self, partition: PartitionId, assignment: &Assignment) -> Option<Vec<Copied>> {
        let all = Scan::all(usize::MAX, usize::MAX);
        let replicas = assignment.replicas.iter().map(|member| {
            let machine = &self.machines[slot_of(*member)];
            let process = machine
                .process
                .as_ref()
                .filter(|_| machine.storage == *member)?;
            let status = process.plane.active_status(partition)?;
            let page = machine.engine.scan(partition.to_u64(), &all).ok()?;
            let rows = page.rows.into_iter().map(|(key, row)| {
                let row = codec::decode_row(row).ok()?;
                Some((key, row))
            });
            let rows: Option<BTreeMap<Bytes, Row>> = rows.collect();
            Some((*member, rows.filter(|_| !status.is_rebuilding)?))
        });
        replicas.collect()
    }

    fn shown(&self, partition: PartitionId, assignment: &Assignment) -> String {
        let lines = assignment.replicas.iter().map(|member| {
            let process = self.machines[slot_of(*member)].process.as_ref();
            let status = process.and_then(|process| process.plane.active_status(partition));
            format!("\n  {member}: {status:?}")
        });
        lines.collect()
    }

    /// Counts what replicas did that are at rest now.
    fn count_ways(&mut self, partition: PartitionId, assignment: &Assignment) {
        for member in &assignment.replicas {
            let process = self.machines[slot_of(*member)].process.as_ref();
            let Some(process) = process else { continue };
            let Some(status) = process.plane.active_status(partition) else {
                continue;
            };
            let hints = process.plane.hints();
            let ways = [
                ("active: a floor was proved", status.floor.0 > 0),
                ("active: rows came by a comparison", status.rows_taken > 0),
                (
                    "active: rows were refused in a comparison",
                    status.rows_refused > 0,
                ),
                (
                    "active: a comparison was given up",
                    status.sweeps_failed > 0,
                ),
                ("active: hints were taken", hints.replayed > 0),
                ("active: hints were refused", hints.refused > 0),
                ("active: hints were dropped", hints.dropped > 0),
            ];
            for (way, _) in ways.into_iter().filter(|(_, is_there)| *is_there) {
                self.took(way);
            }
        }
    }
}
