//! The way of a request: to the replica of this node, to another node, or into waiting.
//!
//! A request is forwarded once; a node that gets a forwarded request and does not hold the
//! office says so, and the first node tries again with a fresh map. Waiting is bounded in number
//! and bytes. Knows nothing of how a replica decides.

use std::sync::Arc;
use std::time::Duration;

use tablestore_placement::{ClusterMap, Epoch, PartitionId, StorageId};
use tablestore_replication::{Input, RequestId, Ticket};
use tablestore_store::Engine;
use tablestore_store::engine::{EngineError, Page, Scan};

use crate::job::{Lane, Work};
use crate::plane::Plane;
use crate::request::{Answer, Correlation, Failure, Operation, Reply, ReplyTo, Request, Stage};
use crate::wire::DataMessage;

impl<E: Engine, W> Plane<E, W> {
    /// Takes in what a client of this node asks.
    pub(crate) fn admit_from_client(
        &mut self,
        partition: PartitionId,
        operation: Operation,
        deadline: Duration,
        waiter: W,
    ) {
        self.admit(Request {
            partition,
            operation,
            deadline,
            reply_to: ReplyTo::Local(waiter),
            stage: Stage::Parked,
            maybe_appended: false,
            epoch: Epoch(0),
            may_relay: false,
        });
    }

    /// Takes a request in.
    pub(crate) fn admit(&mut self, request: Request<W>) {
        let cost = request.operation.cost();
        let waiting = self.requests.len() + self.active.waiting();
        let full = waiting >= self.settings.waiting_max
            || self.requests.bytes() + cost > self.settings.waiting_bytes_max;
        let ticket = self.requests.insert(request);
        if full || self.failed {
            let failure = if full {
                Failure::Busy
            } else {
                Failure::Stopped
            };
            return self.fail(ticket, failure);
        }
        self.dispatch(ticket);
    }

    /// Sends a request on its way, or leaves it parked.
    fn dispatch(&mut self, ticket: u64) {
        let me = self.me;
        self.requests.leave(ticket);
        let Some(request) = self.requests.get(ticket) else {
            return;
        };
        let partition = request.partition;
        let hosted = self.replicas.get(&partition);
        let works = hosted.is_some_and(|hosted| hosted.stopped.is_none());
        let Some(assignment) = self.map.assignment(partition) else {
            return;
        };
        let (epoch, office) = (assignment.epoch, assignment.primary);
        let table = self.map.tables.get(&partition.table);
        let is_shared = table.is_some_and(|table| !table.definition.data_path().has_copies());
        if is_shared && office == Some(me) {
            return self.ask_owned(ticket, partition);
        }
        // A replica outside the in-sync set may be empty, half filled, or have stopped.
        let in_sync = &assignment.in_sync;
        if request.operation.is_eventual() && works && in_sync.contains(&me.member) {
            return self.read_ready(ticket, epoch);
        }
        let target = if request.operation.is_eventual() && !is_shared {
            let mut others = in_sync.iter();
            others.find(|r| self.links.takes(**r)).copied()
        } else {
            office.map(|office| office.member)
        };
        if office == Some(me) && !request.operation.is_eventual() {
            return self.hand_to_core(ticket);
        }
        let from_peer = request.is_of_peer();
        let relays = from_peer && request.may_relay;
        if from_peer && request.epoch > epoch {
            // The sender's map is newer than ours: ours is on its way.
            return;
        }
        let others = assignment.replicas.iter().copied();
        match target {
            _ if from_peer && !relays => self.fail(ticket, Failure::NotHere),
            Some(to) if to != me.member && self.links.takes(to) => {
                self.forward(ticket, to, epoch, false);
            }
            _ if relays => self.fail(ticket, Failure::NotHere),
            Some(to) if to != me.member && self.links.is_broken(self.now.since_start, to) => {
                // Whoever has a copy talks to the primary.
                let mut ways = others.filter(|other| *other != me.member && *other != to);
                match ways.find(|way| self.links.takes(*way)) {
                    Some(way) => self.forward(ticket, way, epoch, true),
                    None => self.park(ticket, false),
                }
            }
            _ => self.park(ticket, false),
        }
    }

