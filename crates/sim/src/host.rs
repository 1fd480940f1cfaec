//! What a node does for its replicas: carries their outputs out and brings their inputs.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tablestore_placement::{Epoch, Office, StorageId};
use tablestore_replication::{Input, Message, Output, codec};

use crate::authority::{InSyncProposal, MapCopy, slot_of};
use crate::engine::{Snapshot, list_hash};
use crate::event::{Event, Process, Reply, Slot};
use crate::ways::way_of;
use crate::world::{MS, World};

impl World {
    /// Gives a replica an input and carries out all that follows.
    pub(crate) fn input(&mut self, slot: Slot, partition: usize, input: Input) {
        if !self.nodes[slot].up {
            return;
        }
        if self.trace.is_some() {
            let what = format!("{input:?}");
            self.tell(|_| format!("n{slot}/{partition} <- {}", shorten(&what)));
        }
        let crowded = self.crowded();
        let now = self.nodes[slot].now(self.now);
        let replica = &mut self.nodes[slot].hosted[partition].replica;
        replica.set_crowded(&crowded);
        replica.handle(now, input);
        while let Some(output) = self.nodes[slot].hosted[partition].replica.poll_output() {
            if self.trace.is_some() {
                let what = format!("{output:?}");
                self.tell(|_| format!("n{slot}/{partition} -> {}", shorten(&what)));
            }
            self.carry_out(slot, partition, output);
        }
        self.schedule_sync(slot);
        self.schedule_wake(slot, partition);
    }

    /// Members to which so much is on the way that entries have to wait.
    fn crowded(&mut self) -> Vec<StorageId> {
        if self.healing || !self.chance.happens(self.scenario.crowded_per_mille) {
            return Vec::new();
        }
        let members: Vec<_> = self.nodes.iter().map(|n| n.office().member).collect();
        self.chance.pick(&members).into_iter().collect()
    }

    fn schedule_sync(&mut self, slot: Slot) {
        let node = &mut self.nodes[slot];
        if node.disk.begin_sync() {
            let took = self.chance.between(node.sync_us / 2, node.sync_us * 2);
            let process = node.process();
            self.queue.push(self.now + took, Event::SyncDone(process));
        }
    }

    fn schedule_wake(&mut self, slot: Slot, partition: usize) {
        let node = &mut self.nodes[slot];
        let process = node.process();
        let started = self.now - node.now(self.now).as_micros() as u64;
        let hosted = &mut node.hosted[partition];
        // Rounded up: a deadline is never met early.
        let deadline = hosted.replica.next_deadline();
        let deadline = deadline.map(|at| started + at.as_micros() as u64 + 1);
        let held_back = hosted.replica.is_held_back();
        let room = held_back.then(|| self.now + self.chance.between(100, 20 * MS));
        let Some(at) = deadline.into_iter().chain(room).min() else {
            return;
        };
        let at = at.max(self.now + 1);
        if hosted.wake_at.is_none_or(|wake_at| at < wake_at) {
            hosted.wake_at = Some(at);
            let wake = Event::Wake {
                process,
                partition,
                at,
            };
            self.queue.push(at, wake);
        }
    }

    pub(crate) fn wake(&mut self, process: Process, partition: usize, at: u64) {
        let hosted = &mut self.nodes[process.slot].hosted[partition];
        if hosted.wake_at == Some(at) {
            hosted.wake_at = None;
            self.input(process.slot, partition, Input::Tick);
        }
    }

    fn carry_out(&mut self, slot: Slot, partition: usize, output: Output) {
        if let Some(way) = way_of(&output) {
            self.took(way);
        }
        match output {
            Output::Persist { token, record } => {
                self.nodes[slot].disk.push(partition, token, record);
            }
            Output::Send { to, message } => self.send(slot, partition, to, &message),
            Output::Apply { entries } => {
                let who = format!("n{slot}/{partition}");
                self.checker.applies(partition, &entries, &who);
                let hosted = &mut self.nodes[slot].hosted[partition];
                let engine = &mut hosted.engine;
                let results = entries
                    .iter()
                    .filter_map(|entry| Some((entry.index, engine.apply(entry)?)))
                    .collect();
                let now = self.nodes[slot].now(self.now);
                let replica = &mut self.nodes[slot].hosted[partition].replica;
                replica.handle(now, Input::Applied { results });
            }
            Output::WriteDone { ticket, result } => {
                let reply = match result {
                    Ok(written) => Reply::Written {
                        position: written.outcome.version as usize,
                    },
                    Err(refused) => Reply::WriteRefused(refused),
                };
                self.reply(slot, partition, ticket, reply);
            }
            Output::ReadReady { ticket, .. } => {
                let hosted = &self.nodes[slot].hosted[partition];
                let key = hosted.tickets.get(&ticket).map_or(0, |request| request.key);
                let list = hosted.engine.list(key);
                let reply = Reply::Read {
                    length: list.len(),
                    hash: list_hash(list),
                };
                self.reply(slot, partition, ticket, reply);
            }
            Output::ReadRefused { ticket, .. } => {
                self.reply(slot, partition, ticket, Reply::ReadRefused);
            }
            other => self.carry_out_requests(slot, partition, other),
        }
    }

