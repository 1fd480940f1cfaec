//! The state of the data thread and its turn.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tablestore_placement::{ClusterMap, Office, PartitionId, StorageId};
use tablestore_replication::{Input, Output};
use tablestore_store::{Engine, JournalReader};
use tokio::time::Instant as Deadline;

use super::apply::apply_entries;
use super::checksum::Checksums;
use super::counters::Counters;
use super::event::{Event, EventReceiver, EventSender};
use super::flushing::Flushing;
use super::hosted::Hosted;
use super::journal::JournalQueue;
use super::links::{Links, read_frames};
use super::progress::Progress;
use super::recover::RecoveredPartition;
use super::request::Request;
use super::snapshot::Transfers;
use super::strays::{Aside, PutOff};
use super::unsynced::Unsynced;
use super::workers::Workers;
use crate::control::{Control, Dialler};
use crate::node::Events;
use crate::settings::NodeSettings;
use crate::wire::DataMessage;

/// Events handled in one turn before the journal and the peers get theirs.
const EVENTS_PER_TURN_MAX: usize = 1_024;
/// How often timers of replicas and deadlines of requests are looked at.
const TICK: Duration = Duration::from_millis(10);

/// What the data thread is made of.
pub(crate) struct Parts {
    pub(crate) me: Office,
    pub(crate) settings: NodeSettings,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) journal: JournalQueue,
    pub(crate) reader: JournalReader,
    pub(crate) control: Control,
    pub(crate) dialler: Dialler,
    pub(crate) workers: Workers,
    pub(crate) recovered: BTreeMap<u64, RecoveredPartition>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) metrics: Counters,
    pub(crate) timeline: Events,
    pub(crate) sender: EventSender,
    pub(crate) receiver: EventReceiver,
}

/// Everything but the replicas, so that a replica's outputs can be carried out while it is
/// borrowed.
pub(crate) struct Ports {
    pub(crate) me: Office,
    pub(crate) settings: NodeSettings,
    pub(crate) origin: Instant,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) journal: JournalQueue,
    pub(crate) reader: JournalReader,
    pub(crate) control: Control,
    pub(crate) links: Links,
    pub(crate) workers: Workers,
    pub(crate) map: Arc<ClusterMap>,
    pub(crate) requests: HashMap<u64, Request>,
    /// Requests to look at again in this turn.
    pub(crate) again: Vec<u64>,
    pub(crate) next_ticket: u64,
    pub(crate) waiting_bytes: usize,
    /// Jobs on their way to disk.
    pub(super) unsynced: Unsynced,
    /// Replicas hosted so far.
    pub(crate) lives: u64,
    /// Replicas whose entries wait for room on the way to a peer; each once.
    pub(super) held_back: VecDeque<PartitionId>,
    /// Read rounds that want a linearizable read of the map.
    pub(crate) map_reads: Vec<(PartitionId, u64)>,
    pub(crate) map_reading: bool,
    pub(crate) transfers: Transfers,
    pub(crate) checksums: Checksums,
    pub(crate) recovered: BTreeMap<u64, RecoveredPartition>,
    pub(super) aside: Aside,
    /// What the housekeeping thread had no room for yet.
    pub(super) put_off: Vec<PutOff>,
    pub(super) flushing: Flushing,
    /// Since when somebody's disk is full.
    pub(super) lacking_since: Option<Duration>,
    /// Who waits until everything is flushed.
    pub(super) flushing_all: Option<tokio::sync::oneshot::Sender<()>>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) metrics: Counters,
    pub(crate) timeline: Events,
    pub(crate) sender: EventSender,
    pub(crate) failed: bool,
    pub(crate) next_upkeep: Duration,
    pub(crate) resigning: Option<tokio::sync::oneshot::Sender<()>>,
    pub(crate) resigned: BTreeSet<PartitionId>,
}

