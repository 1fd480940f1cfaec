//! A replica in office: takes it, brings the followers in line, commits, serves. Knows nothing
//! of how a follower is sent to (see `follower`) nor of how reads are confirmed (see `confirm`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tablestore_placement::{AssignmentVersion, Epoch, Office, StorageId};

use crate::entry::Entry;
use crate::message::Message;
use crate::mutant::Mutant;
use crate::output::{Output, ReadRefused, WriteRefused};
use crate::replica::confirm::Reads;
use crate::replica::core::Core;
use crate::replica::follower::{Follower, FollowerState};
use crate::replica::in_sync::InSync;
use crate::replica::requests::{InFlight, WaitingRequest, answer};
use crate::types::{Now, Remembered};

/// The state of an office.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) epoch: Epoch,
    /// The index of this epoch's first entry: applied, the inherited log is committed.
    pub(crate) epoch_start: u64,
    pub(crate) serving: bool,
    pub(crate) followers: BTreeMap<StorageId, Follower>,
    pub(crate) in_sync: InSync,
    pub(crate) nonces: u64,
    pub(crate) waiting: VecDeque<WaitingRequest>,
    pub(crate) in_flight: InFlight,
    pub(crate) reads: Reads,
    pub(crate) resigning: Option<Resigning>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resigning {
    Waits,
    Said,
}

impl Primary {
    /// Takes the office that the view gives, in the epoch that was just adopted.
    pub(crate) fn take_office(core: &mut Core) -> Option<Box<Self>> {
        let assignment = core.view.as_ref()?.assignment.clone();
        let epoch_start = core.end() + 1;
        core.append(Entry::epoch_start(core.adopted, epoch_start));
        let mut primary = Box::new(Self {
            epoch: core.adopted,
            epoch_start,
            serving: false,
            followers: BTreeMap::new(),
            in_sync: InSync::new(&assignment),
            nonces: 0,
            waiting: VecDeque::new(),
            in_flight: InFlight::default(),
            reads: Reads::default(),
            resigning: None,
        });
        primary.meet_followers(core);
        Some(primary)
    }

    /// The map shows something new within the epoch. Where versions were passed over, only who is
    /// in sync has certainly been a replica all the time: of the others nothing is known any more.
    pub(crate) fn on_assignment(&mut self, core: &mut Core, passed_over: bool) {
        if let Some(view) = &core.view {
            self.in_sync.on_assignment(&view.assignment);
        }
        if passed_over {
            let stay = &self.in_sync.maximal;
            self.followers.retain(|member, _| stay.contains(member));
        }
        self.meet_followers(core);
    }

    /// Opens sessions to new replicas and forgets those that are none any more.
    fn meet_followers(&mut self, core: &mut Core) {
        let mut wanted: BTreeSet<StorageId> = self.in_sync.maximal.iter().copied().collect();
        if let Some(view) = &core.view {
            wanted.extend(&view.assignment.replicas);
        }
        wanted.remove(&core.me.member);
        self.followers.retain(|member, _| wanted.contains(member));
        for member in wanted {
            let nonces = &mut self.nonces;
            self.followers.entry(member).or_insert_with(|| {
                *nonces += 1;
                let mut follower = Follower::new(member, core.now);
                follower.open_session(core, *nonces);
                follower
            });
        }
        // Whoever had lost what the set counted on, and has left it, begins anew.
        let left = |follower: &Follower| {
            let counts = self.in_sync.maximal.contains(&follower.member);
            follower.state == FollowerState::Lost && !counts
        };
        let left = self.followers.values().filter(|follower| left(follower));
        let left: Vec<StorageId> = left.map(|follower| follower.member).collect();
        for member in left {
            self.open_session(core, member);
        }
    }

    pub(crate) fn open_session(&mut self, core: &mut Core, member: StorageId) {
        if let Some(follower) = self.followers.get_mut(&member) {
            self.nonces += 1;
            follower.open_session(core, self.nonces);
        }
    }

