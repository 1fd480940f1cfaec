//! Reads: all replicas are asked, the R-th answer completes the merged row, and replicas that were
//! behind are repaired: behind the answer, or for strong reads before it. Knows nothing of writes
//! by clients.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};

use super::answers::{Output, ReadFailed};
use super::{Coordinator, Pending};
use crate::active::message::{Message, Origin, Refusal};
use crate::active::row::{Floor, Row};
use crate::active::view::Quorum;
use crate::types::{Now, Ticket};

#[derive(Debug)]
pub(super) struct PendingRead {
    pub(super) partition: PartitionId,
    /// Nothing once it is answered.
    ticket: Option<Ticket>,
    key: Bytes,
    quorum: Quorum,
    strong: bool,
    deadline: Now,
    answers: BTreeMap<StorageId, (Row, Floor)>,
    /// For a strong read whose row is known: who has it durably.
    holders: Option<BTreeSet<StorageId>>,
    /// Members that were told what they lack.
    repaired: BTreeSet<StorageId>,
    merged: Row,
    floor: Floor,
    retries: u32,
    last_refusal: Option<Refusal>,
}

impl PendingRead {
    /// All answers as one row. What the greatest floor among them covers is not deleted again:
    /// replicas that have proved equal there differ in what they have collected alone.
    fn merge(&mut self) {
        let floors = self.answers.values().map(|(_, floor)| *floor);
        self.floor = floors.max().unwrap_or_default();
        let mut merged = Row::default();
        for (row, _) in self.answers.values() {
            merged.merge(row);
        }
        self.merged = merged.collected(self.floor);
    }

    /// The answer to a read whose partition is gone, if it has none yet.
    pub(super) fn into_lost_answer(self) -> Option<Output> {
        let result = Err(ReadFailed::TimedOut(self.last_refusal));
        self.ticket
            .map(|ticket| Output::ReadDone { ticket, result })
    }

    fn lags(&self, member: StorageId) -> bool {
        let answer = self.answers.get(&member);
        answer.is_none_or(|(row, _)| !row.includes(&self.merged))
    }

    fn holders(&self) -> BTreeSet<StorageId> {
        let answered = self.answers.keys().copied();
        answered.filter(|member| !self.lags(*member)).collect()
    }
}

impl Coordinator {
    pub(super) fn on_read(
        &mut self,
        ticket: Ticket,
        partition: PartitionId,
        key: Bytes,
        quorum: Quorum,
        strong: bool,
    ) {
        let quorum = if strong { Quorum::Majority } else { quorum };
        let refused = match self.views.get(&partition) {
            None => Some(ReadFailed::Busy),
            Some(_) if self.is_crowded() => Some(ReadFailed::Busy),
            Some(view) if !view.is_possible(quorum) => Some(ReadFailed::TooFewReplicas),
            Some(_) => None,
        };
        if let Some(why) = refused {
            let result = Err(why);
            self.outputs.push_back(Output::ReadDone { ticket, result });
            return;
        }
        let deadline = self.at.now + self.settings.request_timeout;
        let number = self.begin(Pending::Read(PendingRead {
            partition,
            ticket: Some(ticket),
            key,
            quorum,
            strong,
            deadline,
            answers: BTreeMap::new(),
            holders: None,
            repaired: BTreeSet::new(),
            merged: Row::default(),
            floor: Floor::default(),
            retries: 0,
            last_refusal: None,
        }));
        self.ask(number);
        self.wake(
            (self.at.now + self.settings.resend_after).min(deadline),
            number,
        );
    }

    /// Asks anew, for instance since the replicas have changed: under another number, so that no
    /// answer to what was asked or repaired before is taken for one.
    pub(super) fn restart_read(&mut self, number: u64) {
        let Some(Pending::Read(mut read)) = self.pending.remove(&number) else {
            return;
        };
        if read.ticket.is_none() {
            return;
        }
        read.answers.clear();
        read.holders = None;
        read.repaired.clear();
        let due = (self.at.now + self.settings.resend_after).min(read.deadline);
        let number = self.begin(Pending::Read(read));
        self.ask(number);
        self.wake(due, number);
    }

    fn ask(&mut self, number: u64) {
        let request = self.request(number);
        let Some(Pending::Read(read)) = self.pending.get(&number) else {
            return;
        };
        let Some(view) = self.views.get(&read.partition) else {
            return;
        };
        let mut silent = view.members();
        silent.retain(|to| !read.answers.contains_key(to) && !self.unreachable.contains(to));
        for to in silent {
            let message = Message::Read {
                request,
                epoch: view.epoch,
                key: read.key.clone(),
                durable: read.strong,
            };
            self.outputs.push_back(Output::Send {
                to,
                partition: read.partition,
                message,
            });
        }
    }

