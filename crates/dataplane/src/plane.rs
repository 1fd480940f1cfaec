//! The state of a data plane and its turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tablestore_placement::{ClusterMap, Office, PartitionId, StorageId};
use tablestore_replication::{Input, Output};
use tablestore_store::Engine;

use crate::active::Active;
use crate::apply::apply_entries;
use crate::checksum::Checksums;
use crate::counts::Counts;
use crate::effects::Effects;
use crate::event::{Now, PlaneEvent};
use crate::flushing::Flushing;
use crate::full::Room;
use crate::hosted::Hosted;
use crate::job::{Done, Job, Outcome, Work};
use crate::lanes::Lanes;
use crate::links::Links;
use crate::outputs::MapReads;
use crate::owned::OwnedHere;
use crate::peers::Neighbours;
use crate::recover::Stored;
use crate::requests::Requests;
use crate::seen::Watched;
use crate::settings::Settings;
use crate::snapshot::Transfers;
use crate::strays::Shelf;
use crate::timers::Timers;
use crate::unsynced::Unsynced;
use crate::upkeep::Leaving;
use crate::wire::Frame;

/// One node's data plane: a state machine over an engine `E`, in which whoever waits for an answer
/// is a `W`.
#[derive(Debug)]
pub struct Plane<E, W> {
    pub(crate) me: Office,
    pub(crate) settings: Settings,
    pub(crate) now: Now,
    pub(crate) engine: Arc<E>,
    pub(crate) map: Arc<ClusterMap>,
    pub(crate) replicas: BTreeMap<PartitionId, Hosted>,
    /// When replicas want to be told the time.
    pub(crate) timers: Timers,
    /// Replicas that something happened to in this turn; each once.
    pub(crate) touched: Vec<PartitionId>,
    /// Replicas that something happened to since their logs were last shown; each once.
    pub(crate) moved: Vec<PartitionId>,
    /// Replicas whose entries wait for room on the way to a peer; each once.
    pub(crate) held_back: VecDeque<PartitionId>,
    pub(crate) links: Links,
    pub(crate) neighbours: Neighbours,
    pub(crate) requests: Requests<W>,
    pub(crate) lanes: Lanes,
    pub(crate) active: Active<E, W>,
    pub(crate) owned: OwnedHere,
    /// Records on their way to the disk.
    pub(crate) unsynced: Unsynced,
    pub(crate) map_reads: MapReads,
    pub(crate) transfers: Transfers,
    pub(crate) checksums: Checksums,
    pub(crate) flushing: Flushing,
    /// What is on the disk and not in use.
    pub(crate) shelf: Shelf,
    pub(crate) room: Room,
    pub(crate) leaving: Leaving,
    pub(crate) counts: Counts,
    pub(crate) out: Effects<W>,
    /// Inputs for the next turn.
    pub(crate) later: Vec<(PartitionId, Input)>,
    pub(crate) upkeep_at: Duration,
    /// When replicas that hold entries back are tried again.
    release_at: Duration,
    /// The journal refuses everything.
    pub(crate) failed: bool,
    /// What tests see of it.
    pub(crate) watched: Watched,
    outputs: Vec<Output>,
}

impl<E: Engine, W> Plane<E, W> {
    /// The data plane of a start that found this on its disks. It serves nothing before it is told
    /// a map.
    #[must_use]
    pub fn new(me: Office, settings: Settings, engine: Arc<E>, stored: Stored) -> Self {
        Self {
            me,
            now: Now::default(),
            engine,
            map: Arc::new(ClusterMap::empty()),
            replicas: BTreeMap::new(),
            timers: Timers::default(),
            touched: Vec::new(),
            moved: Vec::new(),
            held_back: VecDeque::new(),
            links: Links::new(me.member, &settings),
            neighbours: Neighbours::default(),
            requests: Requests::default(),
            lanes: Lanes::new(&settings),
            active: Active::new(me, &settings, stored.clock_bound_ms),
            owned: OwnedHere::default(),
            unsynced: Unsynced::new(&settings),
            map_reads: MapReads::default(),
            transfers: Transfers::default(),
            checksums: Checksums::default(),
            watched: stored.watched.clone().resting(),
            flushing: Flushing::new(&settings),
            shelf: Shelf::new(stored),
            room: Room::default(),
            leaving: Leaving::default(),
            counts: Counts::default(),
            out: Effects::default(),
            later: Vec::new(),
            upkeep_at: Duration::ZERO,
            release_at: Duration::ZERO,
            failed: false,
            outputs: Vec::new(),
            settings,
        }
    }