    /// An answer of a follower in this epoch.
    pub(crate) fn on_message(&mut self, core: &mut Core, from: Office, message: Message) {
        let member = from.member;
        let Some(follower) = self.followers.get_mut(&member) else {
            return;
        };
        match message {
            Message::Synced {
                nonce,
                end,
                commit,
                needs_snapshot,
                ..
            } => {
                let snapshot = follower.on_synced(core, from, nonce, end, commit, needs_snapshot);
                if snapshot {
                    self.send_snapshot(core, member);
                }
            }
            Message::Ack {
                end,
                received,
                commit,
                ..
            } => follower.on_ack(core, end, received, commit),
            Message::Gap { end, .. } => follower.on_gap(end),
            Message::NoSession { .. } if follower.state == FollowerState::Streaming => {
                self.open_session(core, member);
            }
            Message::Confirmed { round, .. } => self.reads.on_confirmed(core, member, round),
            _ => {}
        }
    }

    /// A follower has no log to go on from. A member of the in-sync set never gets a snapshot:
    /// it has everything, or it must leave the set first.
    fn send_snapshot(&mut self, core: &mut Core, to: StorageId) {
        let in_sync = self.in_sync.maximal.contains(&to);
        if let Some(follower) = self.followers.get_mut(&to) {
            if in_sync {
                follower.state = FollowerState::Lost;
            } else {
                follower.start_snapshot(core);
            }
        }
    }

    /// A snapshot has been received in full.
    pub(crate) fn on_snapshot_delivered(&mut self, core: &mut Core, to: StorageId, index: u64) {
        let Some(follower) = self.followers.get_mut(&to) else {
            return;
        };
        if follower.state == FollowerState::Snapshot {
            follower.pin = Some(index + 1);
            self.open_session(core, to);
        }
    }

    pub(crate) fn on_snapshot_failed(&mut self, core: &Core, to: StorageId) {
        if let Some(follower) = self.followers.get_mut(&to)
            && follower.state == FollowerState::Snapshot
        {
            follower.open_session_later(core.now);
        }
    }

    pub(crate) fn on_log_read(&mut self, core: &mut Core, to: StorageId, entries: Vec<Entry>) {
        if let Some(follower) = self.followers.get_mut(&to) {
            follower.send_read(core, entries);
        }
    }

    pub(crate) fn on_proposal_refused(&mut self, core: &mut Core, version: AssignmentVersion) {
        if self.in_sync.on_refused(core, version) {
            self.meet_followers(core);
        }
    }

    pub(crate) fn on_map_confirmed(&mut self, core: &mut Core, round: u64, epoch: Epoch) {
        if epoch == self.epoch {
            self.reads.on_map_confirmed(core, round, epoch);
        } else {
            let why = ReadRefused::NotPrimary {
                primary: None,
                epoch,
            };
            self.reads.on_map_unavailable(core, round, why);
        }
    }

    pub(crate) fn on_map_unavailable(&mut self, core: &mut Core, round: u64) {
        self.reads
            .on_map_unavailable(core, round, ReadRefused::Unconfirmed);
    }

    /// Puts a checksum mark into the log.
    pub(crate) fn checksum(&mut self, core: &mut Core, id: u64) {
        let (have, need) = self.reachable(core);
        if self.serving && self.resigning.is_none() && have >= need {
            let index = core.end() + 1;
            core.append(Entry::checksum(self.epoch, index, id));
        } else {
            core.output(Output::ChecksumRefused { id });
        }
    }

    /// Takes no more writes.
    pub(crate) fn resign(&mut self, core: &mut Core) {
        if self.resigning.is_none() {
            self.resigning = Some(Resigning::Waits);
            let why = WriteRefused::NotPrimary {
                primary: None,
                epoch: self.epoch,
            };
            self.refuse_waiting(core, why);
        }
    }

    /// The state machine applied a write.
    pub(crate) fn write_applied(&mut self, core: &mut Core, remembered: &Remembered) {
        self.in_flight.applied(core, remembered);
    }

    /// Goes on with whatever the last input made possible.
    pub(crate) fn advance(&mut self, core: &mut Core) {
        self.advance_commit(core);
        core.apply_more();
        if !self.serving && core.applied >= self.epoch_start {
            self.start_serving(core);
        }
        self.propose(core);
        self.pump(core);
        self.reads.advance(core, &self.in_sync.maximal);
        let done = core.commit == core.end() && core.applied == core.commit && self.serving;
        if self.resigning == Some(Resigning::Waits) && done {
            self.resigning = Some(Resigning::Said);
            core.output(Output::Resigned);
        }
    }