    fn forward(&mut self, ticket: u64, to: StorageId, epoch: Epoch, relay: bool) {
        self.requests.enter(ticket, Stage::Forwarded(to));
        let Some(request) = self.requests.get(ticket) else {
            return;
        };
        let message = DataMessage::Forward {
            correlation: Correlation {
                incarnation: self.me.incarnation,
                ticket,
            },
            partition: request.partition,
            epoch,
            relay,
            operation: request.operation.clone(),
        };
        self.links.tell(to, &message);
    }

    fn hand_to_core(&mut self, ticket: u64) {
        self.requests.enter(ticket, Stage::Core);
        let Some(request) = self.requests.get(ticket) else {
            return;
        };
        let partition = request.partition;
        let ticket_of_core = Ticket(ticket);
        let operation = request.operation.clone();
        if self.lacks_room(partition, &operation) {
            if self.room_may_come(partition) {
                return self.park(ticket, false);
            }
            return self.fail(ticket, Failure::Full);
        }
        let input = match &operation {
            Operation::Write {
                request,
                digest,
                payload,
            } => Input::Write {
                ticket: ticket_of_core,
                request: RequestId(*request),
                digest: *digest,
                payload: payload.clone(),
            },
            Operation::Get { .. } | Operation::Scan { .. } => Input::Read {
                ticket: ticket_of_core,
            },
            Operation::Checksum => return self.begin_checksum(partition, ticket),
        };
        match self.replicas.get(&partition) {
            Some(hosted) if hosted.stopped.is_none() => self.feed(partition, input),
            Some(_) => {
                self.fail(ticket, Failure::Stopped);
            }
            None => self.park(ticket, false),
        }
    }

    /// The replica may answer this read now.
    pub(crate) fn read_ready(&mut self, ticket: u64, epoch: Epoch) {
        let Some(request) = self.requests.get(ticket) else {
            return;
        };
        self.counts.reads += 1;
        let partition = request.partition;
        match &request.operation {
            Operation::Get { key, .. } => {
                let key = key.clone();
                let result = self.row(partition, &key).map(Answer::Row);
                self.answer(ticket, Reply { epoch, result });
            }
            Operation::Scan { .. } => {
                if let Some(scan) = request.operation.as_scan(self.settings.page_bytes_max) {
                    self.scan(ticket, partition, epoch, scan);
                }
            }
            Operation::Write { .. } | Operation::Checksum => {}
        }
    }

    fn scan(&mut self, ticket: u64, partition: PartitionId, epoch: Epoch, scan: Scan) {
        if !self.lanes.is_free(Lane::Reads) {
            let result = Err(Failure::Busy);
            return self.answer(ticket, Reply { epoch, result });
        }
        self.begin(Work::Scan {
            ticket,
            partition,
            epoch,
            scan,
        });
    }

    /// A range has been read.
    pub(crate) fn scanned(
        &mut self,
        ticket: u64,
        partition: PartitionId,
        epoch: Epoch,
        page: Result<Page, EngineError>,
    ) {
        let result = match page {
            Ok(page) => Ok(Answer::Page {
                rows: page.rows,
                more: page.more,
            }),
            Err(error) => {
                self.met(partition, &error, "a range could not be read");
                Err(Failure::Stopped)
            }
        };
        self.answer(ticket, Reply { epoch, result });
    }

    /// Ends a request.
    pub(crate) fn answer(&mut self, ticket: u64, mut reply: Reply) {
        let Some(request) = self.requests.remove(ticket) else {
            return;
        };
        let certain = matches!(reply.result, Err(Failure::RequestMismatch));
        if reply.result.is_err() && request.maybe_appended && !certain {
            reply.result = Err(Failure::Unknown);
        }
        match request.reply_to {
            ReplyTo::Local(waiter) => {
                let by = match request.stage {
                    Stage::Forwarded(node) => node,
                    Stage::Parked | Stage::Core => self.me.member,
                };
                self.out.answers.push((waiter, by, reply));
            }
            ReplyTo::Peer { node, ticket } => {
                let message = DataMessage::Reply {
                    correlation: Correlation {
                        incarnation: node.incarnation,
                        ticket,
                    },
                    question: request.operation.question(request.partition),
                    reply,
                };
                self.links.tell(node.member, &message);
            }
        }
    }

