//! The active table of a run: clients that ask any node, and what the judge of active tables is
//! told of them. Knows nothing of whether an answer is right.

mod budget;
mod clocks;
mod plan;
mod rest;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tablestore_dataplane::{ActiveRequest, Answer, Failure, PlaneEvent, Reply, Seen};
use tablestore_placement::{
    ACTIVE, DataPath, PRIMARY_BACKUP, PartitionId, StorageId, Table, TableId,
};

use self::rest::Probes;
use super::event::{ClusterEvent, Life, Slot, Waiter};
use super::{MS, World};
use crate::check::active::{ActiveCheck, OpId, version_of};

pub(crate) use self::plan::ActivePlan;

/// Attempts of these clients have numbers from here on.
const ATTEMPTS_FROM: u64 = 1 << 63;

/// What a client waits for.
#[derive(Clone, Debug)]
struct Attempt {
    client: usize,
    slot: Slot,
    op: OpId,
    partition: PartitionId,
    request: ActiveRequest,
}

/// All that a run has of an active table.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    pub(super) check: ActiveCheck,
    /// Whether each client waits for an answer; the last one asks when all is healed.
    busy: Vec<bool>,
    attempts: BTreeMap<u64, Attempt>,
    last_attempt: u64,
    probes: Probes,
    /// All active tables that there were.
    tables: BTreeSet<TableId>,
    /// The latest time that a wall clock showed because it had leapt.
    latest_ms: u64,
}

impl ActiveRun {
    pub(crate) fn new(plan: Option<ActivePlan>, replicas: u32) -> Self {
        let clients = plan.map_or(0, |plan| plan.clients + 1);
        Self {
            check: ActiveCheck::new(replicas as usize),
            busy: vec![false; clients],
            attempts: BTreeMap::new(),
            last_attempt: ATTEMPTS_FROM,
            probes: Probes::default(),
            tables: BTreeSet::new(),
            latest_ms: 0,
        }
    }

    /// Whether its clients wait for nothing; what asks at the end does not count.
    pub(crate) fn are_idle(&self) -> bool {
        let mut clients = self.busy.iter().take(self.prober());
        clients.all(|busy| !busy)
    }

    /// Whether the waiter is one of these clients.
    pub(crate) fn owns(&self, waiter: Waiter) -> bool {
        waiter.attempt >= ATTEMPTS_FROM
    }

    fn prober(&self) -> usize {
        self.busy.len().saturating_sub(1)
    }
}

impl World {
    /// Its clients begin.
    pub(super) fn begin_active_clients(&mut self) {
        for client in 0..self.active.prober() {
            let at = 100 * MS + self.chance.active.below(50 * MS);
            self.queue.push(at, ClusterEvent::ActiveClient(client));
        }
    }

    /// The partitions of active tables.
    fn active_partitions(&self) -> Vec<PartitionId> {
        let map = &self.agreement.map;
        let of = map.partitions().filter(|(id, ..)| self.is_active(*id));
        of.map(|(id, ..)| id).collect()
    }

    /// Whether a partition is of an active table, or was before that was dropped.
    pub(super) fn is_active(&self, partition: PartitionId) -> bool {
        self.active.tables.contains(&partition.table)
    }

    /// Notes what active tables there are, before they may be dropped.
    pub(super) fn note_active_tables(&mut self) {
        let tables = self.agreement.map.tables.values();
        let tables = tables.filter(|table| is_active(table));
        self.active.tables.extend(tables.map(|table| table.id));
    }

