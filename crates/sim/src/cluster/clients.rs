//! Clients: what they ask, of whom, how long they wait, and when they ask again.
//! Knows nothing of whether an answer is right.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tablestore_dataplane::{Answer, Event as PlaneEvent, Failure, Operation, Reply};
use tablestore_placement::{PartitionId, StorageId};
use tablestore_store::mutation::Condition;
use tablestore_store::{Decimal, Item, KeyValue, Mutation, Value, key};

use super::event::{Event, Life, Slot, Waiter};
use super::{MS, World};
use crate::check::{Asked, AttemptId, OpId};

/// Acknowledged writes that may be repeated.
const ACKNOWLEDGED_MAX: usize = 30;

/// What a client wants done, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) partition: PartitionId,
    key: Bytes,
    pub(crate) operation: Operation,
    pub(crate) attempts: u32,
    /// What the judge calls it.
    op: OpId,
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
    last_value: u64,
    /// Some of the writes that were acknowledged last.
    acknowledged: VecDeque<Wanted>,
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
        let open = self.agreement.map.partitions().next().is_some();
        if self.clients.wanted[client].is_none() {
            if self.healed {
                return;
            }
            if !open {
                return self.queue.push(self.now + 20 * MS, Event::Client(client));
            }
            let wanted = match self.repeated() {
                Some(wanted) => wanted,
                None => self.next_operation(),
            };
            self.clients.wanted[client] = Some(wanted);
        }
        self.attempt(client);
    }

    /// A write that was acknowledged a while ago, once more.
    fn repeated(&mut self) -> Option<Wanted> {
        if !self.chance.happens(self.scenario.repeats_per_mille) {
            return None;
        }
        let acknowledged = &self.clients.acknowledged;
        let at = self.chance.below(acknowledged.len().max(1) as u64) as usize;
        let before = acknowledged.get(at)?.clone();
        self.took("an acknowledged write was repeated");
        let asked = asked(before.partition, &before.key, &before.operation);
        let op = self.check.begin(self.now, asked);
        Some(Wanted {
            attempts: 0,
            op,
            ..before
        })
    }

    fn next_operation(&mut self) -> Wanted {
        let partitions: Vec<PartitionId> = self
            .agreement
            .map
            .partitions()
            .map(|(id, _, _)| id)
            .collect();
        let number = self.chance.below(self.scenario.keys);
        // A key lives in one partition.
        let table = self.chance.below(partitions.len() as u64 / 8);
        let at = (table * 8 + number % 8) as usize;
        let partition = partitions[at.min(partitions.len() - 1)];
        let key = KeyValue::String(format!("k{number}"));
        let key = Bytes::from(key::encode_row_key(&key, None));
        let key_of = key.clone();
        let operation = if self.chance.happens(self.scenario.writes_per_mille) {
            self.next_write(&key)
        } else if self.chance.happens(100) {
            Operation::Scan {
                from: Bytes::new(),
                until: Bytes::new(),
                limit: 10,
                reverse: self.chance.happens(300),
                strong: self.chance.happens(700),
            }
        } else {
            let strong = self.chance.happens(800);
            Operation::Get { key, strong }
        };
        let op = self
            .check
            .begin(self.now, asked(partition, &key_of, &operation));
        Wanted {
            partition,
            key: key_of,
            operation,
            attempts: 0,
            op,
        }
    }

    fn next_write(&mut self, key: &Bytes) -> Operation {
        self.clients.last_value += 1;
        let value = self.clients.last_value;
        let mut item = Item::default();
        let number = i64::try_from(value).unwrap_or(0);
        if let Ok(number) = Decimal::parse(number.to_string().as_bytes(), true) {
            item.insert("v".to_owned(), Value::Number(number));
        }
        if self.scenario.value_bytes > 0 {
            let filler = "x".repeat(self.scenario.value_bytes);
            item.insert("f".to_owned(), Value::String(filler));
        }
        let key = key.to_vec();
        let condition = Condition::default();
        let mutation = match self.chance.below(10) {
            0 => Mutation::Delete { key, condition },
            1..=3 => Mutation::Patch {
                key,
                set: item,
                remove: Vec::new(),
                condition,
            },
            _ => Mutation::Put {
                key,
                item,
                condition,
            },
        };
        let payload = Bytes::from(mutation.encode());
        let (high, low) = (self.chance.below(u64::MAX), self.chance.below(u64::MAX));
        Operation::Write {
            request: u128::from(high) << 64 | u128::from(low),
            digest: xxhash(&payload),
            payload,
        }
    }

    /// Sends what a client wants to some node.
    fn attempt(&mut self, client: usize) {
        let slot = self.chance.below(self.machines.len() as u64) as usize;
        let there = self.machines[slot].process.as_ref().map(|p| p.life);
        let Some(life) = there else {
            self.queue.push(self.now + 5 * MS, Event::Client(client));
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
        let at = self.now + self.network.delay(&mut self.chance);
        self.queue.push(at, Event::Asked { to: life, attempt });
        let patience = self.chance.between(300 * MS, 1_500 * MS);
        let waiter = Waiter { client, attempt };
        self.queue.push(self.now + patience, Event::GivenUp(waiter));
    }

    /// A request arrives at a node.
    pub(super) fn asked(&mut self, to: Life, attempt: u64) {
        let Some(client) = self.clients.attempts.get(&attempt).map(|one| one.client) else {
            return;
        };
        let Some(wanted) = self.clients.wanted[client].clone() else {
            return;
        };
        let wait = std::time::Duration::from_micros(self.chance.between(100 * MS, 1_000 * MS));
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
                self.again(client, wanted.attempts);
            }
        }
    }

    /// A client waits no longer for an attempt.
    pub(super) fn given_up(&mut self, waiter: Waiter) {
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
        if attempts >= 6 || self.healed {
            return self.done(client);
        }
        let later = self.chance.below(10 * MS) + 1;
        self.queue.push(self.now + later, Event::Client(client));
    }

    fn done(&mut self, client: usize) {
        self.clients.wanted[client] = None;
        let later = self.chance.below(self.scenario.think_us) + 1;
        self.queue.push(self.now + later, Event::Client(client));
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
            let at = self.now + self.network.delay(&mut self.chance);
            self.queue
                .push(at, Event::GivenUp(Waiter { client, attempt }));
        }
    }
}

/// What the judge is told of an operation.
fn asked(partition: PartitionId, key: &Bytes, operation: &Operation) -> Asked {
    let key = key.clone();
    match operation.clone() {
        Operation::Write {
            request,
            digest,
            payload,
        } => Asked::Write {
            partition,
            key,
            request,
            digest,
            payload,
        },
        Operation::Scan {
            from,
            until,
            limit,
            reverse,
            strong,
        } => Asked::Scan {
            partition,
            from,
            until,
            limit,
            reverse,
            strong,
        },
        Operation::Get { strong, .. } => Asked::Get {
            partition,
            key,
            strong,
        },
        Operation::Checksum => Asked::Get {
            partition,
            key,
            strong: false,
        },
    }
}

fn xxhash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn failed(failure: Failure) -> &'static str {
    match failure {
        Failure::NotHere => "answer: not here",
        Failure::NotEnoughReplicas => "answer: not enough replicas",
        Failure::RequestMismatch => "answer: request mismatch",
        Failure::Unknown => "answer: outcome unknown",
        Failure::Busy => "answer: busy",
        Failure::Stopped => "answer: stopped",
        Failure::Deadline => "answer: deadline",
        Failure::Unconfirmed => "answer: unconfirmed",
        Failure::Full => "answer: disk full",
        Failure::ShuttingDown => "answer: shutting down",
    }
}