    fn carry_out_requests(&mut self, slot: Slot, partition: usize, output: Output) {
        let process = self.nodes[slot].process();
        match output {
            Output::ConfirmByMap { round } => {
                let at = self.now + self.control_delay();
                let read = Event::ReadMap {
                    process,
                    partition,
                    round,
                };
                self.queue.push(at, read);
            }
            Output::Propose {
                epoch,
                version,
                in_sync,
                joiner,
            } => {
                // The session to the joiner knows its incarnation.
                let joiner = joiner.map(|storage| {
                    let joined = self.nodes[slot_of(storage)].office();
                    (storage, joined.incarnation)
                });
                let proposal = InSyncProposal {
                    partition,
                    epoch,
                    version,
                    office: self.nodes[slot].office(),
                    in_sync,
                    joiner,
                };
                if self.reaches_control(slot) {
                    let at = self.now + self.control_delay();
                    self.queue.push(at, Event::Propose { process, proposal });
                }
            }
            Output::ReadLog {
                from,
                to,
                bytes_max,
            } => {
                let entries = self.nodes[slot].disk.logs[partition].read(from, to, bytes_max);
                let at = self.now + self.chance.between(100, 2 * MS);
                let read = Event::LogRead {
                    process,
                    partition,
                    from,
                    entries,
                };
                self.queue.push(at, read);
            }
            other => self.carry_out_rest(slot, partition, other),
        }
    }

    fn carry_out_rest(&mut self, slot: Slot, partition: usize, output: Output) {
        let process = self.nodes[slot].process();
        match output {
            Output::SendSnapshot { to, epoch } => {
                let node = &self.nodes[slot];
                let meta = node.hosted[partition].replica.snapshot_meta();
                let snapshot = Snapshot::new(node.state(partition), meta);
                let at = self.now + self.chance.between(MS, 30 * MS);
                let arrives = Event::SnapshotArrives {
                    to,
                    from: self.nodes[slot].office(),
                    sender: process,
                    partition,
                    epoch,
                    snapshot: Rc::new(snapshot),
                };
                self.queue.push(at, arrives);
            }
            Output::InstallSnapshot { .. } => {
                let hosted = &mut self.nodes[slot].hosted[partition];
                hosted.installing = hosted.offered.take();
                let at = self.now + self.chance.between(MS, 20 * MS);
                self.queue
                    .push(at, Event::SnapshotSwitched { process, partition });
            }
            Output::DropSnapshot { .. } => {
                self.nodes[slot].hosted[partition].offered = None;
            }
            Output::RoleChanged { serving: true, .. } => self.fail_overs += 1,
            Output::Halted { invariant } => {
                self.checker
                    .fail(|| format!("n{slot}/{partition} halted: {invariant}"));
            }
            _ => {}
        }
    }

    fn reaches_control(&self, slot: Slot) -> bool {
        self.control_plane_up && self.network.reaches_control(slot)
    }

    fn control_delay(&mut self) -> u64 {
        if self.chance.happens(50) {
            self.chance.between(MS, 100 * MS)
        } else {
            self.chance.between(300, 5 * MS)
        }
    }

    fn send(&mut self, slot: Slot, partition: usize, to: StorageId, message: &Message) {
        let mut bytes = BytesMut::new();
        codec::encode(message, &mut bytes);
        let message = bytes.freeze();
        let from = self.nodes[slot].office();
        let arrivals = self
            .network
            .arrivals(self.now, slot, slot_of(to), &mut self.chance);
        for at in arrivals {
            let deliver = Event::Deliver {
                to,
                from,
                partition,
                message: message.clone(),
            };
            self.queue.push(at, deliver);
        }
    }