    /// The strategy of the next table: there is one active table at a time.
    pub(super) fn next_strategy(&self) -> &'static str {
        let tables = &self.agreement.map.tables;
        let is_next = self.scenario.active.is_some_and(|plan| {
            !tables.values().any(is_active) && (plan.is_first || !tables.is_empty())
        });
        if is_next { ACTIVE } else { PRIMARY_BACKUP }
    }

    /// A client that waits for nothing asks for something.
    pub(super) fn active_client(&mut self, client: usize) {
        if self.active.busy[client] {
            return;
        }
        if client == self.active.prober() {
            return self.probe();
        }
        if self.is_quiet() {
            return;
        }
        let partitions = self.active_partitions();
        let Some(plan) = self.scenario.active.filter(|_| !partitions.is_empty()) else {
            return self.later(client, 20 * MS);
        };
        let number = self.chance.active.below(plan.keys);
        let partition = partitions[(number % partitions.len() as u64) as usize];
        let key = wanted::key_of(number);
        let reads = !self.chance.active.happens(plan.writes_per_mille);
        if self.ask_somebody(client, (partition, key), reads).is_none() {
            self.later(client, 5 * MS);
        }
    }

    fn later(&mut self, client: usize, later_us: u64) {
        let at = self.now + later_us;
        self.queue.push(at, ClusterEvent::ActiveClient(client));
    }

    /// Sends a request to some node; none if nobody is there.
    fn ask_somebody(
        &mut self,
        client: usize,
        (partition, key): (PartitionId, Bytes),
        reads: bool,
    ) -> Option<()> {
        let slot = self.chance.active.below(self.machines.len() as u64) as usize;
        let life = self.machines[slot].process.as_ref()?.life;
        let node = self.machines[slot].storage;
        let is_probe = client == self.active.prober();
        let wanted = if reads {
            self.next_read(&key, is_probe)
        } else {
            self.next_change(&key, is_probe)
        };
        let op = self
            .active
            .check
            .begin((partition, &key), node, wanted.asked());
        let request = wanted.request(op, self.scenario.active.map_or(0, |plan| plan.filler));
        self.tell(|| format!("active client {client} asks n{slot}, as {op}: {request:?}"));
        self.active.last_attempt += 1;
        let attempt = self.active.last_attempt;
        let under_way = Attempt {
            client,
            slot,
            op,
            partition,
            request,
        };
        self.active.attempts.insert(attempt, under_way);
        self.active.busy[client] = true;
        let at = self.now + self.network.delay(&mut self.chance.active);
        self.queue
            .push(at, ClusterEvent::ActiveAsked { to: life, attempt });
        let patience = self.chance.active.between(300 * MS, 1_500 * MS);
        let waiter = Waiter { client, attempt };
        self.queue
            .push(self.now + patience, ClusterEvent::GivenUp(waiter));
        Some(())
    }

    /// A request arrives at a node.
    pub(super) fn active_asked(&mut self, to: Life, attempt: u64) {
        let Some(asked) = self.active.attempts.get(&attempt) else {
            return;
        };
        let client = asked.client;
        let event = PlaneEvent::Active {
            partition: asked.partition,
            request: asked.request.clone(),
            waiter: Waiter { client, attempt },
        };
        self.give(to, event);
    }

    /// A node answers: what it acknowledges must be on the disks at this moment.
    pub(super) fn active_given(&mut self, waiter: Waiter, by: StorageId, reply: &Reply) {
        let Some(attempt) = self.active.attempts.get(&waiter.attempt) else {
            return;
        };
        let Ok(Answer::Written { version, .. }) = &reply.result else {
            return;
        };
        let (op, version) = (attempt.op, version_of(*version, by));
        self.active.check.acknowledges(op, version);
        self.heed_active();
    }

    /// An answer arrives at a client.
    pub(super) fn active_answered(&mut self, waiter: Waiter, by: StorageId, reply: &Reply) {
        let Some(attempt) = self.active.attempts.remove(&waiter.attempt) else {
            return;
        };
        let op = attempt.op;
        self.tell(|| format!("{by:?} answers {op}: {reply:?}"));
        let way = match &reply.result {
            Ok(Answer::Written { version, .. }) => {
                self.active.check.written(op, version_of(*version, by));
                "active: written"
            }
            Ok(Answer::Row(row)) => {
                self.active.check.found(op, row.as_ref());
                if row.is_some() {
                    "active: a row"
                } else {
                    "active: no row"
                }
            }
            Ok(_) => return self.fail("active-foreign", || format!("{op}: {reply:?}")),
            Err(failure) => failed(*failure),
        };
        self.took(way);
        self.heed_active();
        self.active_done(&attempt, reply.result.is_ok());
    }

    /// A client waits no longer.
    pub(super) fn active_given_up(&mut self, waiter: Waiter) {
        if let Some(attempt) = self.active.attempts.remove(&waiter.attempt) {
            self.took("active: given up");
            self.active_done(&attempt, false);
        }
    }

    fn active_done(&mut self, attempt: &Attempt, is_answered: bool) {
        let client = attempt.client;
        self.active.busy[client] = false;
        if client == self.active.prober() && is_answered {
            self.active.probes.answered(attempt.partition);
        }
        let think_us = self.scenario.active.map_or(MS, |plan| plan.think_us);
        let later_us = self.chance.active.below(think_us) + 1;
        self.later(client, later_us);
    }

    /// The connections of clients to a process that died end.
    pub(super) fn active_clients_lose(&mut self, slot: Slot) {
        let lost = self.active.attempts.iter();
        let lost = lost.filter(|(_, one)| one.slot == slot);
        let lost: Vec<(u64, usize)> = lost.map(|(attempt, one)| (*attempt, one.client)).collect();
        for (attempt, client) in lost {
            let at = self.now + self.network.delay(&mut self.chance.active);
            let waiter = Waiter { client, attempt };
            self.queue.push(at, ClusterEvent::GivenUp(waiter));
        }
    }

    /// Tells the judge of a row that a replica has put into its log.
    pub(super) fn judge_active(&mut self, life: Life, seen: Seen) {
        if let Seen::Kept {
            partition,
            index,
            key,
            row,
        } = seen
        {
            let member = self.machines[life.slot].storage;
            self.tell(|| format!("{life:?} {partition} keeps {key:?} as {index}: {row:?}"));
            let check = &mut self.active.check;
            check.kept(member, partition, index, (&key, &row));
            self.heed_active();
        }
    }

    /// Tells the judge that a machine starts on what is on its disk.
    pub(super) fn active_restarts(&mut self, slot: Slot) {
        let machine = &self.machines[slot];
        let end = |partition| machine.durable.end(partition).unwrap_or(0);
        self.active.check.restarted(machine.storage, end);
    }

    /// Tells the judge what a machine has made durable.
    pub(super) fn active_synced(&mut self, slot: Slot) {
        let machine = &self.machines[slot];
        let end = |partition| machine.durable.end(partition).unwrap_or(0);
        self.active.check.synced(machine.storage, end);
    }

    fn heed_active(&mut self) {
        if let Some(violation) = self.active.check.violation()
            && self.violation.is_none()
        {
            self.violation = Some(violation.to_owned());
        }
    }
}

fn is_active(table: &Table) -> bool {
    table.definition.data_path() == DataPath::Active
}

fn failed(failure: Failure) -> &'static str {
    match failure {
        Failure::NotEnoughReplicas => "active: not enough replicas",
        Failure::Unknown => "active: outcome unknown",
        Failure::Busy => "active: busy",
        Failure::Stopped => "active: stopped",
        Failure::Full => "active: disk full",
        Failure::ClockOff => "active: clock off",
        Failure::NotHere
        | Failure::RequestMismatch
        | Failure::Deadline
        | Failure::Unconfirmed
        | Failure::NoStorage => "active: what only others answer",
    }
}
