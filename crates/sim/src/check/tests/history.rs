//! Histories to judge: a sequential store with concurrent clients, as a list of observations that
//! can be damaged before it is told. Knows nothing of the rules.

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure};
use tablestore_placement::{Epoch, PartitionId, TableId};
use tablestore_replication::{Entry, Outcome, Remembered, RequestId};
use tablestore_store::engine::{MemoryEngine, Scan};
use tablestore_store::{Condition, Engine, Item, Mutation, ReadRows as _, Value, apply_mutations};

use crate::check::{Asked, AttemptId, Check, Memory, OpId, ProcessId, Rest};
use crate::rng::Chance;

/// The partition of all histories.
pub(super) fn partition() -> PartitionId {
    PartitionId::new(TableId(1), 0)
}

/// Something observed. Operations and attempts are named by their place in the history.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Begin(Asked),
    Attempt(usize),
    Appended(usize, u64),
    Applied(u32, Vec<Entry>, Vec<(u64, Outcome)>),
    Ended(usize, usize, Result<Answer, Failure>),
    Lost(usize),
    Rest(u32, u64, Vec<(Bytes, Bytes)>, Vec<Remembered>),
}

/// Tells a judge all of it.
pub(super) fn judge(history: &[Seen]) -> Check {
    let mut check = Check::new(Memory::default());
    let (mut ops, mut attempts): (Vec<OpId>, Vec<AttemptId>) = (Vec::new(), Vec::new());
    for (at, seen) in history.iter().enumerate() {
        let now = at as u64 * 10;
        match seen.clone() {
            Seen::Begin(asked) => ops.push(check.begin(now, asked)),
            Seen::Attempt(op) => attempts.push(check.attempt(now, ops[op])),
            Seen::Appended(attempt, index) => {
                check.appended(attempts[attempt], Epoch(1), index);
            }
            Seen::Applied(process, entries, outcomes) => {
                check.applied(now, ProcessId(process), partition(), &entries, &outcomes);
            }
            Seen::Ended(op, attempt, result) => {
                check.ended(now, ops[op], attempts[attempt], result);
            }
            Seen::Lost(attempt) => check.lost(now, attempts[attempt]),
            Seen::Rest(process, applied, rows, remembered) => {
                let rest = Rest {
                    applied,
                    rows,
                    remembered: Some(remembered),
                };
                check.final_state(now, ProcessId(process), partition(), &rest);
            }
        }
    }
    check.finish(history.len() as u64 * 10);
    check
}

pub(super) fn key(number: u64) -> Bytes {
    Bytes::from(format!("key-{number:02}").into_bytes())
}

/// A row's attributes, unlike those of any other `number`.
pub(super) fn item(number: u64) -> Item {
    let mut item = Item::new();
    item.insert("n".into(), Value::from(number as i64));
    item
}

pub(super) fn put(key: &Bytes, number: u64, condition: Condition) -> Mutation {
    Mutation::Put {
        key: key.to_vec(),
        item: item(number),
        condition,
    }
}

/// The write of a mutation to the row with this key.
pub(super) fn write(key: &Bytes, request: u128, mutation: &Mutation) -> Asked {
    Asked::Write {
        partition: partition(),
        key: key.clone(),
        request,
        digest: request as u64 * 7,
        payload: mutation.encode().into(),
    }
}

pub(super) fn get(key: &Bytes, strong: bool) -> Asked {
    Asked::Get {
        partition: partition(),
        key: key.clone(),
        strong,
    }
}

/// What an operation of the sequential store is at.
enum Stage {
    Asked,
    Ready(Result<Answer, Failure>),
}

/// An operation under way.
struct Running {
    op: usize,
    attempt: usize,
    asked: Asked,
    stage: Stage,
}

/// A store that does one thing at a time, and what it showed.
pub(super) struct Store {
    engine: MemoryEngine,
    index: u64,
    remembered: Vec<Remembered>,
    log: Vec<(Entry, Outcome)>,
    pub(super) history: Vec<Seen>,
    ops: usize,
    attempts: usize,
}

impl Store {
    pub(super) fn new() -> Self {
        let engine = MemoryEngine::new();
        engine.open_partition(1).unwrap();
        Self {
            engine,
            index: 0,
            remembered: Vec::new(),
            log: Vec::new(),
            history: Vec::new(),
            ops: 0,
            attempts: 0,
        }
    }

    pub(super) fn begin(&mut self, asked: Asked) -> usize {
        self.history.push(Seen::Begin(asked));
        self.ops += 1;
        self.ops - 1
    }

    pub(super) fn attempt(&mut self, op: usize) -> usize {
        self.history.push(Seen::Attempt(op));
        self.attempts += 1;
        self.attempts - 1
    }

    pub(super) fn end(&mut self, op: usize, attempt: usize, result: Result<Answer, Failure>) {
        self.history.push(Seen::Ended(op, attempt, result));
    }

