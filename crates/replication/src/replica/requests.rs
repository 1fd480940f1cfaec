//! Clients' writes at a primary: those that wait for it to serve and those that wait for their
//! commit. Knows nothing of followers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::output::{Output, WriteRefused, Written};
use crate::replica::core::Core;
use crate::types::{Remembered, RequestId, Ticket};

/// A write as it arrived.
#[derive(Debug)]
pub(crate) struct WriteRequest {
    pub(crate) ticket: Ticket,
    pub(crate) request: RequestId,
    pub(crate) digest: u64,
    pub(crate) payload: Bytes,
}

/// A request that waits until the primary serves.
#[derive(Debug)]
pub(crate) enum WaitingRequest {
    Write(WriteRequest),
    Read(Ticket),
}

/// A write that is in the log and not applied.
#[derive(Debug)]
struct Appended {
    index: u64,
    request: RequestId,
    digest: u64,
    cost: usize,
    ticket: Ticket,
    /// Repetitions that arrived meanwhile.
    more: Vec<Ticket>,
}

/// Writes in the log that are not applied, in log order.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    appended: VecDeque<Appended>,
    by_request: BTreeMap<RequestId, u64>,
    bytes: usize,
}

impl InFlight {
    pub(crate) fn len(&self) -> usize {
        self.appended.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// If the id is in flight: lets the ticket wait for it too, or refuses another body.
    pub(crate) fn join(&mut self, write: &WriteRequest) -> Option<Result<(), WriteRefused>> {
        let index = *self.by_request.get(&write.request)?;
        let at = self.appended.partition_point(|one| one.index < index);
        let appended = self.appended.get_mut(at)?;
        if appended.digest != write.digest {
            return Some(Err(WriteRefused::RequestMismatch));
        }
        appended.more.push(write.ticket);
        Some(Ok(()))
    }

    pub(crate) fn push(&mut self, write: &WriteRequest, index: u64, cost: usize) {
        self.by_request.insert(write.request, index);
        self.bytes += cost;
        self.appended.push_back(Appended {
            index,
            request: write.request,
            digest: write.digest,
            cost,
            ticket: write.ticket,
            more: Vec::new(),
        });
    }

    /// The write was applied: its tickets are answered.
    pub(crate) fn applied(&mut self, core: &mut Core, remembered: &Remembered) {
        let front = |one: &mut Appended| one.index == remembered.index;
        let Some(done) = self.appended.pop_front_if(front) else {
            return;
        };
        self.bytes -= done.cost;
        self.by_request.remove(&done.request);
        let mut written = Written {
            outcome: remembered.outcome,
            index: remembered.index,
            epoch: core.adopted,
            repeated: false,
        };
        answer(core, done.ticket, Ok(written));
        written.repeated = true;
        for ticket in done.more {
            answer(core, ticket, Ok(written));
        }
    }

    /// The office is lost: what is in the log may or may not become committed.
    pub(crate) fn abandon(&mut self, core: &mut Core) {
        for one in std::mem::take(self).appended {
            for ticket in std::iter::once(one.ticket).chain(one.more) {
                answer(core, ticket, Err(WriteRefused::Unknown));
            }
        }
    }
}

pub(crate) fn answer(core: &mut Core, ticket: Ticket, result: Result<Written, WriteRefused>) {
    core.output(Output::WriteDone { ticket, result });
}