impl Ports {
    /// Time since this process began, for the replicas.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// The data thread's state.
pub(crate) struct Plane {
    pub(crate) replicas: BTreeMap<PartitionId, Hosted>,
    pub(crate) ports: Ports,
    outputs: Vec<Output>,
}

/// Runs the data thread's task until it is told to stop.
pub(crate) async fn run(parts: Parts) {
    let (mut plane, mut receiver) = Plane::new(parts);
    let mut events = Vec::with_capacity(EVENTS_PER_TURN_MAX);
    let state = Arc::clone(&plane.ports.journal.state);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            count = receiver.recv_many(&mut events, EVENTS_PER_TURN_MAX) => {
                if count == 0 {
                    return;
                }
            }
            () = state.progressed.notified() => {}
            _ = ticks.tick() => plane.tick(),
        }
        plane.synced(state.persisted());
        for event in events.drain(..) {
            if let Event::Stop(done) = event {
                plane.end(&state).await;
                let _ = done.send(());
                return;
            }
            plane.event(event);
        }
        plane.end_turn();
    }
}

impl Plane {
    fn new(parts: Parts) -> (Self, EventReceiver) {
        let map = Arc::new(ClusterMap::empty());
        let (sender, metrics) = (parts.sender.clone(), parts.metrics.clone());
        let links = Links::new(parts.me.member, parts.dialler, sender, metrics);
        let ports = Ports {
            me: parts.me,
            settings: parts.settings,
            origin: Instant::now(),
            engine: parts.engine,
            journal: parts.journal,
            reader: parts.reader,
            control: parts.control,
            links,
            workers: parts.workers,
            map,
            requests: HashMap::new(),
            again: Vec::new(),
            next_ticket: 1,
            waiting_bytes: 0,
            unsynced: Unsynced::default(),
            lives: 0,
            held_back: VecDeque::new(),
            map_reads: Vec::new(),
            map_reading: false,
            transfers: Transfers::default(),
            checksums: Checksums::default(),
            recovered: parts.recovered,
            aside: Aside::default(),
            put_off: Vec::new(),
            flushing: Flushing::default(),
            lacking_since: None,
            flushing_all: None,
            progress: parts.progress,
            metrics: parts.metrics,
            timeline: parts.timeline,
            sender: parts.sender,
            failed: false,
            next_upkeep: Duration::ZERO,
            resigning: None,
            resigned: BTreeSet::new(),
        };
        (
            Self {
                replicas: BTreeMap::new(),
                ports,
                outputs: Vec::new(),
            },
            parts.receiver,
        )
    }

