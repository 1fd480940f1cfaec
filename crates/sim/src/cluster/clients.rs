//! Clients: whom they ask, how long they wait, and when they ask again.
//! Knows nothing of whether an answer is right.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure, Operation, PlaneEvent, Reply};
use tablestore_placement::{PartitionId, StorageId};

use super::event::{ClusterEvent, Life, Slot, Waiter};
use super::{MS, World};
use crate::check::{AttemptId, OpId};

/// Acknowledged writes that may be repeated.
const ACKNOWLEDGED_MAX: usize = 30;

/// How often a client asks for one thing, in most runs.
pub(crate) const ATTEMPTS_MAX: u32 = 6;

/// What a client wants done, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) partition: PartitionId,
    pub(super) key: Bytes,
    pub(crate) operation: Operation,
    pub(crate) attempts: u32,
    /// What the judge calls it.
    pub(super) op: OpId,
}

/// An attempt under way.
#[derive(Clone, Debug)]
struct Attempt {
    client: usize,
    slot: Slot,
    op: OpId,
    /// What the judge calls it.
    judged: AttemptId,
}

/// All clients.
#[derive(Debug)]
pub(crate) struct Clients {
    wanted: Vec<Option<Wanted>>,
    attempts: BTreeMap<u64, Attempt>,
    last_attempt: u64,
    pub(super) last_value: u64,
    /// Some of the writes that were acknowledged last.
    pub(super) acknowledged: VecDeque<Wanted>,
}

impl Clients {
    pub(crate) fn new(clients: usize) -> Self {
        Self {
            wanted: vec![None; clients],
            attempts: BTreeMap::new(),
            last_attempt: 0,
            last_value: 0,
            acknowledged: VecDeque::new(),
        }
    }

    pub(crate) fn are_idle(&self) -> bool {
        self.wanted.iter().all(Option::is_none)
    }
}

impl World {
    /// A client that waits for nothing begins something.
    pub(super) fn client(&mut self, client: usize) {
        let map = &self.agreement.map;
        let open = map.partitions().any(|(id, ..)| !self.is_active(id));
        if self.clients.wanted[client].is_none() {
            if self.is_quiet() {
                return;
            }
            if !open {
                return self
                    .queue
                    .push(self.now + 20 * MS, ClusterEvent::Client(client));
            }
            let wanted = match self.repeated() {
                Some(wanted) => wanted,
                None => self.next_operation(),
            };
            self.clients.wanted[client] = Some(wanted);
        }
        self.attempt(client);
    }

    /// Sends what a client wants to some node.
    fn attempt(&mut self, client: usize) {
        let slot = self.chance.clients.below(self.machines.len() as u64) as usize;
        let there = self.machines[slot].process.as_ref().map(|p| p.life);
        let Some(life) = there else {
            self.queue
                .push(self.now + 5 * MS, ClusterEvent::Client(client));
            return;
        };
        self.clients.last_attempt += 1;
        let attempt = self.clients.last_attempt;
        let Some(wanted) = &mut self.clients.wanted[client] else {
            return;
        };
        wanted.attempts += 1;
        let op = wanted.op;
        let under_way = Attempt {
            client,
            slot,
            op,
            judged: self.check.attempt(self.now, op),
        };
        self.clients.attempts.insert(attempt, under_way);
        let at = self.now + self.network.delay(&mut self.chance.network);
        self.queue
            .push(at, ClusterEvent::Asked { to: life, attempt });
        let patience = self.chance.clients.between(300 * MS, 1_500 * MS);
        let waiter = Waiter { client, attempt };
        self.queue
            .push(self.now + patience, ClusterEvent::GivenUp(waiter));
    }

    /// A request arrives at a node.
    pub(super) fn asked(&mut self, to: Life, attempt: u64) {
        let Some(client) = self.clients.attempts.get(&attempt).map(|one| one.client) else {
            return;
        };
        let Some(wanted) = self.clients.wanted[client].clone() else {
            return;
        };
        let wait =
            std::time::Duration::from_micros(self.chance.clients.between(100 * MS, 1_000 * MS));
        let now = self.now;
        let Some(process) = self.process(to) else {
            return;
        };
        let deadline = process.since_start(now) + wait;
        let waiter = Waiter { client, attempt };
        self.give(
            to,
            PlaneEvent::Request {
                partition: wanted.partition,
                operation: wanted.operation,
                deadline,
                waiter,
            },
        );
    }

