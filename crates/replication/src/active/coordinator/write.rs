//! Writes: sent to all replicas at once, answered at the W-th that has it durably, kept as hints
//! for those that stay silent. Knows nothing of reads.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};

use super::answers::{Change, Output, WriteFailed};
use super::{Coordinator, Pending};
use crate::active::clock::{ClockError, Version};
use crate::active::hints::Hint;
use crate::active::message::{Origin, Refusal, RequestNumber};
use crate::active::mutant::Mutant;
use crate::active::row::Row;
use crate::active::view::Quorum;
use crate::types::{Now, Ticket};

#[derive(Debug)]
pub(super) struct WriteRequest {
    pub(super) ticket: Ticket,
    pub(super) partition: PartitionId,
    pub(super) key: Bytes,
    pub(super) change: Change,
    pub(super) quorum: Quorum,
    pub(super) deadline: Now,
}

#[derive(Debug)]
pub(super) struct PendingWrite {
    pub(super) partition: PartitionId,
    /// Nothing once it is answered.
    ticket: Option<Ticket>,
    key: Bytes,
    change: Row,
    version: Version,
    quorum: Quorum,
    deadline: Now,
    acknowledged: BTreeSet<StorageId>,
    /// For each member how many copies were sent that it has not refused: it may have those.
    unrefused: BTreeMap<StorageId, u32>,
    /// Members that will not take it whatever is repeated.
    finally_refused: BTreeSet<StorageId>,
    last_refusal: Option<Refusal>,
}

impl PendingWrite {
    fn is_possibly_applied(&self) -> bool {
        !self.acknowledged.is_empty() || self.unrefused.values().any(|count| *count > 0)
    }

    /// The answer to a write whose partition is gone, if it has none yet.
    pub(super) fn into_lost_answer(self) -> Option<Output> {
        let why = if self.is_possibly_applied() {
            WriteFailed::OutcomeUnknown
        } else {
            WriteFailed::NotApplied(self.last_refusal)
        };
        let result = Err(why);
        self.ticket
            .map(|ticket| Output::WriteDone { ticket, result })
    }
}

impl Coordinator {
    pub(super) fn on_write(&mut self, request: WriteRequest) {
        let view = self.views.get(&request.partition);
        let refused = match view {
            None => Some(WriteFailed::Busy),
            Some(_) if self.is_crowded() => Some(WriteFailed::Busy),
            Some(view) if !view.is_possible(request.quorum) => Some(WriteFailed::TooFewReplicas),
            Some(_) => None,
        };
        if let Some(why) = refused {
            let ticket = request.ticket;
            let result = Err(why);
            self.outputs.push_back(Output::WriteDone { ticket, result });
            return;
        }
        self.unstamped.push_back(request);
        self.stamp_waiting();
    }

    /// Stamps in the order of arrival, as far as the clock's bound allows.
    pub(super) fn stamp_waiting(&mut self) {
        while let Some(request) = self.unstamped.pop_front() {
            match self.clock.stamp(self.at.wall_ms) {
                Ok(version) => self.begin_write(request, version),
                Err(ClockError::BoundReached) => {
                    self.unstamped.push_front(request);
                    break;
                }
                Err(why) => {
                    let ticket = request.ticket;
                    let result = Err(WriteFailed::Clock(why));
                    self.outputs.push_back(Output::WriteDone { ticket, result });
                }
            }
        }
    }

    fn begin_write(&mut self, request: WriteRequest, version: Version) {
        let deadline = request.deadline;
        let number = self.begin(Pending::Write(PendingWrite {
            partition: request.partition,
            ticket: Some(request.ticket),
            key: request.key,
            change: request.change.stamped(version),
            version,
            quorum: request.quorum,
            deadline,
            acknowledged: BTreeSet::new(),
            unrefused: BTreeMap::new(),
            finally_refused: BTreeSet::new(),
            last_refusal: None,
        }));
        self.send_write(number);
        self.wake(
            (self.at.now + self.settings.resend_after).min(deadline),
            number,
        );
        self.advance_write(number);
    }

