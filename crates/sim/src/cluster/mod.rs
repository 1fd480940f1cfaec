//! A cluster of whole nodes in simulated time: the planes and controllers of servers, real journals
//! on simulated disks, a network that cuts, clients, faults.
//!
//! One seed is one run. Only sockets, disks, clocks and raft's agreement are replaced.

mod active;
mod agreed;
mod clients;
mod core;
mod drift;
mod durable;
mod engine;
mod event;
mod faults;
mod images;
mod judge;
mod limits;
mod machine;
mod mishaps;
mod network;
mod operator;
mod process;
mod rest;
mod rot;
mod scenario;
mod sessions;
mod shared;
mod smaller;
mod starved;
mod talk;
mod tally;
mod theme;
mod trees;
mod turn;
mod wanted;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use tablestore_dataplane::PlaneEvent;
use tablestore_placement::StorageId;

use self::active::ActiveRun;
use self::agreed::Agreed;
use self::clients::Clients;
use self::core::Ending;
use self::drift::Drift;
use self::event::{ClusterEvent, Life, Queue, Slot};
use self::machine::Machine;
use self::network::Network;
use self::process::{Given, Process};
use self::scenario::Scenario;
use self::sessions::Sessions;
pub use self::shared::OwnerMutant;
use self::shared::Shared;
pub(crate) use self::tally::MARK_EVERY;
use self::tally::Tally;
use crate::check::Check;
use crate::rng::Chances;
use crate::{Line, Options, Smaller};

/// One millisecond.
pub(crate) const MS: u64 = 1_000;
/// A run that needs more events than this does not end by itself.
const EVENTS_MAX: u64 = 3_000_000;
/// What a kibibyte takes on a slow network.
const NARROW_US_PER_KIB: u64 = 300;
/// How often the operator and the agreement look after things.
const LOOK_EVERY_US: u64 = 50 * MS;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<String>,
    pub(crate) events: u64,
    pub(crate) offices: u64,
    pub(crate) writes: u64,
    pub(crate) reads: u64,
    pub(crate) simulated_us: u64,
    pub(crate) well_after_us: u64,
    pub(crate) trace_hash: u64,
    pub(crate) marks: Vec<u64>,
    pub(crate) ways: BTreeMap<&'static str, u64>,
    pub(crate) trace: Vec<Line>,
}

/// The state of a run.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) chance: Chances,
    queue: Queue,
    pub(crate) network: Network,
    sessions: Sessions,
    /// The number under which each process last wanted a connection to each peer.
    wanted: BTreeMap<(Life, StorageId), u64>,
    pub(crate) machines: Vec<Machine>,
    /// Machines without power: nobody can tell that their process is gone.
    machines_off: BTreeSet<Slot>,
    /// Whoever drains longer than these does so until it is called off.
    drains: BTreeSet<Slot>,
    agreement: Agreed,
    given: Given,
    pub(crate) scenario: Scenario,
    clients: Clients,
    active: ActiveRun,
    check: Check,
    lives: u64,
    /// No fault is left.
    healed: bool,
    violation: Option<String>,
    events: u64,
    offices: u64,
    ending: Ending,
    /// When an operator wanted something last.
    meddled_at: Option<u64>,
    /// The machine that stays dead for ever.
    dead: Option<Slot>,
    /// How long after healing all was well.
    well_after_us: u64,
    tally: Tally,
    /// Partitions on shared storage.
    shared: Shared,
    smaller: Smaller,
    trace: Option<Vec<Line>>,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, options: Options) -> Outcome {
    let mut chance = Chances::new(seed);
    let scenario = Scenario::of(seed, &options, &mut chance);
    let mut world = World::new(scenario, chance, options);
    world.run();
    world.into_outcome()
}