    /// Answers a request with a failure, in the epoch that is known here.
    pub(crate) fn fail(&mut self, ticket: u64, failure: Failure) {
        let Some(request) = self.requests.get(ticket) else {
            return;
        };
        let epoch = self.epoch_of(request.partition);
        let result = Err(failure);
        self.answer(ticket, Reply { epoch, result });
    }

    /// The request waits for a primary; one from a peer is given back.
    pub(crate) fn park(&mut self, ticket: u64, maybe_appended: bool) {
        self.requests.maybe_appended(ticket, maybe_appended);
        self.requests.enter(ticket, Stage::Parked);
        if self.requests.get(ticket).is_some_and(Request::is_of_peer) {
            let failure = if maybe_appended {
                Failure::Unknown
            } else {
                Failure::NotHere
            };
            self.fail(ticket, failure);
        }
    }

    /// The map moved on: replicas follow, waiting requests are looked at again.
    pub(crate) fn follow(&mut self, map: Arc<ClusterMap>) {
        if map.version <= self.map.version && self.map.is_founded() {
            return;
        }
        let before = std::mem::replace(&mut self.map, map);
        let now = Arc::clone(&self.map);
        let at = self.now.since_start;
        for closed in self.links.follow(at, &now, &mut self.out.links) {
            self.peer_changed(closed, false);
        }
        self.follow_assignments(&before, &now);
        self.requests.retry_parked();
        self.leave_former_primaries(&before, &now);
    }

    /// Whatever was sent to a primary that is none any more is looked at again.
    fn leave_former_primaries(&mut self, before: &ClusterMap, now: &ClusterMap) {
        for (partition, table, assignment) in before.partitions() {
            let primary = now.assignment(partition).and_then(|a| a.primary);
            if primary == assignment.primary {
                continue;
            }
            // Others than the office answer these, where there are copies.
            let is_with_any = |operation: &Operation| {
                operation.is_eventual() && table.definition.data_path().has_copies()
            };
            // Relayed ones are with somebody else.
            let nodes = now.members.keys();
            let tickets: Vec<u64> = nodes
                .flat_map(|node| self.requests.forwarded_for(*node, partition))
                .collect();
            for ticket in tickets {
                let request = self.requests.get(ticket);
                if request.is_some_and(|request| !is_with_any(&request.operation)) {
                    self.requests.look_again(ticket);
                }
            }
        }
    }

    /// Dispatches what was marked in this turn.
    pub(crate) fn look_again(&mut self) {
        for ticket in self.requests.take_again() {
            self.dispatch(ticket);
        }
    }

    /// Answers requests whose deadline has passed, and tries parked ones again.
    pub(crate) fn expire(&mut self) {
        let now = self.now.since_start;
        while let Some(ticket) = self.requests.late(now) {
            self.requests.leave(ticket);
            self.fail(ticket, Failure::Deadline);
        }
        self.requests.retry_if_due(now, self.settings.again_every);
    }

    /// Ends the requests that are with a replica which has stopped.
    pub(crate) fn fail_at_core(&mut self, partition: PartitionId, failure: Failure) {
        let epoch = self.epoch_of(partition);
        for ticket in self.requests.at_core(partition) {
            let is_write = self.requests.get(ticket).is_some_and(Request::is_write);
            self.requests.maybe_appended(ticket, is_write);
            let result = Err(failure);
            self.answer(ticket, Reply { epoch, result });
        }
    }

    /// The linearizable read of the map is back.
    pub(crate) fn map_read(
        &mut self,
        rounds: Vec<(PartitionId, u64)>,
        map: Option<Arc<ClusterMap>>,
    ) {
        self.map_reads.ended();
        if let Some(map) = &map {
            self.follow(Arc::clone(map));
        }
        for (partition, round) in rounds {
            let assignment = map.as_ref().and_then(|map| map.assignment(partition));
            let input = match assignment {
                Some(assignment) => Input::MapConfirmed {
                    round,
                    epoch: assignment.epoch,
                    version: assignment.version,
                },
                None => Input::MapUnavailable { round },
            };
            self.feed(partition, input);
        }
    }
}

#[cfg(test)]
mod tests;