    /// Sends to every follower what it can take.
    fn pump(&mut self, core: &mut Core) {
        let mut behind = None;
        for follower in self.followers.values_mut() {
            if follower.pump(core) {
                behind = Some(follower.member);
            }
        }
        if let Some(member) = behind {
            self.send_snapshot(core, member);
        }
    }

    /// Committed is what all of the maximal in-sync set have durably. The inherited log commits
    /// as a whole, whatever their number; beyond it the set must not be below its minimum.
    fn advance_commit(&mut self, core: &mut Core) {
        let mut durable = core.pending.durable();
        for member in self.commit_set(core) {
            if *member != core.me.member {
                let matched = self.followers.get(member).map_or(0, |f| f.matched);
                durable = durable.min(matched);
            }
        }
        if durable < self.epoch_start {
            return;
        }
        let needed = core.view.as_ref().map_or(1, |view| view.in_sync_min);
        if (self.in_sync.committed.len() as u32) < needed {
            durable = self.epoch_start;
        }
        core.commit_to(durable);
    }

    fn commit_set(&self, core: &Core) -> &[StorageId] {
        if core.settings.has(Mutant::CommitWithSmallerSet) {
            return &self.in_sync.committed;
        }
        &self.in_sync.maximal
    }

    /// The inherited log is committed and applied: requests that waited are carried out.
    fn start_serving(&mut self, core: &mut Core) {
        self.serving = true;
        for request in std::mem::take(&mut self.waiting) {
            match request {
                WaitingRequest::Write(write) => self.write(core, write),
                WaitingRequest::Read(ticket) => self.read(core, ticket),
            }
        }
    }

    /// The office is lost. What is in the log may or may not become committed; what waited was
    /// not appended.
    pub(crate) fn depose(mut self: Box<Self>, core: &mut Core) {
        self.in_flight.abandon(core);
        let (primary, epoch) = (core.primary_known(), core.adopted);
        self.refuse_waiting(core, WriteRefused::NotPrimary { primary, epoch });
        let why = ReadRefused::NotPrimary { primary, epoch };
        self.reads.refuse_all(core, why);
        if self.resigning == Some(Resigning::Waits) {
            core.output(Output::Resigned);
        }
    }

    /// The replica has stopped.
    pub(crate) fn stop(mut self: Box<Self>, core: &mut Core) {
        self.in_flight.abandon(core);
        self.refuse_waiting(core, WriteRefused::Stopped);
        self.reads.refuse_all(core, ReadRefused::Stopped);
    }

    fn refuse_waiting(&mut self, core: &mut Core, refused: WriteRefused) {
        let why = match refused {
            WriteRefused::NotPrimary { primary, epoch } => {
                ReadRefused::NotPrimary { primary, epoch }
            }
            _ => ReadRefused::Stopped,
        };
        for request in std::mem::take(&mut self.waiting) {
            match request {
                WaitingRequest::Write(write) => answer(core, write.ticket, Err(refused)),
                WaitingRequest::Read(ticket) => core.output(Output::ReadRefused { ticket, why }),
            }
        }
    }

    pub(crate) fn deadline(&self, core: &Core) -> Option<Now> {
        let followers = self.followers.values().filter_map(|f| f.deadline(core));
        let lag = (self.may_shrink(core) && !self.in_sync.is_pending())
            .then(|| self.lag_times(core).map(|(until, _)| until).min())
            .flatten()
            .map(|until| until.max(self.in_sync.not_before()));
        let others = [
            lag,
            self.reads.deadline(core),
            self.in_sync.deadline(core),
            self.forgets_at(core),
        ];
        followers.chain(others.into_iter().flatten()).min()
    }

    pub(crate) fn tick(&mut self, core: &mut Core) {
        let members: Vec<StorageId> = self.followers.keys().copied().collect();
        for member in members {
            let follower = self.followers.get_mut(&member);
            if follower.is_some_and(|follower| follower.tick(core)) {
                self.open_session(core, member);
            }
        }
        self.in_sync.tick(core);
        self.reads.tick(core);
        self.forget_in_time(core);
    }

    /// This node stood still: nobody is convicted for what happened meanwhile.
    pub(crate) fn forgive(&mut self, now: Now) {
        for follower in self.followers.values_mut() {
            follower.forgive(now);
        }
    }
}