    /// A turn begins at this time.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
    }

    /// Something happened.
    pub fn handle(&mut self, event: PlaneEvent<W>) {
        match event {
            PlaneEvent::Request {
                partition,
                operation,
                deadline,
                waiter,
            } => self.admit_from_client(partition, operation, deadline, waiter),
            PlaneEvent::Active {
                partition,
                request,
                waiter,
            } => self.admit_active(partition, request, waiter),
            PlaneEvent::Frame { from, frame } => self.frame(from, frame),
            PlaneEvent::Inbound(peer) => self.session_begins(peer),
            PlaneEvent::InboundEnded(peer) => self.connection_ended(peer),
            PlaneEvent::PeerUp { peer, link } => self.link_changed(peer, link, true),
            PlaneEvent::PeerDown { peer, link } => self.link_changed(peer, link, false),
            PlaneEvent::Map(map) => self.follow(map),
            PlaneEvent::Persisted(position) => self.persisted(position),
            PlaneEvent::JournalFailed => self.storage_failed(),
            PlaneEvent::Held(held) => self.flushing.held(held),
            PlaneEvent::Trimmed(trimmed) => self.trimmed(trimmed),
            PlaneEvent::Done(done) => self.done(done),
            PlaneEvent::Proposed { partition, refused } => {
                if let Some(version) = refused {
                    self.feed(partition, Input::ProposalRefused { version });
                }
            }
            PlaneEvent::OwnedOpened { partition, life } => self.owned_opened(partition, life),
            PlaneEvent::OwnedEnded {
                partition,
                life,
                fault,
            } => self.owned_ended(partition, life, fault),
            PlaneEvent::OwnedAnswered { ticket, result } => self.owned_answered(ticket, result),
            PlaneEvent::MapRead { rounds, map } => self.map_read(rounds, map),
            PlaneEvent::Room { full, members } => {
                self.room.set(full, members, self.now.since_start);
            }
            PlaneEvent::Clock { off } => self.active.clock_is_off = off,
            PlaneEvent::Resign => self.resign(),
            PlaneEvent::FlushAll => self.flush_all(),
        }
    }

    /// The host has so many bytes for a peer that it could not write yet.
    pub fn unwritten(&mut self, peer: StorageId, bytes: usize) {
        self.links.set_unwritten(peer, bytes);
    }

    /// Everything that was told in this turn has been: the effects are complete when this returns.
    pub fn end_turn(&mut self) {
        for (partition, input) in std::mem::take(&mut self.later) {
            self.feed(partition, input);
        }
        self.tell_the_time();
        self.end_active_turn();
        self.wake_owned();
        self.release_held_back();
        self.expire();
        self.upkeep();
        self.look_again();
        self.ask_for_map();
        let now = self.now.since_start;
        for closed in self.links.close_overrun(now, &mut self.out.links) {
            self.counts.connections_overrun += 1;
            self.peer_changed(closed, false);
        }
        self.links.flush(&mut self.out.frames);
        self.set_timers();
    }

    /// What follows from the turns so far; to be drained.
    pub fn effects(&mut self) -> &mut Effects<W> {
        &mut self.out
    }

    /// When a turn is due though nothing happens.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        let now = self.now.since_start;
        let soon = !self.later.is_empty() || self.requests.wants_a_turn();
        let release = self.is_crowded().then_some(self.release_at);
        let (active, owned) = (self.active.next_deadline(), self.owned.next_deadline());
        let timers = [self.timers.next(), active, owned];
        let requests = [self.requests.next_deadline(), release];
        timers
            .into_iter()
            .chain(requests)
            .flatten()
            .chain(soon.then_some(now))
            .fold(self.upkeep_at, Duration::min)
    }

    /// What has been counted since the plane began.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The cluster map that is followed.
    #[must_use]
    pub fn map(&self) -> &Arc<ClusterMap> {
        &self.map
    }

    /// Gives one input to a replica and carries out all that it then asks for.
    pub(crate) fn feed(&mut self, partition: PartitionId, input: Input) {
        let Some(hosted) = self.replicas.get_mut(&partition) else {
            return;
        };
        if hosted.stopped.is_some() {
            return;
        }
        let now = self.now.since_start;
        hosted.replica.set_crowded(self.links.crowded());
        hosted.tell_wall_clock(self.now);
        hosted.replica.handle(now, input);
        if !std::mem::replace(&mut hosted.touched, true) {
            self.touched.push(partition);
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        while let Some(output) = hosted.replica.poll_output() {
            match output {
                Output::Apply { entries } => {
                    match apply_entries(self.engine.as_ref(), partition, &entries) {
                        Ok(results) => {
                            let bytes = self.engine.memory_bytes_of(partition.to_u64());
                            self.flushing.applied(partition, bytes);
                            self.watched.applied(partition, &entries, &results);
                            hosted.replica.handle(now, Input::Applied { results });
                        }
                        Err(error) => {
                            hosted.stopped = Some(error.to_string());
                            let invariant = error.to_string();
                            outputs.push(Output::Halted { invariant });
                            break;
                        }
                    }
                }
                // At once: what is applied next must not be in the sums.
                Output::ChecksumDue { id, index } => {
                    if let Ok(snapshot) = self.engine.snapshot(partition.to_u64()) {
                        let job = Job(Work::Checksum {
                            partition,
                            id,
                            index,
                            snapshot,
                        });
                        self.lanes.begin(job, &mut self.out.jobs);
                    }
                }
                output => outputs.push(output),
            }
        }
        if hosted.replica.is_held_back() && !std::mem::replace(&mut hosted.held_back, true) {
            self.held_back.push_back(partition);
        }
        for output in outputs.drain(..) {
            self.carry_out(partition, output);
        }
        self.outputs = outputs;
    }

    /// Asks the host for a job.
    pub(crate) fn begin(&mut self, work: Work) {
        self.lanes.begin(Job(work), &mut self.out.jobs);
    }

    fn done(&mut self, done: Done) {
        self.lanes.ended(done.lane, &mut self.out.jobs);
        match done.outcome {
            Outcome::Opened { partition, opened } => self.opened(partition, opened),
            Outcome::LogRead {
                partition,
                life,
                from,
                entries,
            } => self.log_read(partition, life, from, entries),
            Outcome::Scanned {
                ticket,
                partition,
                epoch,
                page,
            } => self.scanned(ticket, partition, epoch, page),
            Outcome::Summed {
                partition,
                id,
                index,
                sums,
            } => match sums {
                Ok(sums) => self.checksum_taken(partition, id, index, sums),
                Err(error) => self.met(partition, &error, "a checksum failed"),
            },
            Outcome::ActiveOpened { partition, opened } => self.active_opened(partition, opened),
            Outcome::Flushed { partition, flushed } => self.flushed(partition, flushed),
            Outcome::Discarded { partition } => self.is_gone(partition),
            Outcome::PutAside { partition, place } => self.put_aside(partition, place),
            Outcome::Cleared {
                partition,
                adopted,
                cleared,
            } => self.cleared(partition, adopted, cleared),
            Outcome::Noted => {}
            Outcome::CopyRead { copy, source, page } => self.copy_read(copy, source, page),
            Outcome::CopyStored { copy, stored } => self.copy_stored(copy, stored),
            Outcome::CopyFinished {
                partition,
                life,
                installed,
            } => {
                if self.lives(partition, life) {
                    self.copy_installed(partition, installed);
                }
            }
        }
    }

    fn frame(&mut self, from: Office, frame: Frame) {
        if !self.links.sessions.is_open(from) {
            self.counts.foreign_answers += 1;
            return;
        }
        for message in frame.0 {
            self.message(from, message);
        }
    }

    fn storage_failed(&mut self) {
        self.failed = true;
        let partitions: Vec<_> = self.replicas.keys().copied().collect();
        for partition in partitions {
            self.feed(partition, Input::StorageFailed);
        }
    }

    /// Whether so much is on its way to somebody that it is to be looked at again.
    fn is_crowded(&self) -> bool {
        !self.held_back.is_empty() || self.links.is_any_crowded()
    }

    /// Lets replicas go on that held entries back, each in its turn, for as long as there is room.
    fn release_held_back(&mut self) {
        let now = self.now.since_start;
        if !self.is_crowded() || now < self.release_at {
            return;
        }
        self.release_at = now + self.settings.again_every;
        self.links.look(now);
        for _ in 0..self.held_back.len() {
            let Some(partition) = self.held_back.pop_front() else {
                return;
            };
            if let Some(hosted) = self.replicas.get_mut(&partition) {
                hosted.held_back = false;
                self.feed(partition, Input::Tick);
            }
        }
    }
}
