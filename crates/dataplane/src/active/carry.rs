//! The turns of active replicas and of the coordinator: what happens goes in, and all that they
//! then ask for is carried out. Knows nothing of what they decide.

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};
use tablestore_replication::active::coordinator::{Input as Asked, Output as Says};
use tablestore_replication::active::replica::{Input, Output, Record as StoredRecord};
use tablestore_replication::active::{Message, Moment, Origin, Refusal, Rows as _};
use tablestore_store::{Engine, Meta};

use super::CLOCK_PARTITION;
use super::entry::encode;
use super::request::{ActiveRequest, found, written};
use crate::journal::Record;
use crate::plane::Plane;
use crate::progress::ReplicaProgress;
use crate::request::{Answer, Failure, Reply};
use crate::unsynced::Waiting;
use crate::wire::DataMessage;

/// Keys that a replica keeps in memory for the comparison with others: about 100 MB of them.
/// Beyond it clients add no rows to the partition.
const KEYS_MAX: usize = 1_000_000;
/// Bytes of a row to which patches still add attributes: a quarter of the longest message, since
/// what is merged at once at several nodes adds up.
const ROW_BYTES_MAX: usize = 1 << 20;

impl<E: Engine, W> Plane<E, W> {
    /// Takes in what a client of this node asks of an active table.
    pub(crate) fn admit_active(
        &mut self,
        partition: PartitionId,
        request: ActiveRequest,
        waiter: W,
    ) {
        let active = &mut self.active;
        active.last_ticket += 1;
        let ticket = active.last_ticket;
        let waiting = self.requests.len() + active.waiting.len();
        let full = waiting >= self.settings.waiting_max;
        active.waiting.insert(ticket, (partition, waiter));
        let stamps = matches!(request, ActiveRequest::Write { .. });
        let refused = match () {
            () if full => Some(Failure::Busy),
            () if self.failed => Some(Failure::Stopped),
            () if stamps && active.clock_is_off => Some(Failure::ClockOff),
            () => None,
        };
        if let Some(failure) = refused {
            return self.answer_active(ticket, Err(failure));
        }
        self.coordinate(request.input(partition, ticket));
        self.deliver_to_itself();
    }

    /// What another node says about an active partition.
    pub(crate) fn active_message(
        &mut self,
        from: StorageId,
        partition: PartitionId,
        message: Message,
    ) {
        self.hear(from, partition, message);
        self.deliver_to_itself();
    }

    /// The journal made records durable up to this position.
    pub(crate) fn active_persisted(&mut self, position: u64) {
        let active = &mut self.active;
        while (active.emptied.pop_front_if(|(at, _)| *at <= position)).is_some() {}
        let mut bound = None;
        while let Some((_, ms)) = active.bounds.pop_front_if(|(at, _)| *at <= position) {
            bound = Some(ms);
        }
        let hosted = &active.hosted;
        let life_of = |partition| hosted.get(&partition).map(|hosted| hosted.life);
        let newest = active.unsynced.reached(position, life_of);
        if let Some(bound_ms) = bound {
            self.coordinate(Asked::BoundPersisted { bound_ms });
        }
        for (partition, token) in newest {
            let Some(hosted) = self.active.hosted.get_mut(&partition) else {
                continue;
            };
            if hosted.stopped.is_some() {
                continue;
            }
            if let Err(error) = hosted.rows.synced(token) {
                self.stop_active(partition, error.to_string());
                continue;
            }
            let bytes = self.engine.memory_bytes_of(partition.to_u64());
            self.flushing.applied(partition, bytes);
            self.feed_active(partition, Input::Persisted { token });
        }
        self.deliver_to_itself();
    }

    /// The way to a peer is open or lost.
    pub(crate) fn active_peer_changed(&mut self, member: StorageId, reachable: bool) {
        self.coordinate(Asked::Reachable { member, reachable });
        self.deliver_to_itself();
    }

