//! A second opinion on one row: is there an order of its operations, each between its call and its
//! answer, that explains all answers? Depth first with undo, as Porcupine does. Knows nothing of
//! the log, which is the system's own witness.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

use bytes::Bytes;
use tablestore_dataplane::Answer;
use tablestore_placement::PartitionId;
use tablestore_store::item::codec;
use tablestore_store::{Condition, Effect, Item, Mutation};

use super::Check;
use super::asked::{Asked, Operation};
use super::model::{Changed, changed, condition_of};
use super::page::covered;

/// Steps of one search. A row has some hundred operations and one order is mostly found without a
/// step back; beyond this a search would take longer than the run.
const STEPS_MAX: usize = 100_000;

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SearchOutcome {
    /// There is such an order.
    Linearizable,
    /// There is none.
    NotLinearizable,
    /// It was given up.
    Unknown,
}

/// What was done to the row, and what was told of it.
#[derive(Clone, Debug)]
enum Told {
    /// A write, with effect and version if it was answered.
    Write(Mutation, Option<(Option<Effect>, u64)>),
    /// A read, with version and item.
    Read(Option<(u64, Item)>),
}

/// One operation on the row.
#[derive(Clone, Debug)]
struct Call {
    begun: u64,
    /// `u64::MAX` for one that is open: it may take effect at any time, or never.
    ended: u64,
    told: Told,
}

/// The row, and the greatest version that anybody was told: versions rise.
#[derive(Clone, Debug, Default)]
struct State {
    /// The version that an open write gave it is unknown until somebody is told of it.
    row: Option<(Option<u64>, Item)>,
    newest: u64,
}

impl Check {
    /// Whether the answers about a row can be explained.
    pub(crate) fn search(&self, partition: PartitionId, key: &[u8]) -> SearchOutcome {
        match self.calls(partition, key) {
            Some(calls) => Search::new(calls).run(),
            None => SearchOutcome::Unknown,
        }
    }

    /// All that was done to a row; nothing if a request had two answers, as one that was
    /// forgotten may have.
    fn calls(&self, partition: PartitionId, key: &[u8]) -> Option<Vec<Call>> {
        let mut writes: BTreeMap<(u128, u64), Call> = BTreeMap::new();
        let mut calls = Vec::new();
        for operation in &self.operations {
            if operation.asked.partition() != partition {
                continue;
            }
            if let Asked::Write {
                key: of,
                request,
                digest,
                payload,
                ..
            } = &operation.asked
            {
                if of == key && !self.is_refused(operation) {
                    let call = write_call(operation, payload)?;
                    match writes.get_mut(&(*request, *digest)) {
                        Some(first) => first.join(call)?,
                        None => _ = writes.insert((*request, *digest), call),
                    }
                }
            } else if let Some(call) = read_call(operation, key) {
                calls.push(call);
            }
        }
        calls.extend(writes.into_values());
        Some(calls)
    }

    /// Whether it certainly had no effect.
    fn is_refused(&self, operation: &Operation) -> bool {
        let mut attempts = operation.attempts.iter();
        operation.answered.is_none()
            && attempts.all(|id| self.attempts[id.0 as usize].is_certainly_not_applied())
    }
}

fn write_call(operation: &Operation, payload: &[u8]) -> Option<Call> {
    let answer = operation.answered.as_ref();
    let told = answer.and_then(|answered| match answered.answer {
        Answer::Written { code, version, .. } => Some((Effect::of_number(code), version)),
        _ => None,
    });
    Some(Call {
        begun: operation.begun,
        ended: answer.map_or(u64::MAX, |answered| answered.ended),
        told: Told::Write(Mutation::decode(payload).ok()?, told),
    })
}