impl World {
    fn new(scenario: Scenario, mut chance: Chances, options: Options) -> Self {
        let machines = (0..scenario.nodes)
            .map(|slot| {
                let (disks, clocks) = (&mut chance.disks, &mut chance.clocks);
                let drift = Drift::of(clocks);
                Machine::new(slot, 0, disks.below(u64::MAX), &scenario, drift)
            })
            .collect();
        let mut network = Network::new(&mut chance.network);
        if scenario.narrow {
            network.us_per_kib = NARROW_US_PER_KIB;
        }
        Self {
            now: 0,
            queue: Queue::default(),
            network,
            sessions: Sessions::default(),
            wanted: BTreeMap::new(),
            machines,
            machines_off: BTreeSet::new(),
            drains: BTreeSet::new(),
            agreement: Agreed::new(chance.agreement.below(u64::MAX), scenario.agreement.clone()),
            given: scenario.given.clone(),
            clients: Clients::new(scenario.clients),
            active: ActiveRun::new(scenario.active, scenario.replicas),
            check: Check::new(scenario.memory()),
            scenario,
            ending: Ending::new(&mut chance.ending),
            chance,
            lives: 0,
            healed: false,
            violation: None,
            events: 0,
            offices: 0,
            meddled_at: None,
            dead: None,
            well_after_us: 0,
            tally: Tally::default(),
            shared: Shared::default(),
            smaller: options.smaller,
            trace: options.trace.then(Vec::new),
        }
    }

    fn run(&mut self) {
        self.start(0);
        self.found();
        for slot in 1..self.machines.len() {
            let at = 1 + self.chance.operators.below(5 * MS);
            self.queue.push(at, ClusterEvent::Start(slot));
        }
        for client in 0..self.scenario.clients {
            let at = 100 * MS + self.chance.clients.below(50 * MS);
            self.queue.push(at, ClusterEvent::Client(client));
        }
        self.begin_active_clients();
        for number in 0..self.scenario.faults.len() {
            let at = self.scenario.faults[number].at_us;
            if self.smaller.holds(number) && at < self.scenario.faults_end_us {
                self.queue.push(at, ClusterEvent::Fault(number));
            }
        }
        self.queue.push(10 * MS, ClusterEvent::Operator);
        while self.now < self.scenario.faults_end_us && self.step() {}
        self.leave_core();
        self.heal_all();
        self.rest();
    }