    /// Gives one input to a replica and carries out all that it then asks for.
    pub(crate) fn feed(&mut self, partition: PartitionId, input: Input) {
        let Some(hosted) = self.replicas.get_mut(&partition) else {
            return;
        };
        if hosted.stopped.is_some() {
            return;
        }
        let now = self.ports.now();
        hosted.replica.set_crowded(self.ports.links.crowded());
        hosted.replica.handle(now, input);
        let mut outputs = std::mem::take(&mut self.outputs);
        while let Some(output) = hosted.replica.poll_output() {
            if let Output::Apply { entries } = output {
                match apply_entries(self.ports.engine.as_ref(), partition, &entries) {
                    Ok(results) => hosted.replica.handle(now, Input::Applied { results }),
                    Err(error) => {
                        hosted.stopped = Some(error.to_string());
                        outputs.push(Output::Halted {
                            invariant: error.to_string(),
                        });
                        break;
                    }
                }
            } else if let Output::ChecksumDue { id, index } = output {
                // At once: what is applied next must not be in the sums.
                self.ports.checksum_due(partition, id, index);
            } else {
                outputs.push(output);
            }
        }
        if hosted.replica.is_held_back() && !hosted.held_back {
            hosted.held_back = true;
            self.ports.held_back.push_back(partition);
        }
        for output in outputs.drain(..) {
            self.carry_out(partition, output);
        }
        self.outputs = outputs;
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Request(request) => self.admit(request),
            Event::Frame {
                from,
                messages,
                unread: _until_dealt_with,
            } => self.frame(from, messages),
            Event::Inbound { peer, socket } => {
                let (sender, metrics) = (self.ports.sender.clone(), self.ports.metrics.clone());
                read_frames(peer, socket, sender, metrics);
                self.session_begins(peer);
            }
            Event::InboundEnded(peer) => self.connection_ended(peer),
            Event::PeerUp(peer) => self.peer(peer, true),
            Event::PeerDown(peer) => self.peer(peer, false),
            Event::Map(map) => self.follow(map),
            Event::JournalFailed => self.storage_failed(),
            Event::Trimmed(trimmed) => self.trimmed(trimmed),
            Event::LogRead {
                partition,
                from,
                entries,
            } => {
                self.feed(partition, Input::LogRead { from, entries });
            }
            Event::Proposed { partition, refused } => {
                if let Some(version) = refused {
                    self.feed(partition, Input::ProposalRefused { version });
                }
            }
            Event::MapRead { rounds, map } => self.map_read(rounds, map),
            Event::Answered { ticket, reply } => self.answer(ticket, reply),
            Event::PutAside { partition, place } => self.put_aside(partition, place),
            Event::Flushed { partition, flushed } => self.flushed(partition, flushed),
            Event::Met {
                partition,
                error,
                what,
            } => self.met(partition, &error, what),
            Event::Dropped(partition) => self.is_gone(partition),
            Event::FlushAll(done) => self.flush_all(done),
            Event::CopyRead { copy, source, page } => self.copy_read(copy, source, page),
            Event::CopyStored { copy, stored } => self.copy_stored(copy, stored),
            Event::SnapshotPutOff { partition, to } => {
                self.feed(partition, Input::SnapshotFailed { to });
            }
            Event::SnapshotInstalled {
                partition,
                installed,
            } => self.snapshot_installed(partition, installed),
            Event::ChecksumTaken {
                partition,
                id,
                index,
                sums,
            } => {
                self.checksum_taken(partition, id, index, sums);
            }
            Event::Remembered(of, asker) => {
                // Who asked may have gone away.
                let _ = asker.send(self.remembered(of));
            }
            Event::Resign(done) => self.resign(done),
            Event::Stop(_) => unreachable!("the loop takes this one"),
        }
    }

    fn trimmed(&mut self, trimmed: Vec<(u64, u64)>) {
        for (partition, first) in trimmed {
            let partition = PartitionId::from_u64(partition);
            self.feed(partition, Input::LogTrimmed { first });
        }
    }

    fn frame(&mut self, from: Office, messages: Vec<DataMessage>) {
        if !self.ports.links.sessions.is_open(from) {
            return self.ports.metrics.foreign_answers.add(1);
        }
        for message in messages {
            self.message(from, message);
        }
    }

    fn peer(&mut self, peer: StorageId, up: bool) {
        self.ports.links.set_up(peer, up);
        if !up {
            self.end_copies_with(peer);
        }
        let partitions: Vec<_> = self.replicas.keys().copied().collect();
        for partition in partitions {
            let input = if up {
                Input::PeerUp(peer)
            } else {
                Input::PeerDown(peer)
            };
            self.feed(partition, input);
        }
        self.retry_after_peer(peer, up);
    }

    /// A connection on which a peer answers began, and perhaps a session with it.
    fn session_begins(&mut self, peer: Office) {
        if let Some(ended) = self.ports.links.sessions.begins(peer) {
            self.session_ended(ended);
        }
        // A peer dials again when the connection before is dead, whether or not that was noticed
        // here: answers on it are lost.
        self.retry_after_peer(peer.member, false);
        self.retry_after_peer(peer.member, true);
    }

    /// A connection on which a peer answers has ended, and the answers on their way with it.
    fn connection_ended(&mut self, peer: Office) {
        if self.ports.links.sessions.connection_ended(peer) {
            self.session_ended(peer);
        }
        self.retry_after_peer(peer.member, false);
    }

    fn storage_failed(&mut self) {
        self.ports.failed = true;
        self.ports.progress.set_failed();
        let partitions: Vec<_> = self.replicas.keys().copied().collect();
        for partition in partitions {
            self.feed(partition, Input::StorageFailed);
        }
    }

    fn tick(&mut self) {
        let now = self.ports.now();
        let due: Vec<_> = self
            .replicas
            .iter()
            .filter(|(_, hosted)| hosted.replica.next_deadline().is_some_and(|at| at <= now))
            .map(|(partition, _)| *partition)
            .collect();
        for partition in due {
            self.feed(partition, Input::Tick);
        }
        self.release_held_back();
        self.note_room();
        self.expire(Deadline::now());
        self.upkeep(now);
    }

    /// One group to the journal, one frame to each peer.
    pub(super) fn end_turn(&mut self) {
        self.look_again();
        self.read_map();
        self.ports.journal.flush();
        for closed in self.ports.links.flush() {
            self.peer(closed, false);
        }
        self.ports.progress.turn();
    }
}