/// What a strong read told of the row, if it told anything.
fn read_call(operation: &Operation, key: &[u8]) -> Option<Call> {
    let answered = operation.answered.as_ref()?;
    let row = match (&operation.asked, &answered.answer) {
        (
            Asked::Get {
                key: of,
                strong: true,
                ..
            },
            Answer::Row(row),
        ) => (of == key).then_some(row.as_ref())?,
        (
            Asked::Scan {
                from,
                until,
                reverse,
                strong: true,
                ..
            },
            Answer::Page { rows, more },
        ) => {
            let row = rows.iter().find(|(of, _)| of == key);
            let covered = covered(from, until, *reverse, rows, *more);
            RangeBounds::<[u8]>::contains(&covered, key).then_some(row.map(|(_, row)| row))?
        }
        _ => return None,
    };
    Some(Call {
        begun: answered.begun,
        ended: answered.ended,
        told: Told::Read(row.and_then(|row: &Bytes| codec::decode_row(row).ok())),
    })
}

impl Call {
    /// The same request, asked for by another operation.
    fn join(&mut self, other: Self) -> Option<()> {
        let (Told::Write(_, told), Told::Write(_, of_other)) = (&mut self.told, other.told) else {
            return None;
        };
        if told.is_some() && of_other.is_some() && *told != of_other {
            return None;
        }
        *told = told.or(of_other);
        self.begun = self.begun.min(other.begun);
        self.ended = self.ended.min(other.ended);
        Some(())
    }

    fn is_open(&self) -> bool {
        self.ended == u64::MAX
    }

    /// The states that the row may have after this, if that can be at all.
    fn after(&self, state: &State) -> Vec<State> {
        let (mutation, told) = match &self.told {
            Told::Read(row) => return seen(state, row.as_ref()).into_iter().collect(),
            Told::Write(mutation, told) => (mutation, *told),
        };
        let known = state.row.as_ref().map(|(version, _)| *version);
        let mut states = Vec::new();
        // One version is held to be the unknown one, and then another.
        let (holds, fails) = match (condition_of(mutation), known) {
            (Condition::None, _)
            | (Condition::IfAbsent, None)
            | (Condition::IfPresent, Some(_)) => (Some(state.clone()), false),
            (Condition::IfVersion(wanted), Some(version)) => match version {
                Some(version) if version == wanted => (Some(state.clone()), false),
                Some(_) => (None, true),
                None => (with_version(state, wanted), true),
            },
            _ => (None, true),
        };
        if let Some(before) = holds {
            states.extend(carried_out(&before, mutation, told));
        }
        if let (true, Some((Some(Effect::ConditionFailed), version))) = (fails, told) {
            states.extend(unchanged(state, version));
        }
        states
    }
}

impl State {
    /// The same without a row.
    fn without_row(&self) -> Self {
        Self {
            row: None,
            newest: self.newest,
        }
    }

    /// The same with a row; its version, if it is told, must be a new one.
    fn with_row(&self, version: Option<u64>, item: Item) -> Option<Self> {
        if version.is_some_and(|version| version <= self.newest) {
            return None;
        }
        Some(Self {
            row: Some((version, item)),
            newest: version.unwrap_or(self.newest),
        })
    }

    /// A form that has an order.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.newest.to_le_bytes().to_vec();
        if let Some((version, item)) = &self.row {
            // No row has the version 0.
            codec::encode_row(version.unwrap_or(0), item, &mut bytes);
        }
        bytes
    }
}

/// The state behind a read that showed this row.
fn seen(state: &State, row: Option<&(u64, Item)>) -> Option<State> {
    match (&state.row, row) {
        (None, None) => Some(state.clone()),
        (Some((_, item)), Some((version, shown))) if item == shown => unchanged(state, *version),
        _ => None,
    }
}

/// The state behind a write whose condition holds. An open one that changes nothing need not be.
fn carried_out(
    before: &State,
    mutation: &Mutation,
    told: Option<(Option<Effect>, u64)>,
) -> Option<State> {
    let item = before.row.as_ref().map(|(_, item)| item);
    let is_there = item.is_some();
    match (changed(item, mutation), told) {
        (Changed::Item(item), None) => before.with_row(None, item),
        (Changed::Item(item), Some((Some(Effect::Done), version))) => {
            before.with_row(Some(version), item)
        }
        (Changed::Gone, None | Some((Some(Effect::Done), 0))) if is_there => {
            Some(before.without_row())
        }
        (Changed::Gone, Some((Some(Effect::Absent), 0))) if !is_there => Some(before.clone()),
        (Changed::TooLarge, Some((Some(Effect::TooLarge), version))) => unchanged(before, version),
        _ => None,
    }
}