    /// An answer arrives at a client.
    pub(super) fn answered(&mut self, waiter: Waiter, by: StorageId, reply: Reply) {
        if self.active.owns(waiter) {
            return self.active_answered(waiter, by, &reply);
        }
        let Some(attempt) = self.clients.attempts.remove(&waiter.attempt) else {
            return;
        };
        let result = reply.result.clone();
        self.check
            .ended(self.now, attempt.op, attempt.judged, result);
        self.heed();
        let client = waiter.client;
        let Some(wanted) = self.clients.wanted[client].clone() else {
            return;
        };
        self.tell(|| format!("client {client}: {by:?} answers {reply:?} to {wanted:?}"));
        match reply.result {
            Ok(answer) => {
                if matches!(answer, Answer::Written { repeated: true, .. }) {
                    self.took("a repeated request was answered");
                }
                if matches!(answer, Answer::Written { .. }) {
                    self.clients.acknowledged.push_back(wanted);
                    if self.clients.acknowledged.len() > ACKNOWLEDGED_MAX {
                        self.clients.acknowledged.pop_front();
                    }
                }
                self.done(client);
            }
            Err(failure) => {
                self.took(failed(failure));
                if failure == Failure::RequestMismatch {
                    return self.done(client);
                }
                self.again(client, wanted.attempts);
            }
        }
    }

    /// A client waits no longer for an attempt.
    pub(super) fn given_up(&mut self, waiter: Waiter) {
        if self.active.owns(waiter) {
            return self.active_given_up(waiter);
        }
        if let Some(attempt) = self.clients.attempts.remove(&waiter.attempt) {
            self.check.lost(self.now, attempt.judged);
            self.took("a client gave an attempt up");
            let attempts = self.clients.wanted[waiter.client].as_ref();
            let attempts = attempts.map_or(0, |wanted| wanted.attempts);
            self.again(waiter.client, attempts);
        }
    }

    /// Tries again, with the same request id, or gives up for good.
    fn again(&mut self, client: usize, attempts: u32) {
        let most = self.scenario.shared.as_ref();
        let most = most.map_or(ATTEMPTS_MAX, |plan| plan.attempts_max);
        if attempts >= most || self.healed {
            return self.done(client);
        }
        let later = self.chance.clients.below(10 * MS) + 1;
        self.queue
            .push(self.now + later, ClusterEvent::Client(client));
    }

    fn done(&mut self, client: usize) {
        self.clients.wanted[client] = None;
        let later = self.chance.clients.below(self.scenario.think_us) + 1;
        self.queue
            .push(self.now + later, ClusterEvent::Client(client));
    }

    /// The connections of clients to a process that died end.
    pub(super) fn clients_lose(&mut self, slot: Slot) {
        let lost = self
            .clients
            .attempts
            .iter()
            .filter(|(_, one)| one.slot == slot);
        let lost: Vec<(u64, usize)> = lost.map(|(attempt, one)| (*attempt, one.client)).collect();
        for (attempt, client) in lost {
            let at = self.now + self.network.delay(&mut self.chance.network);
            self.queue
                .push(at, ClusterEvent::GivenUp(Waiter { client, attempt }));
        }
    }
}

fn failed(failure: Failure) -> &'static str {
    match failure {
        Failure::NotHere => "answer: not here",
        Failure::NotEnoughReplicas => "answer: not enough replicas",
        Failure::RequestMismatch => "answer: request mismatch",
        Failure::Unknown => "answer: outcome unknown",
        Failure::Busy => "answer: busy",
        Failure::Stopped => "answer: stopped",
        Failure::NoStorage => "answer: no storage",
        Failure::Deadline => "answer: deadline",
        Failure::Unconfirmed => "answer: unconfirmed",
        Failure::Full => "answer: disk full",
        Failure::ClockOff => "answer: clock off",
    }
}
