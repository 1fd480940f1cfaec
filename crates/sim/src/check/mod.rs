//! Judges a run of whole nodes: what clients were told against the log that the replicas applied.
//! The log tells the order, so no search is needed. Knows nothing of how either came about.
//!
//! Within one turn of a node, what it applied is told before what it answered.

pub(crate) mod active;
mod answers;
mod asked;
mod end;
mod log;
mod model;
mod opinion;
mod page;
mod rule;
mod search;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure};
use tablestore_placement::{Epoch, PartitionId};
use tablestore_replication::{Entry, Outcome};

use self::asked::{Answered, Attempt, End, Floors, Operation, Requests};
use self::log::PartitionLog;
use self::rule::Breach;

pub(crate) use self::asked::{Asked, AttemptId, OpId};
pub(crate) use self::end::Rest;
pub(crate) use self::log::Memory;
pub(crate) use self::rule::{Rule, Violation};
pub(crate) use self::search::SearchOutcome;

/// A node of the simulation, over all its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId(pub(crate) u32);

impl ProcessId {
    /// Of partitions on shared storage, whose log is in that alone.
    pub(crate) const STORAGE: Self = Self(u32::MAX);
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::STORAGE {
            return f.write_str("the storage");
        }
        write!(f, "node {}", self.0)
    }
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Operations begun.
    pub(crate) ops: u64,
    /// Writes answered.
    pub(crate) acknowledged: u64,
    /// Strong reads of one row answered.
    pub(crate) strong_reads: u64,
    /// Eventual reads of one row answered.
    pub(crate) eventual_reads: u64,
    /// Pages answered.
    pub(crate) pages: u64,
    /// Operations that never had an answer; counted by [`Check::finish`].
    pub(crate) open: u64,
    /// Of those, writes that took effect.
    pub(crate) open_applied: u64,
}

/// What is known of a run, and the first rule that it broke.
#[derive(Debug, Default)]
pub(crate) struct Check {
    memory: Memory,
    /// Orders what clients did and saw: one more at each.
    tick: u64,
    operations: Vec<Operation>,
    attempts: Vec<Attempt>,
    requests: Requests,
    floors: Floors,
    logs: BTreeMap<PartitionId, PartitionLog>,
    counts: Counts,
    violation: Option<Violation>,
}