    pub(crate) fn deliver(&mut self, to: StorageId, from: Office, partition: usize, bytes: Bytes) {
        let slot = slot_of(to);
        let node = &self.nodes[slot];
        if !node.up || node.storage() != to || !self.network.passes(slot_of(from.member), slot) {
            return;
        }
        if node.paused_until > self.now {
            let at = node.paused_until;
            let deliver = Event::Deliver {
                to,
                from,
                partition,
                message: bytes,
            };
            self.queue.push(at, deliver);
            return;
        }
        match codec::decode(bytes) {
            Ok(message) => self.input(slot, partition, Input::Message { from, message }),
            Err(error) => self
                .checker
                .fail(|| format!("a message does not decode: {error}")),
        }
    }

    pub(crate) fn sync_done(&mut self, process: Process) {
        let tokens = self.nodes[process.slot].disk.end_sync();
        for (partition, token) in tokens {
            self.input(process.slot, partition, Input::Persisted { token });
        }
        self.schedule_sync(process.slot);
    }

    pub(crate) fn map_update(&mut self, process: Process, map: &Rc<MapCopy>) {
        let slot = process.slot;
        if map.version <= self.nodes[slot].map_version {
            return;
        }
        self.nodes[slot].map_version = map.version;
        for partition in 0..self.scenario.partitions {
            self.input(slot, partition, Input::Assignment(map.view(partition)));
        }
    }

    pub(crate) fn snapshot_arrives(
        &mut self,
        to: StorageId,
        from: Office,
        sender: Process,
        partition: usize,
        epoch: Epoch,
        snapshot: Rc<Snapshot>,
    ) {
        let slot = slot_of(to);
        let node = &mut self.nodes[slot];
        let passes = self.network.passes(sender.slot, slot) && node.paused_until <= self.now;
        let delivered = node.up && node.storage() == to && passes;
        let index = snapshot.meta.index;
        let sent = Event::SnapshotSent {
            sender,
            to,
            partition,
            delivered: delivered.then_some(index),
        };
        self.queue.push(self.now + MS, sent);
        if delivered {
            let meta = snapshot.meta.clone();
            if node.hosted[partition].installing.is_none() {
                node.hosted[partition].offered = Some(snapshot);
            }
            let offered = Input::SnapshotOffered { from, epoch, meta };
            self.input(slot, partition, offered);
        }
    }

    pub(crate) fn snapshot_switched(&mut self, slot: Slot, partition: usize) {
        let node = &mut self.nodes[slot];
        let Some(snapshot) = node.hosted[partition].installing.take() else {
            return;
        };
        node.hosted[partition].engine = snapshot.checkpoint.engine.clone();
        node.disk.checkpoints[partition] = snapshot.checkpoint.clone();
        let installed = Input::SnapshotInstalled {
            meta: snapshot.meta.clone(),
            remembered: snapshot.checkpoint.remembered.clone(),
        };
        self.input(slot, partition, installed);
    }

    pub(crate) fn check_peer(&mut self, process: Process, peer: Slot) {
        let member = self.nodes[peer].storage();
        let input = if self.has_session(process, peer) {
            Input::PeerUp(member)
        } else {
            Input::PeerDown(member)
        };
        for partition in 0..self.scenario.partitions {
            self.input(process.slot, partition, input.clone());
        }
    }

    /// Checkpoints and trims the log.
    pub(crate) fn housekeeping(&mut self, process: Process) {
        let slot = process.slot;
        for partition in 0..self.scenario.partitions {
            if self.chance.happens(500) {
                self.nodes[slot].checkpoint(partition);
            }
            if self.chance.happens(self.scenario.trim_per_mille) {
                let node = &mut self.nodes[slot];
                let applied = node.disk.checkpoints[partition].engine.applied;
                let needed = node.hosted[partition].replica.log_needed_from();
                let first = needed.min(applied + 1);
                if node.disk.logs[partition].trim(first) {
                    let first = node.disk.logs[partition].first();
                    self.input(slot, partition, Input::LogTrimmed { first });
                }
            }
        }
        let at = self.now + self.chance.between(50 * MS, 300 * MS);
        self.queue.push(at, Event::Housekeeping(process));
    }
}

/// Long lines hide what matters.
fn shorten(line: &str) -> String {
    line.chars().take(360).collect()
}