    pub(super) fn on_found(&mut self, from: StorageId, number: u64, row: Row, floor: Floor) {
        if let Some(newest) = row.newest() {
            // One that is too far ahead is for the merge all the same; the clock stays unmoved.
            let _ = self.clock.observe(newest, self.at.wall_ms);
        }
        let Some(Pending::Read(read)) = self.pending.get_mut(&number) else {
            return;
        };
        // Later answers to a strong read change nothing: its row is settled.
        if read.holders.is_some() || read.answers.contains_key(&from) {
            return;
        }
        read.answers.insert(from, (row, floor));
        let Some(view) = self.views.get(&read.partition) else {
            return;
        };
        let answered: BTreeSet<StorageId> = read.answers.keys().copied().collect();
        if !view.is_met(read.quorum, &answered) {
            return;
        }
        let is_complete = view.members().is_subset(&answered);
        read.merge();
        if read.strong {
            read.holders = Some(read.holders());
            self.advance_strong(number);
            self.repair(number);
            return;
        }
        if let Some(ticket) = read.ticket.take() {
            let result = Ok(read.merged.clone());
            self.outputs.push_back(Output::ReadDone { ticket, result });
        }
        if is_complete {
            self.repair(number);
            self.pending.remove(&number);
        }
    }

    /// Tells every member that answered what it lacks, and in strong reads the silent ones too.
    fn repair(&mut self, number: u64) {
        let Some(Pending::Read(read)) = self.pending.get_mut(&number) else {
            return;
        };
        let Some(view) = self.views.get(&read.partition) else {
            return;
        };
        let mut behind = view.members();
        behind.retain(|member| {
            let is_asked = read.strong || read.answers.contains_key(member);
            let is_held = read
                .holders
                .as_ref()
                .is_some_and(|set| set.contains(member));
            is_asked && !is_held && read.lags(*member) && !self.unreachable.contains(member)
        });
        read.repaired.extend(&behind);
        let origin = if read.strong {
            Origin::DurableRepair
        } else {
            Origin::Repair
        };
        let (partition, epoch) = (read.partition, view.epoch);
        let (key, merged) = (read.key.clone(), read.merged.clone());
        for to in behind {
            let (key, change) = (key.clone(), merged.clone());
            self.send_change(partition, to, (number, epoch), key, change, origin);
        }
    }

    pub(super) fn on_repaired(&mut self, from: StorageId, number: u64) {
        let Some(Pending::Read(read)) = self.pending.get_mut(&number) else {
            return;
        };
        if let Some(holders) = &mut read.holders
            && read.repaired.contains(&from)
        {
            holders.insert(from);
            self.advance_strong(number);
        }
    }

    fn advance_strong(&mut self, number: u64) {
        let Some(Pending::Read(read)) = self.pending.get_mut(&number) else {
            return;
        };
        let (Some(view), Some(holders)) = (self.views.get(&read.partition), &read.holders) else {
            return;
        };
        if view.is_met(Quorum::Majority, holders)
            && let Some(ticket) = read.ticket.take()
        {
            let result = Ok(std::mem::take(&mut read.merged));
            self.outputs.push_back(Output::ReadDone { ticket, result });
            self.pending.remove(&number);
        }
    }

    pub(super) fn on_read_refused(&mut self, number: u64, why: Refusal) {
        let retries_max = self.settings.strong_retries_max;
        let Some(Pending::Read(read)) = self.pending.get_mut(&number) else {
            return;
        };
        read.last_refusal = Some(why);
        // The row was read before a floor was proved that covers it: it may have been deleted.
        let is_late = why == Refusal::BelowFloor && read.holders.is_some();
        if is_late && read.retries < retries_max {
            read.retries += 1;
            self.restart_read(number);
        }
    }

    pub(super) fn on_read_timer(&mut self, number: u64) {
        let Some(Pending::Read(read)) = self.pending.get_mut(&number) else {
            return;
        };
        let deadline = read.deadline;
        if deadline <= self.at.now {
            if let Some(ticket) = read.ticket.take() {
                let result = Err(ReadFailed::TimedOut(read.last_refusal));
                self.outputs.push_back(Output::ReadDone { ticket, result });
            } else {
                self.repair(number);
            }
            self.pending.remove(&number);
            return;
        }
        if read.holders.is_some() {
            self.repair(number);
        } else if read.ticket.is_some() {
            self.ask(number);
        }
        self.wake(
            (self.at.now + self.settings.resend_after).min(deadline),
            number,
        );
    }
}