    /// One event. False when the run is over early.
    fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else {
            return false;
        };
        self.now = at;
        self.events += 1;
        if self.events > EVENTS_MAX {
            self.fail("End", || "the run does not end".to_owned());
        }
        self.tally.event(at ^ event.kind() << 48);
        self.dispatch(event);
        self.violation.is_none()
    }

    fn dispatch(&mut self, event: ClusterEvent) {
        match event {
            ClusterEvent::Turn(life) => self.turn(life),
            ClusterEvent::Tick(life) => self.tick(life),
            ClusterEvent::Pings(life) => self.pings(life),
            ClusterEvent::Synced(life) => self.synced(life),
            ClusterEvent::JobEnds(life, lane) => self.job_ends(life, lane),
            ClusterEvent::Dial { from, peer, link } => self.dial(from, peer, link),
            ClusterEvent::Frame { session } => self.frame_arrives(session),
            ClusterEvent::LateNews { life, peer, link } => {
                self.give(life, PlaneEvent::PeerDown { peer, link });
            }
            ClusterEvent::Unconfirmed { session, since } => self.unconfirmed(session, since),
            ClusterEvent::SessionOver { session } => self.session_over(session),
            ClusterEvent::Told { from, to, what } => self.told(from, to, what),
            ClusterEvent::Agreement => self.agreement_step(),
            ClusterEvent::Client(client) => self.client(client),
            ClusterEvent::Asked { to, attempt } => self.asked(to, attempt),
            ClusterEvent::ActiveClient(client) => self.active_client(client),
            ClusterEvent::ActiveAsked { to, attempt } => self.active_asked(to, attempt),
            ClusterEvent::Answered { waiter, by, reply } => self.answered(waiter, by, *reply),
            ClusterEvent::GivenUp(waiter) => self.given_up(waiter),
            ClusterEvent::Fault(number) => self.fault(number),
            ClusterEvent::FaultEnds(number) => self.fault_ends(number),
            ClusterEvent::Register(life) => self.register(life),
            ClusterEvent::Start(slot) => self.start(slot),
            ClusterEvent::Operator => self.operator(),
            ClusterEvent::Owner(life, event) => self.owner_event(life, event),
            ClusterEvent::Stored(arrival) => self.stored(&arrival),
        }
    }

    /// The process of a life, if it still runs.
    pub(crate) fn process(&mut self, life: Life) -> Option<&mut Process> {
        let process = self.machines.get_mut(life.slot)?.process.as_mut()?;
        (process.life == life).then_some(process)
    }

    /// A process starts on a machine, if none runs there.
    fn start(&mut self, slot: Slot) {
        if self.machines[slot].process.is_some() || self.dead == Some(slot) {
            return;
        }
        if self.machines[slot].is_older && !self.may_start(slot) {
            return;
        }
        self.machines_off.remove(&slot);
        self.lives += 1;
        let life = Life {
            slot,
            number: self.lives,
        };
        let start = self.chance.operators.below(u64::MAX);
        let machine = &mut self.machines[slot];
        machine.incarnation.0 += 1;
        machine.begun.push(start);
        let process = Process::start(machine, &self.given, life, self.now);
        let entered = process.and_then(|process| {
            self.machines[slot].process = Some(process);
            self.enter_agreement(slot)
        });
        match entered {
            Ok(()) if !self.judge_start(slot) => return,
            Ok(()) => {}
            Err(error) if self.replace_decayed(slot, &error) => return,
            Err(error) if self.find_raft_log(slot, &error) => return self.begin_no_start(slot),
            Err(error) if error.contains("cannot use") && !self.healed => {
                self.begin_no_start(slot);
                self.took("a start was refused by the disk");
                return self
                    .queue
                    .push(self.now + 50 * MS, ClusterEvent::Start(slot));
            }
            Err(error) => {
                return self.fail("Start", || format!("n{slot} does not start: {error}"));
            }
        }
        self.tell(|| format!("{life:?} starts"));
        self.active_restarts(slot);
        self.queue.push(self.now, ClusterEvent::Pings(life));
        self.queue.push(self.now, ClusterEvent::Tick(life));
        self.turn_at(life, self.now);
        self.register(life);
    }

    /// A start is begun when all its files are there: this one was not.
    fn begin_no_start(&mut self, slot: Slot) {
        let machine = &mut self.machines[slot];
        (machine.process, machine.incarnation.0) = (None, machine.incarnation.0 - 1);
        // What was replayed was in its memory.
        machine.engine = machine.engine.after_crash().into();
        machine.begun.pop();
    }

    /// The process of a machine is gone; `silently` with the power of the machine.
    pub(crate) fn kill(&mut self, slot: Slot, silently: bool) {
        let machine = &mut self.machines[slot];
        let Some(process) = machine.process.take() else {
            return;
        };
        let life = process.life;
        drop(process);
        self.shared.lose(life);
        self.agreement.inner.crashed(slot);
        if self.agreement.leads == Some(slot) {
            self.agreement.leads = None;
        }
        let machine = &mut self.machines[slot];
        machine.engine = machine.engine.after_crash().into();
        if silently {
            machine.disk = machine.disk.crash();
            self.machines_off.insert(slot);
        }
        self.tell(|| format!("{life:?} is gone"));
        self.connections_end(life, silently);
        if !silently {
            self.seen_gone(life);
        }
        self.clients_lose(slot);
        self.active_clients_lose(slot);
    }

    /// The operator's part: somebody leads, everybody knows the map, tables are there.
    fn operator(&mut self) {
        if !self.agreement.map.is_founded() {
            self.found_map();
        }
        self.fit_group();
        self.agree_on_time();
        self.create_tables();
        self.call_drains_off();
        self.queue
            .push(self.now + LOOK_EVERY_US, ClusterEvent::Operator);
    }

    pub(crate) fn fail(&mut self, rule: &str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(format!("{rule}: {}", what()));
        }
    }

    /// A rarer way was taken.
    pub(crate) fn took(&mut self, way: &'static str) {
        self.tally.took(way);
    }

    /// Puts a line into the trace, if one is kept.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(Line {
                at_us: self.now,
                text: line(),
            });
        }
    }

    fn into_outcome(self) -> Outcome {
        Outcome {
            violation: self.violation,
            events: self.events,
            offices: self.offices,
            writes: self.check.counts().acknowledged + self.active.check.counts().writes,
            reads: self.check.counts().strong_reads + self.active.check.counts().reads,
            simulated_us: self.now,
            well_after_us: self.well_after_us,
            trace_hash: self.tally.hash,
            marks: self.tally.marks,
            ways: self.tally.ways,
            trace: self.trace.unwrap_or_default(),
        }
    }
}
