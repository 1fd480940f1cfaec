//! All parts of a run together, and the loop over its events.

use std::collections::BTreeMap;
use std::rc::Rc;

use tablestore_placement::{Assignment, AssignmentVersion, Epoch, Office, StorageId};
use tablestore_replication::{Input, Settings};

use crate::authority::Authority;
use crate::checker::Checker;
use crate::client::Client;
use crate::event::{Event, Process, Slot};
use crate::network::Network;
use crate::node::Node;
use crate::queue::Queue;
use crate::rng::Chance;
use crate::scenario::Scenario;

/// One millisecond.
pub(crate) const MS: u64 = 1000;
/// After all faults are healed everything must be well within this time.
const QUIET_US_MAX: u64 = 30_000 * MS;
/// A run that needs more events than this does not end by itself.
const EVENTS_MAX: u64 = 2_000_000;

/// The state of a run.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    pub(crate) authority: Authority,
    pub(crate) clients: Vec<Client>,
    pub(crate) checker: Checker,
    pub(crate) scenario: Scenario,
    pub(crate) settings: Settings,
    pub(crate) control_plane_up: bool,
    /// Since when the controller cannot reach a slot.
    pub(crate) silent_since: Vec<Option<u64>>,
    /// Slots that the controller holds down although they live.
    pub(crate) wrong_guesses: Vec<bool>,
    pub(crate) healing: bool,
    pub(crate) trace_hash: u64,
    pub(crate) events: u64,
    pub(crate) fail_overs: u64,
    pub(crate) ways: BTreeMap<&'static str, u64>,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(scenario: Scenario, settings: Settings, chance: Chance, trace: bool) -> Self {
        let mut nodes: Vec<Node> = (0..scenario.nodes)
            .map(|slot| Node::new(slot, scenario.partitions, scenario.sync_us))
            .collect();
        let authority = Authority {
            version: 1,
            members: Default::default(),
            assignments: Vec::new(),
            in_sync_min: scenario.in_sync_min,
        };
        for node in &mut nodes {
            node.start(0, settings);
        }
        let clients = (0..scenario.clients).map(|_| Client::default()).collect();
        let slots = scenario.nodes;
        Self {
            now: 0,
            chance,
            queue: Queue::default(),
            network: Network::new(scenario.manners),
            nodes,
            authority,
            clients,
            checker: Checker::default(),
            scenario,
            settings,
            control_plane_up: true,
            silent_since: vec![None; slots],
            wrong_guesses: vec![false; slots],
            healing: false,
            trace_hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            fail_overs: 0,
            ways: BTreeMap::new(),
            trace: trace.then(Vec::new),
        }
    }

    /// Founds the cluster and puts the first events in.
    pub(crate) fn found(&mut self) {
        for node in &self.nodes {
            let office = node.office();
            self.authority.register(office.member, office.incarnation);
        }
        for partition in 0..self.scenario.partitions {
            let slots = (0..self.scenario.replicas).map(|at| (partition + at) % self.nodes.len());
            let offices: Vec<Office> = slots.map(|slot| self.nodes[slot].office()).collect();
            let members: Vec<StorageId> = offices.iter().map(|office| office.member).collect();
            self.authority.assignments.push(Assignment {
                epoch: Epoch(1),
                version: AssignmentVersion(1),
                primary: Some(offices[0]),
                replicas: members.clone(),
                in_sync: members,
            });
        }
        for slot in 0..self.nodes.len() {
            let process = self.nodes[slot].process();
            let at = self.chance.between(20 * MS, 100 * MS);
            self.queue.push(at, Event::Housekeeping(process));
        }
        for client in 0..self.clients.len() {
            let at = self.chance.below(20 * MS);
            self.queue.push(at, Event::ClientStarts { client });
        }
        self.queue.push(5 * MS, Event::Controller);
        self.queue.push(20 * MS, Event::Nemesis);
        self.spread_map();
    }

    /// Runs to the end of the scenario, heals everything and waits until all is well.
    pub(crate) fn run(&mut self) {
        self.found();
        let end = self.scenario.faults_end_us;
        while self.now < end && self.step() {}
        self.heal_everything();
        let quiet_at_latest = self.now + QUIET_US_MAX;
        let mut checks_at = self.now;
        while self.checker.violation.is_none() {
            if !self.step() {
                break;
            }
            if self.now >= checks_at {
                checks_at = self.now + 20 * MS;
                match self.unwell() {
                    None => break,
                    Some(why) if self.now > quiet_at_latest => {
                        self.checker
                            .fail(|| format!("not well long after healing: {why}"));
                    }
                    Some(_) => {}
                }
            }
        }
        if self.checker.violation.is_none() {
            for partition in 0..self.scenario.partitions {
                self.check_final_state(partition);
            }
        }
    }

    /// One event. False when the run is over early.
    fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else {
            return false;
        };
        self.now = at;
        self.events += 1;
        if self.events > EVENTS_MAX {
            self.checker.fail(|| "the run does not end".to_owned());
        }
        self.note(at ^ event.tag());
        if let Some(process) = event.process() {
            let node = &self.nodes[process.slot];
            if node.process() != process {
                return true;
            }
            if node.paused_until > at {
                self.queue.push(node.paused_until, event);
                return true;
            }
        }
        self.dispatch(event);
        self.checker.violation.is_none()
    }

    fn note(&mut self, number: u64) {
        self.trace_hash = (self.trace_hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
        self.trace_hash ^= self.trace_hash >> 29;
    }

    /// A rarer way through the protocol was taken.
    pub(crate) fn took(&mut self, way: &'static str) {
        *self.ways.entry(way).or_default() += 1;
    }

    /// Puts a line into the trace, if one is kept.
    pub(crate) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>10.3} ms  {}", self.now as f64 / 1000.0, line(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Deliver {
                to,
                from,
                partition,
                message,
            } => self.deliver(to, from, partition, message),
            Event::SyncDone(process) => self.sync_done(process),
            Event::Wake {
                process,
                partition,
                at,
            } => self.wake(process, partition, at),
            Event::MapUpdate { process, map } => self.map_update(process, &map),
            Event::Propose { process, proposal } => self.propose(process, &proposal),
            Event::ProposalRefused {
                process,
                partition,
                version,
            } => self.input(process.slot, partition, Input::ProposalRefused { version }),
            Event::ReadMap {
                process,
                partition,
                round,
            } => self.read_map(process, partition, round),
            Event::MapRead {
                process,
                partition,
                round,
                shown,
            } => {
                let input = match shown {
                    Some((epoch, version)) => Input::MapConfirmed {
                        round,
                        epoch,
                        version,
                    },
                    None => Input::MapUnavailable { round },
                };
                self.input(process.slot, partition, input);
            }
            Event::LogRead {
                process,
                partition,
                from,
                entries,
            } => self.input(process.slot, partition, Input::LogRead { from, entries }),
            other => self.dispatch_rest(other),
        }
    }

    fn dispatch_rest(&mut self, event: Event) {
        match event {
            Event::SnapshotArrives {
                to,
                from,
                sender,
                partition,
                epoch,
                snapshot,
            } => self.snapshot_arrives(to, from, sender, partition, epoch, snapshot),
            Event::SnapshotSent {
                sender,
                to,
                partition,
                delivered,
            } => {
                let input = match delivered {
                    Some(index) => Input::SnapshotDelivered { to, index },
                    None => Input::SnapshotFailed { to },
                };
                self.input(sender.slot, partition, input);
            }
            Event::SnapshotSwitched { process, partition } => {
                self.snapshot_switched(process.slot, partition);
            }
            Event::CheckPeer { process, peer } => self.check_peer(process, peer),
            Event::ClientStarts { client } => self.client_starts(client),
            Event::Arrives { to, request } => self.request_arrives(to, request),
            Event::Answered { request, reply } => self.client_answered(request, reply),
            Event::ClientTimesOut {
                client,
                op,
                attempt,
            } => self.client_times_out(client, op, attempt),
            Event::Housekeeping(process) => self.housekeeping(process),
            Event::Controller => self.controller(),
            Event::Nemesis => self.nemesis(),
            Event::Restart { slot } => self.restart(slot),
            Event::Heal { cut } => self.heal(cut),
            Event::SpeedUp { slot } => self.nodes[slot].sync_us = self.scenario.sync_us,
            Event::WrongGuessEnds { slot } => self.wrong_guesses[slot] = false,
            Event::Promote { partition, to } => self.promote(partition, to),
            Event::ControlPlaneBack => self.control_plane_up = true,
            _ => {}
        }
    }

    /// What is not as it must be when no fault is left; `None` if all is well.
    fn unwell(&self) -> Option<String> {
        if self.clients.iter().any(Client::is_busy) {
            return Some("clients wait".to_owned());
        }
        for (partition, assignment) in self.authority.assignments.iter().enumerate() {
            let Some(primary) = assignment.primary else {
                return Some(format!("partition {partition} has no primary"));
            };
            let slot = crate::authority::slot_of(primary.member);
            if self.nodes[slot].office() != primary {
                return Some(format!("partition {partition}: the office is vacant"));
            }
            let status = self.nodes[slot].hosted[partition].replica.status();
            if !status.serving || status.commit != status.end {
                return Some(format!("partition {partition}: the primary is {status:?}"));
            }
            if assignment.in_sync.len() != self.scenario.replicas
                || assignment.replicas.len() != self.scenario.replicas
            {
                return Some(format!("partition {partition}: {assignment:?} {status:?}"));
            }
            for member in &assignment.replicas {
                let node = &self.nodes[crate::authority::slot_of(*member)];
                let own = node.hosted[partition].replica.status();
                if own.applied != status.end || own.durable != status.end {
                    return Some(format!(
                        "partition {partition}: replica {member} is {own:?}"
                    ));
                }
            }
        }
        None
    }

    /// All replicas hold the same, and that is what clients were told.
    fn check_final_state(&mut self, partition: usize) {
        let members = self.authority.assignments[partition].replicas.clone();
        let mut states = Vec::new();
        for member in members {
            let node = &self.nodes[crate::authority::slot_of(member)];
            states.push((node.state(partition), node.disk.logs[partition].clone()));
        }
        for (state, log) in &states[1..] {
            let (first, first_log) = &states[0];
            if state.engine != first.engine || state.remembered != first.remembered {
                self.checker
                    .fail(|| format!("replicas of partition {partition} differ"));
            }
            let from = log.first().max(first_log.first());
            if !log
                .entries
                .range(from..)
                .eq(first_log.entries.range(from..))
            {
                self.checker
                    .fail(|| format!("logs of partition {partition} differ"));
            }
        }
        let engine = states[0].0.engine.clone();
        self.checker.finish(partition, &engine);
    }

    /// Tells every node the map, each at its own time.
    pub(crate) fn spread_map(&mut self) {
        let copy = Rc::new(self.authority.copy());
        for slot in 0..self.nodes.len() {
            if !self.nodes[slot].up || !self.network.reaches_control(slot) {
                continue;
            }
            let late = !self.healing && self.chance.happens(self.scenario.map_late_per_mille);
            let delay = if late {
                self.chance.between(10 * MS, 250 * MS)
            } else {
                self.chance.between(200, 3 * MS)
            };
            let process = self.nodes[slot].process();
            let map = Rc::clone(&copy);
            self.queue
                .push(self.now + delay, Event::MapUpdate { process, map });
        }
    }

    pub(crate) fn is_reachable(&self, slot: Slot) -> bool {
        let node = &self.nodes[slot];
        node.up && node.paused_until <= self.now && self.network.reaches_control(slot)
    }

    /// Whether frames pass both ways, so that a session stands.
    pub(crate) fn has_session(&self, process: Process, peer: Slot) -> bool {
        self.nodes[peer].up
            && self.network.passes(process.slot, peer)
            && self.network.passes(peer, process.slot)
    }
}