/// The state as it is, of which this version was told.
fn unchanged(state: &State, told: u64) -> Option<State> {
    match &state.row {
        None => (told == 0).then(|| state.clone()),
        Some((None, _)) => with_version(state, told),
        Some((Some(version), _)) => (*version == told).then(|| state.clone()),
    }
}

/// The state whose unknown version is this one.
fn with_version(state: &State, version: u64) -> Option<State> {
    let (_, item) = state.row.as_ref()?;
    state.with_row(Some(version), item.clone())
}

/// What may come next, of which `next` were tried.
struct Frame {
    moves: Vec<(usize, State)>,
    next: usize,
    /// The call that led here.
    by: Option<usize>,
}

struct Search {
    /// Answered ones in order of call, then the open ones.
    calls: Vec<Call>,
    answered: usize,
    done: Vec<u64>,
    left: usize,
}

impl Search {
    fn new(mut calls: Vec<Call>) -> Self {
        calls.sort_by_key(|call| (call.is_open(), call.begun));
        let answered = calls.iter().filter(|call| !call.is_open()).count();
        Self {
            done: vec![0; calls.len().div_ceil(64)],
            left: answered,
            answered,
            calls,
        }
    }

    fn run(mut self) -> SearchOutcome {
        if self.left == 0 {
            return SearchOutcome::Linearizable;
        }
        let mut known = BTreeSet::new();
        let mut stack = vec![self.frame(None, &State::default())];
        let mut steps = 0;
        while let Some(frame) = stack.last_mut() {
            let Some((call, state)) = frame.moves.get(frame.next) else {
                if let Some(call) = frame.by {
                    self.flip(call);
                }
                stack.pop();
                continue;
            };
            steps += 1;
            if steps > STEPS_MAX {
                return SearchOutcome::Unknown;
            }
            frame.next += 1;
            let (call, state) = (*call, state.clone());
            self.flip(call);
            if self.left == 0 {
                return SearchOutcome::Linearizable;
            }
            if known.insert((self.done.clone(), state.encode())) {
                stack.push(self.frame(Some(call), &state));
            } else {
                self.flip(call);
            }
        }
        SearchOutcome::NotLinearizable
    }

    /// A call is done, or not done after all.
    fn flip(&mut self, call: usize) {
        self.done[call / 64] ^= 1 << (call % 64);
        if call < self.answered {
            match self.is_done(call) {
                true => self.left -= 1,
                false => self.left += 1,
            }
        }
    }

    fn is_done(&self, call: usize) -> bool {
        self.done[call / 64] >> (call % 64) & 1 == 1
    }

    /// Every call that began before the first of those left was answered may be the next.
    fn frame(&self, by: Option<usize>, state: &State) -> Frame {
        let mut moves = Vec::new();
        let mut first_end = u64::MAX;
        let full = self.done.iter().take_while(|word| **word == u64::MAX);
        let mut at = full.count() * 64;
        let mut next = Vec::new();
        while at < self.answered && self.calls[at].begun < first_end {
            if !self.is_done(at) {
                first_end = first_end.min(self.calls[at].ended);
                next.push(at);
            }
            at += 1;
        }
        next.sort_by_key(|at| self.calls[*at].ended);
        let open = (self.answered..self.calls.len())
            .filter(|at| !self.is_done(*at) && self.calls[*at].begun < first_end);
        for at in next.into_iter().chain(open) {
            let states = self.calls[at].after(state);
            moves.extend(states.into_iter().map(|state| (at, state)));
        }
        Frame { moves, next: 0, by }
    }
}
