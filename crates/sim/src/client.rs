//! Clients: one operation after the other, each tried again with the same id on whichever node
//! until it is answered or given up.

use tablestore_replication::{Input, RequestId, Ticket};

use crate::authority::slot_of;
use crate::engine::payload;
use crate::event::{Event, Reply, Request, Slot};
use crate::world::{MS, World};

/// A client gives an operation up after this.
const PATIENCE_US: u64 = 2_000 * MS;

/// The id of a write: the same for all its attempts.
pub(crate) fn request_id(op: u32) -> RequestId {
    RequestId(u128::from(op + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c5d_11b7_4f2b))
}

/// The operation that a client waits for.
#[derive(Clone, Copy, Debug)]
struct Current {
    request: Request,
    give_up_at: u64,
}

/// A client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    current: Option<Current>,
}

impl Client {
    pub(crate) fn is_busy(&self) -> bool {
        self.current.is_some()
    }
}

impl World {
    pub(crate) fn client_starts(&mut self, client: usize) {
        if self.now >= self.scenario.clients_end_us {
            return;
        }
        let partition = self.chance.below(self.scenario.partitions as u64) as usize;
        let key = self.chance.below(self.scenario.keys) as u8;
        let is_write = self.chance.happens(self.scenario.writes_per_mille);
        let op = self.checker.begin(partition, key, is_write);
        let request = Request {
            client,
            op,
            attempt: 0,
            partition,
            key,
            is_write,
        };
        self.clients[client].current = Some(Current {
            request,
            give_up_at: self.now + PATIENCE_US,
        });
        self.attempt(client);
    }

    fn attempt(&mut self, client: usize) {
        let Some(current) = &mut self.clients[client].current else {
            return;
        };
        current.request.attempt += 1;
        let request = current.request;
        let copies = if self.chance.happens(50) { 2 } else { 1 };
        for _ in 0..copies {
            self.checker.operations[request.op as usize].open += 1;
            let to = self.pick_node(request.partition);
            if !self.chance.happens(10) {
                let at = self.now + self.chance.between(100, 2 * MS);
                self.queue.push(at, Event::Arrives { to, request });
            }
        }
        let timeout = self.chance.between(100 * MS, 400 * MS);
        let timed_out = Event::ClientTimesOut {
            client,
            op: request.op,
            attempt: request.attempt,
        };
        self.queue.push(self.now + timeout, timed_out);
    }

    /// Most often the primary as the map has it.
    fn pick_node(&mut self, partition: usize) -> Slot {
        let primary = self.authority.assignments[partition].primary;
        match primary {
            Some(primary) if self.chance.happens(850) => slot_of(primary.member),
            _ => self.chance.below(self.nodes.len() as u64) as usize,
        }
    }

    pub(crate) fn client_answered(&mut self, request: Request, reply: Reply) {
        self.tell(|_| format!("client {}: op {} {reply:?}", request.client, request.op));
        let refused_for_certain = match reply {
            Reply::Written { position } => {
                self.checker.written(request.op, position);
                false
            }
            Reply::Read { length, hash } => {
                self.checker.read(request.op, length, hash);
                false
            }
            Reply::WriteRefused(refused) => !refused.was_appended(),
            Reply::ReadRefused => true,
        };
        if refused_for_certain {
            self.checker.operations[request.op as usize].open -= 1;
        }
        let Some(current) = self.clients[request.client].current else {
            return;
        };
        if current.request.op != request.op {
            return;
        }
        match reply {
            Reply::Written { .. } | Reply::Read { .. } => self.next_operation(request.client),
            _ if current.request.attempt == request.attempt => {
                let pause = self.chance.between(2 * MS, 40 * MS);
                let again = Event::ClientTimesOut {
                    client: request.client,
                    op: request.op,
                    attempt: request.attempt,
                };
                self.queue.push(self.now + pause, again);
            }
            _ => {}
        }
    }

    pub(crate) fn client_times_out(&mut self, client: usize, op: u32, attempt: u32) {
        let Some(current) = self.clients[client].current else {
            return;
        };
        if (current.request.op, current.request.attempt) != (op, attempt) {
            return;
        }
        if self.now < current.give_up_at {
            self.attempt(client);
        } else {
            self.next_operation(client);
        }
    }

    /// A node answers a request.
    pub(crate) fn reply(&mut self, slot: Slot, partition: usize, ticket: Ticket, reply: Reply) {
        let tickets = &mut self.nodes[slot].hosted[partition].tickets;
        if let Some(request) = tickets.remove(&ticket) {
            let at = self.now + self.chance.between(100, MS);
            self.queue.push(at, Event::Answered { request, reply });
        } else {
            self.checker
                .fail(|| format!("n{slot}/{partition} answers {ticket:?} twice"));
        }
    }

    /// A request reaches a node.
    pub(crate) fn request_arrives(&mut self, slot: Slot, request: Request) {
        let node = &mut self.nodes[slot];
        if !node.up {
            return;
        }
        if node.paused_until > self.now {
            let at = node.paused_until;
            self.queue.push(at, Event::Arrives { to: slot, request });
            return;
        }
        let ticket = node.ticket();
        node.hosted[request.partition]
            .tickets
            .insert(ticket, request);
        let input = if request.is_write {
            Input::Write {
                ticket,
                request: request_id(request.op),
                digest: u64::from(request.op) * 31,
                payload: payload(request.key, request.op).into(),
            }
        } else {
            Input::Read { ticket }
        };
        self.input(slot, request.partition, input);
    }

    fn next_operation(&mut self, client: usize) {
        self.clients[client].current = None;
        let pause = self
            .chance
            .between(self.scenario.think_us / 4, self.scenario.think_us);
        let starts = Event::ClientStarts { client };
        self.queue.push(self.now + pause, starts);
    }
}
