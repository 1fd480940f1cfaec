//! Clients at a primary: which writes are admitted, appended, answered from memory or refused,
//! and which reads wait. Knows nothing of followers.

use crate::entry::Entry;
use crate::mutant::Mutant;
use crate::output::{Output, ReadRefused, WriteRefused, Written};
use crate::replica::core::Core;
use crate::replica::primary::Primary;
use crate::replica::requests::{WaitingRequest, WriteRequest, answer};
use crate::types::{Now, Ticket};

impl Primary {
    /// A client's write.
    pub(crate) fn write(&mut self, core: &mut Core, write: WriteRequest) {
        if !self.serving && self.resigning.is_none() {
            if self.waiting.len() < core.settings.waiting_max {
                self.waiting.push_back(WaitingRequest::Write(write));
            } else {
                answer(core, write.ticket, Err(WriteRefused::Busy));
            }
            return;
        }
        match self.admit(core, &write) {
            Ok(None) => self.append_write(core, &write),
            Ok(Some(written)) => answer(core, write.ticket, Ok(written)),
            Err(Some(refused)) => answer(core, write.ticket, Err(refused)),
            Err(None) => {}
        }
    }

    /// `Ok(None)`: append it. `Ok(Some)`: done before. `Err(None)`: waits for its first copy.
    fn admit(
        &mut self,
        core: &Core,
        write: &WriteRequest,
    ) -> Result<Option<Written>, Option<WriteRefused>> {
        if let Some(known) = core.remembered.find(write.request) {
            if known.digest != write.digest {
                return Err(Some(WriteRefused::RequestMismatch));
            }
            return Ok(Some(Written {
                outcome: known.outcome,
                index: known.index,
                epoch: self.epoch,
                repeated: true,
            }));
        }
        if let Some(joined) = self.in_flight.join(write) {
            return Err(joined.err());
        }
        if self.resigning.is_some() {
            return Err(Some(WriteRefused::NotPrimary {
                primary: None,
                epoch: self.epoch,
            }));
        }
        let (have, need) = self.reachable(core);
        if have < need {
            return Err(Some(WriteRefused::NotEnoughReplicas { have, need }));
        }
        if self.in_flight.len() >= core.settings.uncommitted_max
            || self.in_flight.bytes() >= core.settings.uncommitted_bytes_max
        {
            return Err(Some(WriteRefused::Busy));
        }
        Ok(None)
    }

    /// In-sync members that the map does not hold down, and how many are needed.
    pub(crate) fn reachable(&self, core: &Core) -> (u32, u32) {
        let Some(view) = &core.view else {
            return (0, 1);
        };
        let members = self.in_sync.committed.iter();
        let have = members.filter(|m| !view.unreachable.contains(m)).count();
        (have as u32, view.in_sync_min)
    }

    fn append_write(&mut self, core: &mut Core, write: &WriteRequest) {
        let (index, log_ms) = (core.end() + 1, core.stamp());
        let entry = Entry::write(
            self.epoch,
            index,
            log_ms,
            write.request,
            write.digest,
            &write.payload,
        );
        self.in_flight.push(write, index, entry.cost());
        core.append(entry);
        if core.settings.has(Mutant::OwnEntryBeforeSync) {
            core.pending.count_as_durable(index);
        }
    }

    /// When all that is remembered beyond the fewest could be forgotten if nothing is written
    /// meanwhile. Replicas forget by the log's time alone, so it has to be told.
    pub(crate) fn forgets_at(&self, core: &Core) -> Option<Now> {
        let (have, need) = self.reachable(core);
        let rests = core.applied == core.end() && self.resigning.is_none();
        if !self.serving || !rests || have < need {
            return None;
        }
        let from = core.remembered.forgettable_from_ms()?;
        Some(core.log_clock.when(from, core.now))
    }

    /// Tells the log's time where nobody writes any more.
    pub(crate) fn forget_in_time(&mut self, core: &mut Core) {
        if self.forgets_at(core).is_some_and(|at| at <= core.now) {
            let (index, log_ms) = (core.end() + 1, core.stamp());
            core.append(Entry::time(self.epoch, index, log_ms));
        }
    }

    /// A client's strong read.
    pub(crate) fn read(&mut self, core: &mut Core, ticket: Ticket) {
        let early = core.settings.has(Mutant::ReadBeforeInheritedTail);
        let waits = !self.serving && !early;
        let count = if waits {
            self.waiting.len()
        } else {
            self.reads.len()
        };
        if count >= core.settings.waiting_max {
            let why = ReadRefused::Busy;
            core.output(Output::ReadRefused { ticket, why });
        } else if waits {
            self.waiting.push_back(WaitingRequest::Read(ticket));
        } else {
            self.reads.push(core, ticket);
        }
    }
}