impl Check {
    /// A judge of replicas that remember requests for so long.
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            memory,
            ..Self::default()
        }
    }

    /// The first rule that was broken. Nothing is judged after it.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// How much was judged.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// A replica applied entries; of each write among them the outcome.
    pub(crate) fn applied(
        &mut self,
        now: u64,
        process: ProcessId,
        partition: PartitionId,
        entries: &[Entry],
        outcomes: &[(u64, Outcome)],
    ) {
        let mut outcomes = outcomes.iter().peekable();
        for entry in entries {
            if self.violation.is_some() {
                return;
            }
            let outcome = outcomes.next_if(|(index, _)| *index == entry.index);
            let outcome = outcome.map(|(_, outcome)| *outcome);
            let memory = self.memory;
            let log = self.logs.entry(partition).or_default();
            let applied = log.apply(process, entry, outcome, memory);
            let judged = match applied {
                Ok(true) => self.judge_entry(partition, entry),
                Ok(false) => Ok(()),
                Err(breach) => Err(breach),
            };
            if let Err(breach) = judged {
                let key = entry.payload();
                let key = key.and_then(|payload| {
                    let key = tablestore_store::Mutation::key_of(&payload).ok()?;
                    Some(Bytes::copy_from_slice(key))
                });
                self.violate(now, partition, key, self.op_of(partition, entry), breach);
            }
        }
    }

    /// A replica switched a copy in that has everything up to `index`.
    pub(crate) fn installed(
        &mut self,
        now: u64,
        process: ProcessId,
        partition: PartitionId,
        index: u64,
    ) {
        if self.violation.is_none() {
            let log = self.logs.entry(partition).or_default();
            if let Err(breach) = log.move_to(process, index) {
                self.violate(now, partition, None, None, breach);
            }
        }
    }

    /// A replica is back and goes on behind `applied`; 0 for one that begins anew.
    pub(crate) fn restarted(
        &mut self,
        now: u64,
        process: ProcessId,
        partition: PartitionId,
        applied: u64,
    ) {
        self.installed(now, process, partition, applied);
    }

    /// A client begins an operation.
    pub(crate) fn begin(&mut self, now: u64, asked: Asked) -> OpId {
        self.tick += 1;
        let op = OpId(self.operations.len() as u32);
        if let Some(key) = asked.key() {
            let floor = self.floors.before(asked.partition(), key, self.tick);
            self.requests.ask(op, &asked, floor);
        }
        self.operations.push(Operation {
            asked,
            begun_us: now,
            begun: self.tick,
            answered: None,
            attempts: Vec::new(),
        });
        self.counts.ops += 1;
        op
    }

    /// The client sends the operation to a node, for the first time or again.
    pub(crate) fn attempt(&mut self, now: u64, op: OpId) -> AttemptId {
        self.tick += 1;
        let attempt = AttemptId(self.attempts.len() as u32);
        self.attempts.push(Attempt {
            op,
            begun_us: now,
            begun: self.tick,
            ended_us: None,
            end: End::Open,
            appended: Vec::new(),
        });
        self.operations[op.0 as usize].attempts.push(attempt);
        attempt
    }

    /// A primary put the write of this attempt into its log.
    pub(crate) fn appended(&mut self, attempt: AttemptId, epoch: Epoch, index: u64) {
        let attempt = &mut self.attempts[attempt.0 as usize];
        attempt.appended.push((epoch, index));
    }

    /// The client gives the attempt up: whether it is carried out is open.
    pub(crate) fn lost(&mut self, now: u64, attempt: AttemptId) {
        let attempt = &mut self.attempts[attempt.0 as usize];
        attempt.end = End::Lost;
        attempt.ended_us = Some(now);
    }

    /// An attempt was answered.
    pub(crate) fn ended(
        &mut self,
        now: u64,
        op: OpId,
        attempt: AttemptId,
        result: Result<Answer, Failure>,
    ) {
        self.tick += 1;
        let when = self.tick;
        let ended = &mut self.attempts[attempt.0 as usize];
        ended.ended_us = Some(now);
        ended.end = match &result {
            Ok(_) => End::Answered,
            Err(failure) => End::Failed(*failure),
        };
        let begun = ended.begun;
        if let Ok(answer) = &result {
            let operation = &mut self.operations[op.0 as usize];
            operation.answered.get_or_insert_with(|| Answered {
                begun,
                ended: when,
                answer: answer.clone(),
            });
        }
        if self.violation.is_some() {
            return;
        }
        let asked = self.operations[op.0 as usize].asked.clone();
        let judged = match &result {
            Ok(answer) => self.judge_answer(&asked, answer, begun, when),
            Err(failure) => self.judge_failure(&asked, *failure),
        };
        if let Err(breach) = judged {
            let key = asked.key().cloned();
            self.violate(now, asked.partition(), key, Some(op), breach);
        }
    }

    /// The first operation that asked for the write in an entry.
    fn op_of(&self, partition: PartitionId, entry: &Entry) -> Option<OpId> {
        let (request, digest) = log::request_of(entry)?;
        let bodies = self.requests.bodies(partition, request.0);
        let body = bodies.iter().find(|body| body.digest == digest)?;
        body.ops.first().copied()
    }

    fn violate(
        &mut self,
        now: u64,
        partition: PartitionId,
        key: Option<Bytes>,
        op: Option<OpId>,
        (rule, words): Breach,
    ) {
        let mut lines = Vec::new();
        if let Some(op) = op {
            let operation = &self.operations[op.0 as usize];
            lines.push(format!(
                "operation {}, from {} us: {}",
                op.0, operation.begun_us, operation.asked
            ));
            for attempt in &operation.attempts {
                lines.push(self.attempts[attempt.0 as usize].to_string());
            }
            if let Some(answered) = &operation.answered {
                lines.push(format!("answered: {:?}", answered.answer));
            }
        }
        self.violation.get_or_insert(Violation {
            rule,
            words,
            at_us: now,
            partition,
            key,
            op,
            lines,
        });
    }
}

#[cfg(test)]
mod tests;
