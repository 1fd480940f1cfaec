//! A running process: the very planes and controllers of a server, and the state of their host.
//! Knows nothing of other processes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tablestore_controller::{Controller, ControllerSettings};
use tablestore_dataplane::{
    Committed, Job, Now, Plane, PlaneEvent, Record, ReplicaProgress, Settings, recover_with,
};
use tablestore_placement::{ClusterMap, Office, PartitionId, StorageId, Strategies};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::testing::SimMark;
use tablestore_store::{Journal, JournalReader, JournalSettings, JournalWriter};

use super::drift::Drift;
use super::durable::LogEnds;
use super::engine::SimEngine;
use super::event::{Life, Waiter};
use super::machine::Machine;
use super::starved::PassedOver;

/// What every start is given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) plane: Settings,
    pub(crate) controller: ControllerSettings,
    pub(crate) segment_bytes: u64,
    pub(crate) segments_max: usize,
}

/// The journal of a process, and the group that is being synced.
#[derive(Debug)]
pub(crate) struct JournalHost {
    pub(crate) writer: JournalWriter,
    pub(crate) reader: JournalReader,
    pub(crate) waiting: Vec<Record>,
    pub(crate) running: Option<(Committed, SimMark)>,
    /// What that does to the logs.
    pub(crate) written: LogEnds,
    /// Since when it runs.
    pub(crate) running_since: u64,
    pub(crate) persisted: u64,
    /// Who keeps the oldest segment from being used again.
    pub(crate) held: BTreeMap<u64, u64>,
    pub(crate) failed: bool,
}

/// One lane: a job after the other.
#[derive(Debug, Default)]
pub(crate) struct LaneHost {
    pub(crate) running: Option<Job>,
    pub(crate) waiting: VecDeque<Job>,
}

/// One start of a node.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) life: Life,
    pub(crate) office: Office,
    pub(crate) started_us: u64,
    /// How fast its clock goes.
    drift: Drift,
    pub(crate) plane: Plane<SimEngine, Waiter>,
    pub(crate) controller: Controller,
    pub(crate) journal: JournalHost,
    /// Who waits for a flush.
    pub(crate) passed_over: PassedOver,
    pub(crate) notes: StoppedReplicas,
    pub(crate) lanes: [LaneHost; 3],
    /// Events for the next turn.
    pub(crate) inbox: Vec<PlaneEvent<Waiter>>,
    /// When that is.
    pub(crate) turn_at: Option<u64>,
    pub(crate) last_turn: u64,
    pub(crate) tick_at: Option<u64>,
    pub(crate) paused_until: u64,
    pub(crate) progress: BTreeMap<PartitionId, ReplicaProgress>,
    pub(crate) map: Arc<ClusterMap>,
    /// When each other node was last heard.
    pub(crate) heard: BTreeMap<StorageId, (u64, Life)>,
    /// It was told to stop.
    pub(crate) leaving: bool,
}

impl Process {
    /// Starts on what the machine has, as a server does.
    pub(crate) fn start(
        machine: &mut Machine,
        given: &Given,
        life: Life,
        now: u64,
    ) -> Result<Self, String> {
        let settings = JournalSettings {
            segment_bytes: given.segment_bytes,
            segments_max: given.segments_max,
            journal_id: machine.storage.0,
        };
        let disk = Arc::new(machine.disk.folder("journal"));
        let opened = Journal::open_on(disk, "journal", &settings, &mut |_| {});
        let (writer, reader) = opened.map_err(|error| error.to_string())?;
        let notes = StoppedReplicas::on(Arc::new(machine.disk.folder("stopped")));
        let stopped = notes.read().map_err(|error| error.to_string())?;
        let place = |partition: u64| format!("rows/{partition:016x}");
        let engine = machine.engine.as_ref();
        let mutant = given.plane.mutant;
        let stored = recover_with(mutant, engine, &reader, &BTreeMap::new(), &stopped, &place);
        let stored = stored.map_err(|error| error.to_string())?;
        // Opening wrote, and waited for it.
        machine.disk.settle();
        machine.durable = LogEnds::found(&reader);
        machine.proven.clone_from(&machine.durable);
        let office = machine.office();
        let engine = Arc::clone(&machine.engine);
        let mut plane = Plane::new(office, given.plane.clone(), engine, stored);
        plane.watch();
        Ok(Self {
            life,
            office,
            started_us: now,
            drift: machine.drift,
            plane,
            controller: Controller::new(office, &given.controller, Strategies::built_in().into()),
            journal: JournalHost {
                writer,
                reader,
                waiting: Vec::new(),
                running: None,
                written: LogEnds::default(),
                running_since: now,
                persisted: 0,
                held: BTreeMap::new(),
                failed: false,
            },
            passed_over: PassedOver::new(),
            notes,
            lanes: Default::default(),
            inbox: Vec::new(),
            turn_at: None,
            last_turn: now,
            tick_at: None,
            paused_until: now,
            progress: BTreeMap::new(),
            map: Arc::new(ClusterMap::empty()),
            heard: BTreeMap::new(),
            leaving: false,
        })
    }

    /// The monotonic clock of the process.
    pub(crate) fn since_start(&self, now: u64) -> Duration {
        let elapsed = now.saturating_sub(self.started_us);
        Duration::from_micros(self.drift.shown(elapsed))
    }

    /// The time of a turn of the plane.
    pub(crate) fn now(&self, now: u64, wall_ms: u64) -> Now {
        Now {
            since_start: self.since_start(now),
            wall_ms,
        }
    }

    /// A moment of its clock in the time of the run.
    pub(crate) fn at(&self, since_start: Duration) -> u64 {
        let us = u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX / 2);
        self.started_us.saturating_add(self.drift.elapsed(us))
    }

    pub(crate) fn is_paused(&self, now: u64) -> bool {
        self.paused_until > now
    }
}
