//! The task of the data thread: turns of the plane, and what follows from each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tablestore_consensus::{Consensus, Dialler, ProposeError};
use tablestore_dataplane::{self as dataplane, Effects, Notice, Now, Plane, Proposal, Stored};
use tablestore_placement::{Office, PartitionId};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::{JournalReader, LsmEngine};
use tokio::sync::oneshot;

use super::counters::Counters;
use super::event::{DataEvent, EventReceiver, EventSender, Waiter};
use super::journal::{JournalQueue, JournalState};
use super::links::{Sockets, read_frames};
use super::owned::OwnedHost;
use super::progress::Progress;
use super::shared::SharedStorage;
use super::workers::Workers;
use crate::node::{Events, wall_ms};
use crate::settings::NodeSettings;

/// Events handled in one turn before the journal and the peers get theirs.
const EVENTS_PER_TURN_MAX: usize = 1_024;
/// Deadlines are kept this exactly: those of one such time share a turn.
const TICK: Duration = Duration::from_millis(10);
/// The longest time without a turn, which others would take for a thread that hangs.
const IDLE_MAX: Duration = Duration::from_millis(100);
/// How long the end of the journal may take to be written; less than a stopping node waits.
const JOURNAL_ENDS_WITHIN: Duration = Duration::from_millis(300);

/// What the data thread is made of.
pub(crate) struct Parts {
    pub(crate) me: Office,
    pub(crate) settings: NodeSettings,
    pub(crate) engine: Arc<LsmEngine>,
    pub(crate) journal: JournalQueue,
    pub(crate) reader: JournalReader,
    pub(crate) consensus: Consensus,
    pub(crate) dialler: Dialler,
    pub(crate) stored: Stored,
    pub(crate) shared: Option<SharedStorage>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) metrics: Counters,
    pub(crate) timeline: Events,
    pub(crate) sender: EventSender,
}

/// The plane and everything around it.
struct Host {
    plane: Plane<LsmEngine, Waiter>,
    origin: Instant,
    journal: JournalQueue,
    consensus: Consensus,
    sockets: Sockets,
    workers: Workers,
    owned: OwnedHost,
    progress: Arc<Progress>,
    metrics: Counters,
    timeline: Events,
    sender: EventSender,
    /// The state of the disks that the plane was told last.
    room_told: u64,
    clock_told: bool,
    held_told: BTreeMap<u64, u64>,
    resigning: Option<oneshot::Sender<()>>,
    flushing_all: Option<oneshot::Sender<()>>,
}

/// Runs the data thread's task until it is told to stop.
///
/// # Errors
/// If the system refuses a thread.
pub(crate) async fn run(parts: Parts, mut receiver: EventReceiver) -> std::io::Result<()> {
    let mut host = Host::new(parts)?;
    let state = Arc::clone(&host.journal.state);
    let mut events = Vec::with_capacity(EVENTS_PER_TURN_MAX);
    let alarm = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(alarm);
    loop {
        tokio::select! {
            count = receiver.recv_many(&mut events, EVENTS_PER_TURN_MAX) => {
                if count == 0 {
                    return Ok(());
                }
            }
            () = state.progressed.notified() => {}
            () = &mut alarm => {}
        }
        host.begin_turn(&state);
        for event in events.drain(..) {
            if let DataEvent::Stop(done) = event {
                host.end(&state).await;
                let _ = done.send(());
                return Ok(());
            }
            host.event(event);
        }
        host.end_turn();
        let wakes_at = host.wakes_at();
        if alarm.is_elapsed() || wakes_at < alarm.deadline() {
            alarm.as_mut().reset(wakes_at);
        }
    }
}

