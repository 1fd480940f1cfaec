//! The coordinator of a node: takes requests for any partition of an active table, asks all its
//! replicas at once and answers when enough of them have answered. Knows nothing of how a replica
//! keeps a row, and of connections.

mod answers;
mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tablestore_placement::{Epoch, PartitionId, StorageId};

pub use self::answers::{Change, Input, Output, ReadFailed, WriteFailed};

use self::read::PendingRead;
use self::write::{PendingWrite, WriteRequest};
use super::clock::{Clock, Moment};
use super::hints::{HintStatus, Hints};
use super::message::{Message, Origin, Refusal, RequestNumber};
use super::row::Row;
use super::settings::{Settings, whole_ms};
use super::view::View;
use crate::types::Now;

/// What waits under a number.
#[derive(Debug)]
enum Pending {
    Write(PendingWrite),
    Read(PendingRead),
}

/// The coordinator of a node.
#[derive(Debug)]
pub struct Coordinator {
    settings: Settings,
    incarnation: u64,
    clock: Clock,
    bound_asked_ms: u64,
    views: BTreeMap<PartitionId, View>,
    /// Members that the host holds unreachable: nothing is sent to them.
    unreachable: BTreeSet<StorageId>,
    number: u64,
    pending: BTreeMap<u64, Pending>,
    /// When something is due, by number.
    timers: BTreeSet<(Now, u64)>,
    /// Writes that wait until the clock may stamp; bounded by `requests_max`.
    unstamped: VecDeque<WriteRequest>,
    hints: Hints,
    at: Moment,
    outputs: VecDeque<Output>,
}