    /// Tells the time to whom it is due, and notes who wants to be told next.
    pub(crate) fn end_active_turn(&mut self) {
        let now = self.now.since_start;
        while let Some(partition) = self.active.timers.due(now) {
            let Some(hosted) = self.active.hosted.get_mut(&partition) else {
                continue;
            };
            hosted.wakes_at = None;
            let is_due = hosted.replica.next_deadline().is_some_and(|at| at <= now);
            if is_due {
                self.feed_active(partition, Input::Tick);
            } else if !std::mem::replace(&mut hosted.touched, true) {
                self.active.touched.push(partition);
            }
        }
        let deadline = self.active.coordinator.next_deadline();
        if deadline.is_some_and(|at| at <= now) {
            self.coordinate(Asked::Tick);
        }
        self.deliver_to_itself();
        while let Some(partition) = self.active.touched.pop() {
            self.note_rebuilding(partition);
            self.ask_to_join(partition);
            if let Some(hosted) = self.active.hosted.get_mut(&partition) {
                hosted.touched = false;
                let wanted = hosted.replica.next_deadline();
                let timers = &mut self.active.timers;
                timers.want(partition, &mut hosted.wakes_at, wanted);
            }
        }
    }

    /// Gives one input to a replica and carries out all that it then asks for.
    pub(super) fn feed_active(&mut self, partition: PartitionId, input: Input) {
        let at = self.moment();
        let Some(hosted) = self.active.hosted.get_mut(&partition) else {
            return;
        };
        if hosted.stopped.is_some() {
            return;
        }
        let before = hosted.replica.tally();
        hosted.replica.handle(at, input, &hosted.rows);
        let after = hosted.replica.tally();
        self.counts.sweeps += after.sweeps - before.sweeps;
        self.counts.sweeps_failed += after.sweeps_failed - before.sweeps_failed;
        self.counts.sweep_rows += after.rows_taken - before.rows_taken;
        if !std::mem::replace(&mut hosted.touched, true) {
            self.active.touched.push(partition);
        }
        if hosted.rows.has_failed() {
            return self.stop_active(partition, "a row could not be read".to_owned());
        }
        let mut sends = Vec::new();
        while let Some(output) = hosted.replica.poll_output() {
            match output {
                Output::Persist { token, record } => {
                    hosted.end += 1;
                    if let StoredRecord::Row { key, row } = &record {
                        self.watched.kept(partition, hosted.end, (key, row));
                    }
                    let (data, stored) = encode(record);
                    hosted.rows.keep(token, hosted.end, stored);
                    self.out.journal.push(Record::Entry {
                        partition: partition.to_u64(),
                        epoch: hosted.replica.meta().epoch.0,
                        index: hosted.end,
                        data,
                    });
                    self.active.unsynced.push(Waiting {
                        position: self.unsynced.next_position(),
                        partition,
                        life: hosted.life,
                        token,
                    });
                }
                Output::Send { to, message } => sends.push((to, message)),
                // The map comes by itself.
                Output::RefreshView => {}
            }
        }
        for (to, message) in sends {
            self.send_active(to, partition, message);
        }
    }

    /// Gives one input to the coordinator and carries out all that it then asks for.
    pub(super) fn coordinate(&mut self, input: Asked) {
        let at = self.moment();
        self.active.coordinator.handle(at, input);
        let mut not_sent = Vec::new();
        while let Some(output) = self.active.coordinator.poll_output() {
            match output {
                Says::Send {
                    to,
                    partition,
                    message,
                } => {
                    let request = match &message {
                        Message::Write { request, .. } => Some(*request),
                        _ => None,
                    };
                    if !self.send_active(to, partition, message) {
                        not_sent.extend(request.map(|request| Asked::NotSent { to, request }));
                    }
                }
                Says::WriteDone { ticket, result } => {
                    self.counts.writes += u64::from(result.is_ok());
                    self.answer_active(ticket.0, written(result));
                }
                Says::ReadDone { ticket, result } => {
                    self.counts.reads += u64::from(result.is_ok());
                    self.answer_active(ticket.0, found(result));
                }
                Says::PersistBound { bound_ms } => {
                    let position = self.record(Record::Meta {
                        partition: CLOCK_PARTITION,
                        meta: Meta {
                            adopted: bound_ms,
                            ..Meta::default()
                        },
                    });
                    self.active.bounds.push_back((position, bound_ms));
                }
                // The map comes by itself.
                Says::RefreshView { .. } => {}
            }
        }
        for input in not_sent {
            // Says nothing in turn.
            self.active.coordinator.handle(at, input);
        }
    }