impl Host {
    fn new(parts: Parts) -> std::io::Result<Self> {
        let settings = parts.settings.of_data_plane();
        let workers = Workers::start(
            Arc::clone(&parts.engine),
            &parts.reader,
            &StoppedReplicas::at(&parts.settings.data_dir),
            &parts.sender,
        )?;
        let owned = OwnedHost::start(
            parts.me,
            parts.shared,
            parts.consensus.clone(),
            parts.sender.clone(),
        )?;
        Ok(Self {
            plane: Plane::new(parts.me, settings, parts.engine, parts.stored),
            origin: Instant::now(),
            journal: parts.journal,
            consensus: parts.consensus,
            sockets: Sockets::new(parts.dialler, parts.sender.clone()),
            workers,
            owned,
            progress: parts.progress,
            metrics: parts.metrics,
            timeline: parts.timeline,
            sender: parts.sender,
            room_told: 0,
            clock_told: false,
            held_told: BTreeMap::new(),
            resigning: None,
            flushing_all: None,
        })
    }

    fn begin_turn(&mut self, journal: &JournalState) {
        self.plane.begin_turn(Now {
            since_start: self.origin.elapsed(),
            wall_ms: wall_ms(),
        });
        for (peer, bytes) in self.sockets.unwritten() {
            self.plane.unwritten(peer, bytes);
        }
        self.plane
            .handle(dataplane::PlaneEvent::Persisted(journal.persisted()));
        if let Some(held) = journal.held_unless(&self.held_told) {
            self.held_told.clone_from(&held);
            self.plane.handle(dataplane::PlaneEvent::Held(held));
        }
        if let Some((changes, full, members)) = self.progress.room.changed(self.room_told) {
            self.room_told = changes;
            self.plane
                .handle(dataplane::PlaneEvent::Room { full, members });
        }
        let off = self.progress.clock_off_ms().is_some();
        if off != self.clock_told {
            self.clock_told = off;
            self.plane.handle(dataplane::PlaneEvent::Clock { off });
        }
    }

    fn event(&mut self, event: DataEvent) {
        match event {
            DataEvent::Plane(dataplane::PlaneEvent::JournalFailed) => {
                self.progress.set_failed();
                self.plane.handle(dataplane::PlaneEvent::JournalFailed);
            }
            DataEvent::Plane(event) => self.plane.handle(event),
            DataEvent::Owned(opened) => {
                let event = self.owned.opened(opened);
                event.into_iter().for_each(|event| self.plane.handle(event));
            }
            DataEvent::Asked(asked) => {
                let deadline = asked.deadline.into_std();
                self.plane.handle(dataplane::PlaneEvent::Request {
                    partition: asked.partition,
                    operation: asked.operation,
                    deadline: deadline.saturating_duration_since(self.origin),
                    waiter: asked.waiter,
                });
            }
            DataEvent::Frame {
                from,
                frame,
                unread: _until_dealt_with,
            } => self
                .plane
                .handle(dataplane::PlaneEvent::Frame { from, frame }),
            DataEvent::Inbound { peer, socket } => {
                read_frames(peer, socket, self.sender.clone(), self.metrics.clone());
                self.plane.handle(dataplane::PlaneEvent::Inbound(peer));
            }
            DataEvent::Remembered(of, asker) => {
                // Who asked may have gone away.
                let _ = asker.send(self.plane.remembers(of));
            }
            DataEvent::Standing(asker) => {
                let _ = asker.send(self.plane.standing());
            }
            DataEvent::Resign(done) => {
                self.resigning = Some(done);
                self.plane.handle(dataplane::PlaneEvent::Resign);
            }
            DataEvent::FlushAll(done) => {
                self.flushing_all = Some(done);
                self.plane.handle(dataplane::PlaneEvent::FlushAll);
            }
            DataEvent::Stop(_) => unreachable!("the loop takes this one"),
        }
    }