    /// Carries it out and says what to answer.
    pub(super) fn carry_out(&mut self, attempt: usize, asked: &Asked) -> Result<Answer, Failure> {
        match asked {
            Asked::Write {
                request,
                digest,
                payload,
                ..
            } => {
                let id = RequestId(*request);
                if let Some(known) = self.remembered.iter().find(|one| one.request == id) {
                    return match known.digest == *digest {
                        true => Ok(written(known.outcome, true)),
                        false => Err(Failure::RequestMismatch),
                    };
                }
                self.index += 1;
                let entry = Entry::write(Epoch(1), self.index, self.index, id, *digest, payload);
                let applied = apply_mutations(&self.engine, 1, &[(self.index, payload)]).unwrap();
                let outcome = Outcome {
                    code: applied[0].effect.number(),
                    version: applied[0].version,
                };
                self.remembered.push(entry.remembered(outcome).unwrap());
                self.history.push(Seen::Appended(attempt, self.index));
                let outcomes = vec![(self.index, outcome)];
                self.history
                    .push(Seen::Applied(0, vec![entry.clone()], outcomes));
                self.log.push((entry, outcome));
                Ok(written(outcome, false))
            }
            Asked::Get { key, .. } => Ok(Answer::Row(self.engine.get(1, key).unwrap())),
            Asked::Checksums { .. } => Ok(Answer::Checksums {
                index: self.index,
                replicas: vec![(1, Ok(7)), (2, Ok(7))],
            }),
            Asked::Scan {
                from,
                until,
                limit,
                reverse,
                ..
            } => {
                let page = self.engine.scan(
                    1,
                    &Scan {
                        from: std::ops::Bound::Included(from.clone()),
                        to: std::ops::Bound::Excluded(until.clone()),
                        reverse: *reverse,
                        limit: *limit as usize,
                        bytes_max: 1 << 20,
                    },
                );
                let page = page.unwrap();
                Ok(Answer::Page {
                    rows: page.rows,
                    more: page.more,
                })
            }
        }
    }

    /// Begins, carries out and ends.
    pub(super) fn do_at_once(&mut self, asked: &Asked) -> Answer {
        let op = self.begin(asked.clone());
        let attempt = self.attempt(op);
        let answer = self.carry_out(attempt, asked).unwrap();
        self.end(op, attempt, Ok(answer.clone()));
        answer
    }

    /// All comes to rest: two more replicas apply what the first did.
    pub(super) fn rest(mut self) -> Vec<Seen> {
        let rows = self
            .engine
            .scan(1, &Scan::all(1_000, 1 << 20))
            .unwrap()
            .rows;
        for process in 1..3 {
            let (entries, outcomes) = self.log.iter().cloned().unzip::<_, _, Vec<_>, Vec<_>>();
            let outcomes = (1..).zip(outcomes).collect();
            self.history.push(Seen::Applied(process, entries, outcomes));
        }
        for process in 0..3 {
            self.history.push(Seen::Rest(
                process,
                self.index,
                rows.clone(),
                self.remembered.clone(),
            ));
        }
        self.history
    }
}

fn written(outcome: Outcome, repeated: bool) -> Answer {
    Answer::Written {
        code: outcome.code,
        version: outcome.version,
        repeated,
    }
}

fn any_asked(chance: &mut Chance, number: u64, index: u64) -> Asked {
    let key = key(chance.below(8));
    let condition = match chance.below(6) {
        0 => Condition::IfVersion(index.saturating_sub(chance.below(10))),
        1 => Condition::IfAbsent,
        2 => Condition::IfPresent,
        _ => Condition::None,
    };
    let mutation = match chance.below(12) {
        0..=3 => put(&key, number, condition),
        4 | 5 => Mutation::Patch {
            key: key.to_vec(),
            set: [(format!("m{}", number % 3), Value::from(number as i64))].into(),
            remove: vec![format!("m{}", number % 2)],
            condition,
        },
        6 => Mutation::Delete {
            key: key.to_vec(),
            condition,
        },
        at @ 7..=9 => return get(&key, at != 9),
        at => {
            return Asked::Scan {
                partition: partition(),
                from: self::key(chance.below(4)),
                until: self::key(4 + chance.below(5)),
                limit: chance.between(1, 8) as u32,
                reverse: chance.happens(500),
                strong: at == 10,
            };
        }
    };
    write(&key, u128::from(number) + 1, &mutation)
}

/// A clean history of up to `clients` operations at a time. Of every other seed some answers are
/// lost and some requests sent again.
pub(super) fn generate(seed: u64, operations: u64, clients: usize) -> Vec<Seen> {
    let mut chance = Chance::new(seed);
    let is_lossy = has_losses(seed);
    let mut store = Store::new();
    let mut running: Vec<Running> = Vec::new();
    let mut number = 0;
    while number < operations || !running.is_empty() {
        let has_room = running.is_empty() || running.len() < clients && chance.happens(400);
        if number < operations && has_room {
            let asked = any_asked(&mut chance, number, store.index);
            number += 1;
            let op = store.begin(asked.clone());
            let attempt = store.attempt(op);
            running.push(Running {
                op,
                attempt,
                asked,
                stage: Stage::Asked,
            });
            continue;
        }
        let at = chance.below(running.len() as u64) as usize;
        if go_on(&mut store, &mut chance, &mut running[at], is_lossy) {
            running.swap_remove(at);
        }
    }
    store.rest()
}

/// Whether answers are lost in the history of this seed.
pub(super) fn has_losses(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// The next step of an operation; whether it is the last.
fn go_on(store: &mut Store, chance: &mut Chance, running: &mut Running, is_lossy: bool) -> bool {
    let (op, attempt) = (running.op, running.attempt);
    let Stage::Ready(result) = std::mem::replace(&mut running.stage, Stage::Asked) else {
        running.stage = Stage::Ready(match chance.below(20) {
            0 => Err(Failure::NotHere),
            _ => store.carry_out(attempt, &running.asked),
        });
        return false;
    };
    if is_lossy && chance.happens(60) {
        store.history.push(Seen::Lost(attempt));
    } else {
        let is_unknown = is_lossy && result.is_ok() && chance.happens(30);
        let result = if is_unknown {
            Err(Failure::Unknown)
        } else {
            result
        };
        let is_done = result.is_ok();
        store.end(op, attempt, result);
        if is_done {
            return true;
        }
    }
    if chance.happens(300) {
        return true;
    }
    running.attempt = store.attempt(op);
    false
}