    fn hear(&mut self, from: StorageId, partition: PartitionId, message: Message) {
        if message.is_for_coordinator() {
            return self.coordinate(Asked::Message { from, message });
        }
        if let Some(answer) = self.refusal(partition, &message) {
            self.send_active(from, partition, answer);
            return;
        }
        self.feed_active(partition, Input::Message { from, message });
    }

    /// The answer to a client's write for which there is no room here. Deletions go on.
    fn refusal(&self, partition: PartitionId, message: &Message) -> Option<Message> {
        let Message::Write {
            request,
            key,
            change,
            origin: Origin::Client,
            ..
        } = message
        else {
            return None;
        };
        let hosted = self.active.hosted.get(&partition)?;
        if change.mark().is_some_and(|mark| mark.is_delete) {
            return None;
        }
        let (keys, is_known) = hosted.rows.keys_with(key);
        let is_patch = change.mark().is_none() && is_known;
        let is_large = || is_patch && hosted.rows.row(key).size() + change.size() > ROW_BYTES_MAX;
        let is_crowded = !is_known && keys >= KEYS_MAX;
        let why = if self.is_disk_full() {
            Refusal::NoRoom
        } else if is_crowded || is_large() {
            Refusal::Busy
        } else {
            return None;
        };
        Some(Message::Refused {
            request: *request,
            why,
        })
    }

    /// Whether the message is on its way. One for a peer that takes nothing is dropped: the core
    /// repeats it, or keeps a hint.
    fn send_active(&mut self, to: StorageId, partition: PartitionId, message: Message) -> bool {
        if to == self.me.member {
            self.active.inbox.push_back((partition, message));
            return true;
        }
        if !self.links.is_up(to) || self.links.crowded().binary_search(&to).is_ok() {
            return false;
        }
        let message = DataMessage::Active { partition, message };
        self.links.tell(to, &message);
        true
    }

    /// What this node says to itself. It ends: an answer is never answered.
    pub(crate) fn deliver_to_itself(&mut self) {
        let me = self.me.member;
        while let Some((partition, message)) = self.active.inbox.pop_front() {
            self.hear(me, partition, message);
        }
    }

    fn answer_active(&mut self, ticket: u64, result: Result<Answer, Failure>) {
        let Some((partition, waiter)) = self.active.waiting.remove(&ticket) else {
            return;
        };
        match &result {
            Ok(Answer::Written { .. }) => self.counts.active_writes += 1,
            Ok(_) => self.counts.active_reads += 1,
            Err(_) => self.counts.active_failed += 1,
        }
        let epoch = self.epoch_of(partition);
        let reply = Reply { epoch, result };
        self.out.answers.push((waiter, self.me.member, reply));
    }

    /// A replica cannot go on. Its log and files stay as they are; the others serve without it.
    pub(super) fn stop_active(&mut self, partition: PartitionId, why: String) {
        tracing::error!(%partition, why, "this replica stops");
        let Some(hosted) = self.active.hosted.get_mut(&partition) else {
            return;
        };
        hosted.stopped = Some(why.clone());
        let shown = ReplicaProgress {
            epoch: hosted.replica.meta().epoch,
            end: hosted.end,
            stopped: Some(why.clone()),
        };
        self.out.progress.push((partition, Some(shown)));
        let notice = crate::Notice::ReplicaStopped { partition, why };
        self.out.notices.push(notice);
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.now.since_start,
            wall_ms: self.now.wall_ms,
        }
    }

    /// The meta of an active replica as a side record of its next checkpoint.
    pub(crate) fn active_side(&self, partition: PartitionId) -> Option<(&'static [u8], Bytes)> {
        let hosted = self.active.hosted.get(&partition)?;
        let mut bytes = bytes::BytesMut::new();
        tablestore_replication::active::wire::encode_meta(hosted.durable_meta(), &mut bytes);
        Some((super::entry::META_NAME, bytes.freeze()))
    }
}