impl Coordinator {
    /// The coordinator of a node as it starts. `bound_ms` is what [`Output::PersistBound`] last
    /// made durable, 0 on a new node.
    #[must_use]
    pub fn new(settings: Settings, me: StorageId, incarnation: u64, bound_ms: u64) -> Self {
        let reserve_ms = whole_ms(settings.bound_reserve);
        Self {
            settings,
            incarnation,
            clock: Clock::new(me, bound_ms, reserve_ms, settings.drift_max_ms()),
            bound_asked_ms: 0,
            views: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            number: 0,
            pending: BTreeMap::new(),
            timers: BTreeSet::new(),
            unstamped: VecDeque::new(),
            hints: Hints::default(),
            at: Moment::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, at: Moment, input: Input) {
        self.at = Moment {
            now: at.now.max(self.at.now),
            wall_ms: at.wall_ms,
        };
        self.dispatch(input);
        self.run_timers();
        self.replay_hints();
        self.want_bound();
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `Input::Tick` is due if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        let timer = self.timers.first().map(|timer| timer.0);
        let unstamped = self.unstamped.front().map(|request| request.deadline);
        [timer, unstamped, self.hints.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What became of hints so far.
    #[must_use]
    pub fn hints(&self) -> HintStatus {
        self.hints.status()
    }

    fn dispatch(&mut self, input: Input) {
        match input {
            Input::View { partition, view } => self.on_view(partition, view),
            Input::Gone { partition } => self.on_gone(partition),
            Input::Write {
                ticket,
                partition,
                key,
                change,
                quorum,
            } => self.on_write(WriteRequest {
                ticket,
                partition,
                key,
                change,
                quorum,
                deadline: self.at.now + self.settings.request_timeout,
            }),
            Input::Read {
                ticket,
                partition,
                key,
                quorum,
                strong,
            } => self.on_read(ticket, partition, key, quorum, strong),
            Input::Message { from, message } => self.on_message(from, message),
            Input::NotSent { to, request } => self.on_not_sent(to, request),
            Input::Reachable { member, reachable } => self.on_reachable(member, reachable),
            Input::BoundPersisted { bound_ms } => {
                self.clock.bound_persisted(bound_ms);
                self.stamp_waiting();
            }
            Input::Tick => {}
        }
    }

    fn on_view(&mut self, partition: PartitionId, view: View) {
        let known = self.views.get(&partition).map(|known| known.epoch);
        if known >= Some(view.epoch) {
            return;
        }
        self.views.insert(partition, view);
        let numbers: Vec<u64> = self.pending.keys().copied().collect();
        for number in numbers {
            match self.pending.get(&number) {
                Some(Pending::Write(write)) if write.partition == partition => {
                    self.send_write(number);
                    self.advance_write(number);
                }
                Some(Pending::Read(read)) if read.partition == partition => {
                    self.restart_read(number);
                }
                _ => {}
            }
        }
    }

    /// Hints for it are dropped when their turn comes, as nobody is a replica.
    fn on_gone(&mut self, partition: PartitionId) {
        self.views.remove(&partition);
        let is_of = |pending: &Pending| match pending {
            Pending::Write(write) => write.partition == partition,
            Pending::Read(read) => read.partition == partition,
        };
        let gone = self.pending.extract_if(.., |_, pending| is_of(pending));
        for (_, pending) in gone {
            let answer = match pending {
                Pending::Write(write) => write.into_lost_answer(),
                Pending::Read(read) => read.into_lost_answer(),
            };
            self.outputs.extend(answer);
        }
        let waiting = std::mem::take(&mut self.unstamped);
        for request in waiting {
            if request.partition == partition {
                let (ticket, result) = (request.ticket, Err(WriteFailed::Busy));
                self.outputs.push_back(Output::WriteDone { ticket, result });
            } else {
                self.unstamped.push_back(request);
            }
        }
    }

    fn on_reachable(&mut self, member: StorageId, reachable: bool) {
        if reachable {
            self.unreachable.remove(&member);
            self.hints.hurry(self.at.now, member);
        } else {
            self.unreachable.insert(member);
        }
    }

    fn on_message(&mut self, from: StorageId, message: Message) {
        let request = match &message {
            Message::Written { request }
            | Message::Found { request, .. }
            | Message::Refused { request, .. } => *request,
            _ => return,
        };
        if request.incarnation != self.incarnation {
            return;
        }
        if self.unreachable.contains(&from) {
            self.on_reachable(from, true);
        }
        let number = request.number;
        match (message, self.pending.get(&number)) {
            (Message::Written { .. }, Some(Pending::Write(_))) => self.on_written(from, number),
            (Message::Written { .. }, Some(Pending::Read(_))) => self.on_repaired(from, number),
            (Message::Written { .. }, None) => {
                self.hints.taken(from, number);
            }
            (Message::Found { row, floor, .. }, Some(Pending::Read(_))) => {
                self.on_found(from, number, row, floor);
            }
            (Message::Refused { why, .. }, Some(pending)) => {
                let (is_write, partition) = match pending {
                    Pending::Write(write) => (true, write.partition),
                    Pending::Read(read) => (false, read.partition),
                };
                if matches!(why, Refusal::OlderEpoch | Refusal::NotAReplica) {
                    self.outputs.push_back(Output::RefreshView { partition });
                }
                if is_write {
                    self.on_write_refused(from, number, why);
                } else {
                    self.on_read_refused(number, why);
                }
            }
            (Message::Refused { why, .. }, None) => {
                if matches!(why, Refusal::BelowFloor | Refusal::NotAReplica) {
                    self.hints.refused(from, number);
                }
            }
            _ => {}
        }
    }

    fn run_timers(&mut self) {
        let now = self.at.now;
        while let Some((when, number)) = self.timers.first().copied() {
            if when > now {
                break;
            }
            self.timers.remove(&(when, number));
            match self.pending.get(&number) {
                Some(Pending::Write(_)) => self.on_write_timer(number),
                Some(Pending::Read(_)) => self.on_read_timer(number),
                None => {}
            }
        }
        while let Some(request) = self.unstamped.pop_front_if(|first| first.deadline <= now) {
            let result = Err(WriteFailed::NotApplied(None));
            let ticket = request.ticket;
            self.outputs.push_back(Output::WriteDone { ticket, result });
        }
    }

    fn replay_hints(&mut self) {
        for (member, number, hint) in self.hints.due(&self.settings, self.at.now) {
            if self.unreachable.contains(&member) {
                continue;
            }
            let view = self.views.get(&hint.partition);
            let Some(view) = view.filter(|view| view.members().contains(&member)) else {
                self.hints.refused(member, number);
                continue;
            };
            let epoch = view.epoch;
            let (key, change) = (hint.key, hint.change);
            self.send_change(
                hint.partition,
                member,
                (number, epoch),
                key,
                change,
                Origin::Hint,
            );
        }
    }

    fn want_bound(&mut self) {
        let Some(bound_ms) = self.clock.bound_wanted(self.at.wall_ms) else {
            return;
        };
        let is_far = bound_ms > self.bound_asked_ms + whole_ms(self.settings.bound_reserve) / 4;
        if is_far && (!self.unstamped.is_empty() || !self.pending.is_empty()) {
            self.bound_asked_ms = bound_ms;
            self.outputs.push_back(Output::PersistBound { bound_ms });
        }
    }

    /// A new number with something behind it that is looked at again at the given time.
    fn begin(&mut self, pending: Pending) -> u64 {
        self.number += 1;
        self.pending.insert(self.number, pending);
        self.number
    }

    fn wake(&mut self, when: Now, number: u64) {
        self.timers.insert((when, number));
    }

    fn is_crowded(&self) -> bool {
        self.pending.len() + self.unstamped.len() >= self.settings.requests_max
    }

    fn request(&self, number: u64) -> RequestNumber {
        RequestNumber {
            incarnation: self.incarnation,
            number,
        }
    }

    fn send_change(
        &mut self,
        partition: PartitionId,
        to: StorageId,
        (number, epoch): (u64, Epoch),
        key: Bytes,
        change: Row,
        origin: Origin,
    ) {
        let message = Message::Write {
            request: self.request(number),
            epoch,
            key,
            change,
            origin,
        };
        self.outputs.push_back(Output::Send {
            to,
            partition,
            message,
        });
    }
}