    /// Sends the write to everybody who does not have it yet.
    pub(super) fn send_write(&mut self, number: u64) {
        let Some(Pending::Write(write)) = self.pending.get_mut(&number) else {
            return;
        };
        let Some(view) = self.views.get(&write.partition) else {
            return;
        };
        let mut open = view.members();
        open.retain(|member| {
            !write.acknowledged.contains(member)
                && !write.finally_refused.contains(member)
                && !self.unreachable.contains(member)
        });
        for member in &open {
            *write.unrefused.entry(*member).or_default() += 1;
        }
        let (partition, epoch) = (write.partition, view.epoch);
        let (key, change) = (write.key.clone(), write.change.clone());
        for to in open {
            let (key, change) = (key.clone(), change.clone());
            self.send_change(partition, to, (number, epoch), key, change, Origin::Client);
        }
    }

    pub(super) fn on_written(&mut self, from: StorageId, number: u64) {
        if let Some(Pending::Write(write)) = self.pending.get_mut(&number) {
            write.acknowledged.insert(from);
        }
        self.advance_write(number);
    }

    pub(super) fn on_write_refused(&mut self, from: StorageId, number: u64, why: Refusal) {
        if let Some(Pending::Write(write)) = self.pending.get_mut(&number) {
            if let Some(count) = write.unrefused.get_mut(&from) {
                *count = count.saturating_sub(1);
            }
            write.last_refusal = Some(why);
            let is_final = matches!(
                why,
                Refusal::BelowFloor | Refusal::TooFarAhead { .. } | Refusal::NoRoom
            );
            if is_final {
                write.finally_refused.insert(from);
            }
        }
        self.advance_write(number);
    }

    pub(super) fn on_not_sent(&mut self, to: StorageId, request: RequestNumber) {
        if request.incarnation != self.incarnation {
            return;
        }
        if let Some(Pending::Write(write)) = self.pending.get_mut(&request.number)
            && let Some(count) = write.unrefused.get_mut(&to)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Answers if enough have it or all have said whether they take it; forgets it when nobody is
    /// left to wait for.
    pub(super) fn advance_write(&mut self, number: u64) {
        let Some(Pending::Write(write)) = self.pending.get_mut(&number) else {
            return;
        };
        let Some(view) = self.views.get(&write.partition) else {
            return;
        };
        if view.is_met(write.quorum, &write.acknowledged) {
            let result = Ok(write.version);
            if let Some(ticket) = write.ticket.take() {
                self.outputs.push_back(Output::WriteDone { ticket, result });
            }
        }
        let mut open = view.members();
        open.retain(|member| {
            !write.acknowledged.contains(member) && !write.finally_refused.contains(member)
        });
        // Then nothing changes any more, whatever is waited for.
        let all_have_said = open.is_empty();
        let is_done = open.iter().all(|member| self.unreachable.contains(member));
        if all_have_said || (write.ticket.is_none() && is_done) {
            self.finish_write(number);
        }
    }

    pub(super) fn on_write_timer(&mut self, number: u64) {
        let Some(Pending::Write(write)) = self.pending.get(&number) else {
            return;
        };
        let (deadline, is_answered) = (write.deadline, write.ticket.is_none());
        if deadline <= self.at.now {
            self.finish_write(number);
            return;
        }
        if !is_answered {
            self.send_write(number);
        }
        self.wake(
            (self.at.now + self.settings.resend_after).min(deadline),
            number,
        );
    }

    /// The time is over or nobody is left: answers what is known, and keeps hints for the members
    /// that may come back. A write that nobody got leaves none, as its client was told so.
    fn finish_write(&mut self, number: u64) {
        let Some(Pending::Write(mut write)) = self.pending.remove(&number) else {
            return;
        };
        let Some(view) = self.views.get(&write.partition) else {
            return;
        };
        let mut missing = view.members();
        missing.retain(|member| {
            !write.acknowledged.contains(member) && !write.finally_refused.contains(member)
        });
        if self.settings.has(Mutant::HintCountsTowardsW) {
            write.acknowledged.extend(&missing);
        }
        let is_met = view.is_met(write.quorum, &write.acknowledged);
        let is_possibly_applied = write.is_possibly_applied();
        if let Some(ticket) = write.ticket {
            let result = match (is_met, is_possibly_applied) {
                (true, _) => Ok(write.version),
                (false, true) => Err(WriteFailed::OutcomeUnknown),
                (false, false) => Err(WriteFailed::NotApplied(write.last_refusal)),
            };
            self.outputs.push_back(Output::WriteDone { ticket, result });
        }
        if !is_possibly_applied {
            return;
        }
        for member in missing {
            self.number += 1;
            let hint = Hint {
                partition: write.partition,
                key: write.key.clone(),
                change: write.change.clone(),
            };
            self.hints
                .keep(&self.settings, self.at.now, member, self.number, hint);
        }
    }
}
