//! The requests under way on a node, found again by what they wait for.
//!
//! Waiting is bounded in number and bytes. Knows nothing of how a request finds its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tablestore_placement::{Office, PartitionId, StorageId};

use crate::request::{ReplyTo, Request, Stage};

/// All requests under way, by ticket. A ticket is used once.
#[derive(Debug)]
pub(crate) struct Requests<W> {
    open: BTreeMap<u64, Request<W>>,
    last_ticket: u64,
    bytes: usize,
    deadlines: BTreeSet<(Duration, u64)>,
    parked: BTreeSet<(PartitionId, u64)>,
    forwarded: BTreeSet<(StorageId, PartitionId, u64)>,
    /// To be looked at again in this turn.
    again: Vec<u64>,
    /// When those that are parked are tried again whatever happens.
    again_at: Option<Duration>,
}

impl<W> Default for Requests<W> {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            last_ticket: 0,
            bytes: 0,
            deadlines: BTreeSet::new(),
            parked: BTreeSet::new(),
            forwarded: BTreeSet::new(),
            again: Vec::new(),
            again_at: None,
        }
    }
}

impl<W> Requests<W> {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Bytes that are kept while they wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a request in, parked.
    pub(crate) fn insert(&mut self, request: Request<W>) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.bytes += request.operation.cost();
        self.deadlines.insert((request.deadline, ticket));
        self.parked.insert((request.partition, ticket));
        self.open.insert(ticket, request);
        ticket
    }

    pub(crate) fn get(&self, ticket: u64) -> Option<&Request<W>> {
        self.open.get(&ticket)
    }

    /// Takes a request out: it is answered, or nobody waits for it any more.
    pub(crate) fn remove(&mut self, ticket: u64) -> Option<Request<W>> {
        let request = self.open.remove(&ticket)?;
        self.bytes -= request.operation.cost();
        self.deadlines.remove(&(request.deadline, ticket));
        self.unlist(request.stage, request.partition, ticket);
        Some(request)
    }

    /// The request goes on to this stage.
    pub(crate) fn enter(&mut self, ticket: u64, stage: Stage) {
        let Some(request) = self.open.get_mut(&ticket) else {
            return;
        };
        let before = std::mem::replace(&mut request.stage, stage);
        let partition = request.partition;
        if before == stage {
            return;
        }
        self.unlist(before, partition, ticket);
        match stage {
            Stage::Parked => {
                self.parked.insert((partition, ticket));
            }
            Stage::Core => {}
            Stage::Forwarded(to) => {
                self.forwarded.insert((to, partition, ticket));
            }
        }
    }

    fn unlist(&mut self, stage: Stage, partition: PartitionId, ticket: u64) {
        match stage {
            Stage::Parked => {
                self.parked.remove(&(partition, ticket));
            }
            Stage::Core => {}
            Stage::Forwarded(to) => {
                self.forwarded.remove(&(to, partition, ticket));
            }
        }
    }

    /// Gives up the attempt under way, if any, without an answer to it.
    pub(crate) fn leave(&mut self, ticket: u64) {
        if let Some(request) = self.open.get(&ticket)
            && request.stage != Stage::Parked
        {
            let is_write = request.is_write();
            self.maybe_appended(ticket, is_write);
            self.enter(ticket, Stage::Parked);
        }
    }

    /// Notes that the request may have been appended somewhere.
    pub(crate) fn maybe_appended(&mut self, ticket: u64, maybe: bool) {
        if let Some(request) = self.open.get_mut(&ticket) {
            request.maybe_appended |= maybe;
        }
    }

    /// Looks at a request again in this turn.
    pub(crate) fn look_again(&mut self, ticket: u64) {
        self.again.push(ticket);
    }

    /// Those to look at again, each that is not with a replica.
    pub(crate) fn take_again(&mut self) -> Vec<u64> {
        let mut again = std::mem::take(&mut self.again);
        again.sort_unstable();
        again.dedup();
        again.retain(|ticket| {
            let request = self.open.get(ticket);
            request.is_some_and(|request| request.stage != Stage::Core)
        });
        again
    }

    /// Looks again at all that wait for a primary.
    pub(crate) fn retry_parked(&mut self) {
        self.again
            .extend(self.parked.iter().map(|(_, ticket)| *ticket));
    }

    /// Looks again at those that wait for the primary of one partition.
    pub(crate) fn retry_parked_of(&mut self, partition: PartitionId) {
        let waiting = self.parked.range((partition, 0)..=(partition, u64::MAX));
        self.again.extend(waiting.map(|(_, ticket)| *ticket));
    }

    /// Those that were sent to a node.
    pub(crate) fn forwarded_to(&self, node: StorageId) -> Vec<u64> {
        let (first, last) = (PartitionId::from_u64(0), PartitionId::from_u64(u64::MAX));
        let sent = self
            .forwarded
            .range((node, first, 0)..=(node, last, u64::MAX));
        sent.map(|(_, _, ticket)| *ticket).collect()
    }

    /// Those for a partition that were sent to a node.
    pub(crate) fn forwarded_for(&self, node: StorageId, partition: PartitionId) -> Vec<u64> {
        let range = (node, partition, 0)..=(node, partition, u64::MAX);
        let sent = self.forwarded.range(range);
        sent.map(|(_, _, ticket)| *ticket).collect()
    }

    /// Those that are with the replica of a partition.
    pub(crate) fn at_core(&self, partition: PartitionId) -> Vec<u64> {
        let here =
            |request: &Request<W>| request.partition == partition && request.stage == Stage::Core;
        let with = self.open.iter().filter(|(_, request)| here(request));
        with.map(|(ticket, _)| *ticket).collect()
    }

    /// Those of a start of a peer that is gone.
    pub(crate) fn of_peer(&self, peer: Office) -> Vec<u64> {
        let is_of = |request: &Request<W>| match request.reply_to {
            ReplyTo::Peer { node, .. } => node == peer,
            ReplyTo::Local(_) => false,
        };
        let of = self.open.iter().filter(|(_, request)| is_of(request));
        of.map(|(ticket, _)| *ticket).collect()
    }

    /// A request whose deadline has passed.
    pub(crate) fn late(&self, now: Duration) -> Option<u64> {
        let (deadline, ticket) = self.deadlines.first()?;
        (*deadline <= now).then_some(*ticket)
    }

    /// Looks again at those that wait for a primary, if it is time.
    pub(crate) fn retry_if_due(&mut self, now: Duration, every: Duration) {
        match self.again_at {
            _ if self.parked.is_empty() => self.again_at = None,
            None => self.again_at = Some(now + every),
            Some(at) if at <= now => {
                self.again_at = Some(now + every);
                self.retry_parked();
            }
            Some(_) => {}
        }
    }

    /// Whether some are left to be looked at again.
    pub(crate) fn wants_a_turn(&self) -> bool {
        !self.again.is_empty()
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        first.into_iter().chain(self.again_at).min()
    }
}