    /// Ends the turn and carries out what follows.
    fn end_turn(&mut self) {
        self.plane.end_turn();
        let effects = self.plane.effects();
        self.sockets.follow(effects.links.drain(..));
        self.journal.push(&mut effects.journal);
        for (peer, frame) in effects.frames.drain(..) {
            self.sockets.send(peer, frame);
        }
        for (waiter, by, reply) in effects.answers.drain(..) {
            // The client may have gone away.
            let _ = waiter.send((by, reply));
        }
        for job in effects.jobs.drain(..) {
            self.workers.run(job);
        }
        for order in effects.owned.drain(..) {
            self.owned.carry_out(order);
        }
        propose(&self.consensus, &self.sender, effects);
        for (partition, shown) in effects.progress.drain(..) {
            self.progress.show(partition, shown);
        }
        for notice in effects.notices.drain(..) {
            publish(&self.timeline, notice);
        }
        if std::mem::take(&mut effects.resigned) {
            tell(&mut self.resigning);
        }
        if std::mem::take(&mut effects.flushed_all) {
            tell(&mut self.flushing_all);
        }
        self.metrics.follow(self.plane.counts());
        self.progress.turn();
    }

    /// When the next turn is due though nothing happens.
    fn wakes_at(&self) -> tokio::time::Instant {
        let now = self.origin.elapsed();
        let next = self.plane.next_deadline();
        let at = self.origin + next.clamp(now + TICK, now + IDLE_MAX);
        tokio::time::Instant::from_std(at)
    }

    /// The last turn: what is queued for the journal is written, and its end stated.
    async fn end(&mut self, journal: &JournalState) {
        self.end_turn();
        self.journal.state_end();
        let written = async {
            while !journal.is_ended() {
                journal.progressed.notified().await;
            }
        };
        // A disk that hangs does not keep the node from ending.
        let _ = tokio::time::timeout(JOURNAL_ENDS_WITHIN, written).await;
    }
}

/// Whoever asked may have stopped waiting.
fn tell(asker: &mut Option<oneshot::Sender<()>>) {
    if let Some(asker) = asker.take() {
        let _ = asker.send(());
    }
}

/// Asks the map for what the replicas want of it.
fn propose(consensus: &Consensus, sender: &EventSender, effects: &mut Effects<Waiter>) {
    for proposal in effects.proposals.drain(..) {
        let Proposal {
            partition,
            version,
            command,
        } = proposal;
        let (consensus, sender) = (consensus.clone(), sender.clone());
        tokio::spawn(async move {
            let refusal = match consensus.propose(command).await {
                Err(ProposeError::Refused(refusal)) => Some(refusal),
                Ok(_) | Err(_) => None,
            };
            let refusal = refusal.as_ref();
            let proposed = dataplane::PlaneEvent::proposed(partition, version, refusal);
            sender.tell(proposed).await;
        });
    }
    if let Some(rounds) = effects.map_read.take() {
        let (consensus, sender) = (consensus.clone(), sender.clone());
        tokio::spawn(async move {
            let map = consensus.read_index().await.ok();
            sender
                .tell(dataplane::PlaneEvent::MapRead { rounds, map })
                .await;
        });
    }
}

fn publish(timeline: &Events, notice: Notice) {
    let (kind, partition, detail): (_, PartitionId, _) = match notice {
        Notice::Promoted { partition, epoch } => (
            "promoted",
            partition,
            serde_json::json!({ "epoch": epoch.0 }),
        ),
        Notice::Serving { partition, epoch } => (
            "serving",
            partition,
            serde_json::json!({ "epoch": epoch.0 }),
        ),
        Notice::ReplicaStopped { partition, why } => (
            "replica_stopped",
            partition,
            serde_json::json!({ "invariant": why }),
        ),
        Notice::ReplicasDiffer {
            partition,
            table,
            index,
            differ,
        } => (
            "replicas_differ",
            partition,
            serde_json::json!({ "table": table, "index": index, "differ": differ }),
        ),
        Notice::PutAside { partition, place } => (
            "partition_put_aside",
            partition,
            serde_json::json!({ "place": place }),
        ),
    };
    timeline.publish(kind, Some(partition), detail);
}
