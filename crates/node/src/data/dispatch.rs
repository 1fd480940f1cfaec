//! The way of a request: to the replica of this node, to another node, or into waiting.
//!
//! A request is forwarded once; a node that gets a forwarded request and does not hold the
//! office says so, and the first node tries again with a fresh map. Waiting is bounded in number
//! and bytes. Knows nothing of how a replica decides.

use std::sync::Arc;

use tablestore_placement::{ClusterMap, Epoch, PartitionId, StorageId};
use tablestore_replication::{Input, RequestId, Ticket};
use tablestore_store::engine::Scan;
use tokio::time::Instant;

use super::event::Event;
use super::plane::Plane;
use super::request::{Answer, Correlation, Failure, Operation, Reply, ReplyTo, Request, Stage};
use crate::wire::DataMessage;

/// Bytes of waiting requests on one node; above it they are refused at once.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Bytes of rows in one page of a scan.
const PAGE_BYTES_MAX: usize = 2 << 20;

impl Plane {
    /// Takes a request in.
    pub(super) fn admit(&mut self, request: Request) {
        let cost = request.operation.cost();
        let full = self.ports.requests.len() >= self.ports.settings.waiting_max
            || self.ports.waiting_bytes + cost > WAITING_BYTES_MAX;
        let ticket = self.ports.next_ticket;
        self.ports.next_ticket += 1;
        self.ports.waiting_bytes += cost;
        self.ports.requests.insert(ticket, request);
        if full || self.ports.failed {
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
        let me = self.ports.me;
        let Some(request) = self.ports.requests.get_mut(&ticket) else {
            return;
        };
        request.leave();
        let partition = request.partition;
        let hosted = self.replicas.get(&partition);
        let works = hosted.is_some_and(|hosted| hosted.stopped.is_none());
        let Some(assignment) = self.ports.map.assignment(partition) else {
            request.stage = Stage::Parked;
            return;
        };
        let (epoch, office) = (assignment.epoch, assignment.primary);
        // A replica outside the in-sync set may be empty, half filled, or have stopped.
        let in_sync = &assignment.in_sync;
        if request.operation.is_eventual() && works && in_sync.contains(&me.member) {
            return self.read_ready(ticket, epoch);
        }
        let target = if request.operation.is_eventual() {
            let mut others = in_sync.iter();
            others.find(|r| self.ports.links.answers(**r)).copied()
        } else {
            office.map(|office| office.member)
        };
        if office == Some(me) && !request.operation.is_eventual() {
            return self.hand_to_core(ticket);
        }
        let from_peer = matches!(request.reply_to, ReplyTo::Peer { .. });
        let relays = from_peer && request.may_relay;
        if from_peer && request.epoch > epoch {
            // The sender's map is newer than ours: ours is on its way.
            request.stage = Stage::Parked;
            return;
        }
        let others = assignment.replicas.iter().copied();
        match target {
            _ if from_peer && !relays => self.fail(ticket, Failure::NotHere),
            Some(to) if to != me.member && self.ports.links.answers(to) => {
                self.forward(ticket, to, epoch, false);
            }
            _ if relays => self.fail(ticket, Failure::NotHere),
            Some(to) if to != me.member && self.ports.links.is_broken(to) => {
                // Whoever has a copy talks to the primary.
                let mut ways = others.filter(|other| *other != me.member && *other != to);
                match ways.find(|way| self.ports.links.answers(*way)) {
                    Some(way) => self.forward(ticket, way, epoch, true),
                    None => self.park(ticket, false),
                }
            }
            _ => self.park(ticket, false),
        }
    }

    fn forward(&mut self, ticket: u64, to: StorageId, epoch: Epoch, relay: bool) {
        let Some(request) = self.ports.requests.get_mut(&ticket) else {
            return;
        };
        request.stage = Stage::Forwarded(to);
        let message = DataMessage::Forward {
            correlation: Correlation {
                incarnation: self.ports.me.incarnation,
                ticket,
            },
            partition: request.partition,
            epoch,
            relay,
            operation: request.operation.clone(),
        };
        self.ports.links.tell(to, &message);
    }

    fn hand_to_core(&mut self, ticket: u64) {
        let Some(request) = self.ports.requests.get_mut(&ticket) else {
            return;
        };
        request.stage = Stage::Core;
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
    pub(super) fn read_ready(&mut self, ticket: u64, epoch: Epoch) {
        let Some(request) = self.ports.requests.get(&ticket) else {
            return;
        };
        self.ports.metrics.reads.add(1);
        let partition = request.partition;
        match &request.operation {
            Operation::Get { key, .. } => {
                let key = key.clone();
                let result = self.row(partition, &key).map(Answer::Row);
                self.answer(ticket, Reply { epoch, result });
            }
            Operation::Scan {
                from,
                until,
                limit,
                reverse,
                ..
            } => {
                let scan = Scan {
                    from: std::ops::Bound::Included(from.clone()),
                    to: if until.is_empty() {
                        std::ops::Bound::Unbounded
                    } else {
                        std::ops::Bound::Excluded(until.clone())
                    },
                    reverse: *reverse,
                    limit: *limit as usize,
                    bytes_max: PAGE_BYTES_MAX,
                };
                self.scan(ticket, partition, epoch, scan);
            }
            Operation::Write { .. } | Operation::Checksum => {}
        }
    }

    fn scan(&mut self, ticket: u64, partition: PartitionId, epoch: Epoch, scan: Scan) {
        let (engine, sender) = (Arc::clone(&self.ports.engine), self.ports.sender.clone());
        let begun = self.ports.workers.read(move || {
            let result = match engine.scan(partition.to_u64(), &scan) {
                Ok(page) => Ok(Answer::Page {
                    rows: page.rows,
                    more: page.more,
                }),
                Err(error) => {
                    let what = "a range could not be read";
                    sender.send_blocking(Event::Met {
                        partition,
                        error,
                        what,
                    });
                    Err(Failure::Stopped)
                }
            };
            sender.send_blocking(Event::Answered {
                ticket,
                reply: Reply { epoch, result },
            });
        });
        if !begun {
            self.answer(
                ticket,
                Reply {
                    epoch,
                    result: Err(Failure::Busy),
                },
            );
        }
    }

    /// Ends a request.
    pub(super) fn answer(&mut self, ticket: u64, mut reply: Reply) {
        let Some(request) = self.ports.requests.remove(&ticket) else {
            return;
        };
        self.ports.waiting_bytes -= request.operation.cost();
        let certain = matches!(reply.result, Err(Failure::RequestMismatch));
        if reply.result.is_err() && request.maybe_appended && !certain {
            reply.result = Err(Failure::Unknown);
        }
        match request.reply_to {
            ReplyTo::Local(waiter) => {
                let by = match request.stage {
                    Stage::Forwarded(node) => node,
                    Stage::Parked | Stage::Core => self.ports.me.member,
                };
                // The client may have gone away.
                let _ = waiter.send((by, reply));
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
                self.ports.links.tell(node.member, &message);
            }
        }
    }

    /// The request waits for a primary; one from a peer is given back.
    pub(super) fn park(&mut self, ticket: u64, maybe_appended: bool) {
        let Some(request) = self.ports.requests.get_mut(&ticket) else {
            return;
        };
        request.maybe_appended |= maybe_appended;
        request.stage = Stage::Parked;
        if matches!(request.reply_to, ReplyTo::Peer { .. }) {
            let failure = if maybe_appended {
                Failure::Unknown
            } else {
                Failure::NotHere
            };
            self.fail(ticket, failure);
        }
    }

    /// The map moved on: replicas follow, waiting requests are looked at again.
    pub(super) fn follow(&mut self, map: Arc<ClusterMap>) {
        if map.version <= self.ports.map.version && self.ports.map.is_founded() {
            return;
        }
        let before = std::mem::replace(&mut self.ports.map, map);
        let now = Arc::clone(&self.ports.map);
        self.ports.links.follow(&now);
        self.follow_assignments(&before, &now);
        for (ticket, request) in &self.ports.requests {
            let office = now.assignment(request.partition).and_then(|a| a.primary);
            let moved = match request.stage {
                Stage::Parked => true,
                Stage::Core => false,
                Stage::Forwarded(to) => {
                    !request.operation.is_eventual()
                        && (office.map(|o| o.member) != Some(to)
                            || before.assignment(request.partition).and_then(|a| a.primary)
                                != office)
                }
            };
            if moved {
                self.ports.again.push(*ticket);
            }
        }
    }

    /// A replica of this node began to serve.
    pub(super) fn wake_parked(&mut self, partition: PartitionId) {
        for (ticket, request) in &self.ports.requests {
            if request.partition == partition && request.stage == Stage::Parked {
                self.ports.again.push(*ticket);
            }
        }
    }

    /// Dispatches what was marked in this turn.
    pub(super) fn look_again(&mut self) {
        let again = std::mem::take(&mut self.ports.again);
        for ticket in again {
            let parked_or_moved = self
                .ports
                .requests
                .get(&ticket)
                .is_some_and(|request| request.stage != Stage::Core);
            if parked_or_moved {
                self.dispatch(ticket);
            }
        }
    }

    /// Answers requests whose deadline has passed, and tries parked ones again.
    pub(super) fn expire(&mut self, now: Instant) {
        let mut late = Vec::new();
        for (ticket, request) in &mut self.ports.requests {
            if request.deadline <= now {
                request.leave();
                late.push(*ticket);
            } else if request.stage == Stage::Parked {
                self.ports.again.push(*ticket);
            }
        }
        for ticket in late {
            self.fail(ticket, Failure::Deadline);
        }
    }

    /// Ends the requests that are with a replica which has stopped.
    pub(super) fn fail_at_core(&mut self, partition: PartitionId, failure: Failure) {
        let mut stuck = Vec::new();
        for (ticket, request) in &mut self.ports.requests {
            if request.partition == partition && request.stage == Stage::Core {
                request.maybe_appended |= matches!(request.operation, Operation::Write { .. });
                stuck.push(*ticket);
            }
        }
        let epoch = self.epoch_of(partition);
        for ticket in stuck {
            self.answer(
                ticket,
                Reply {
                    epoch,
                    result: Err(failure),
                },
            );
        }
    }

    /// The linearizable read of the map is back.
    pub(super) fn map_read(
        &mut self,
        rounds: Vec<(PartitionId, u64)>,
        map: Option<Arc<ClusterMap>>,
    ) {
        self.ports.map_reading = false;
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
