//! The agreement on the cluster map, for now: one map, changed where a majority is connected.

use std::sync::Arc;

use tablestore_controller::{Input, Proposal as Decided};
use tablestore_dataplane::{Event as PlaneEvent, Proposal};
use tablestore_placement::{ClusterMap, Command, MadeUnder, PartitionId, Registration};

use super::World;
use super::event::{Event, Life, Slot};

/// What is agreed on, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Thin {
    pub(crate) map: ClusterMap,
    pub(crate) leader: Option<Life>,
    pub(crate) term: u64,
    leaderless_since: Option<u64>,
    waiting: Vec<(u64, Step)>,
}

#[derive(Debug)]
enum Step {
    Plane(Life, Proposal),
    Decide(Life, Box<Decided>),
    Read(Life, Vec<(PartitionId, u64)>),
    Command(Command),
    Map(Life, Arc<ClusterMap>),
    Proposed(
        Life,
        PartitionId,
        Option<tablestore_placement::AssignmentVersion>,
    ),
    Done(Life, tablestore_controller::Job, bool),
}

impl World {
    fn later(&mut self, step: Step, slow: u64) {
        let at = self.now + self.chance.between(500, 4_000) + slow;
        self.agreement.waiting.push((at, step));
        self.queue.push(at, Event::Agreement);
    }

    pub(super) fn propose_for_plane(&mut self, life: Life, proposal: Proposal) {
        self.later(Step::Plane(life, proposal), 0);
    }

    pub(super) fn decide(&mut self, life: Life, proposal: Decided) {
        self.later(Step::Decide(life, Box::new(proposal)), 0);
    }

    pub(super) fn read_map(&mut self, life: Life, rounds: Vec<(PartitionId, u64)>) {
        self.later(Step::Read(life, rounds), 0);
    }

    pub(super) fn command(&mut self, command: Command) {
        self.later(Step::Command(command), 0);
    }

    pub(super) fn register(&mut self, life: Life) {
        let machine = &self.machines[life.slot];
        let registration = Registration {
            storage: machine.storage,
            name: format!("n{}", life.slot),
            http_address: format!("h{}", life.slot),
            peer_address: format!("p{}", life.slot),
            zone: String::new(),
            weight: 1,
            incarnation: machine.incarnation,
            start: machine.begun.last().copied().unwrap_or(0),
            begun: machine.begun.clone(),
            boot: 1,
            at_ms: machine.wall_ms(self.now),
        };
        self.command(Command::Register(registration));
    }

    pub(super) fn hand_over(&mut self, _life: Life, to: Slot) {
        if let Some(process) = &self.machines[to].process {
            let next = process.life;
            self.lead(Some(next));
        }
    }

    pub(super) fn crash_hint(&mut self, _by: Life, of: Slot) {
        if self
            .agreement
            .leader
            .is_some_and(|leader| leader.slot == of)
        {
            self.elect();
        }
    }

    fn has_majority(&self, slot: Slot) -> bool {
        let there = self.machines.iter().filter(|machine| {
            let alive = machine
                .process
                .as_ref()
                .is_some_and(|p| !p.is_paused(self.now));
            alive && self.network.connects(slot, machine.slot)
        });
        there.count() * 2 > self.machines.len()
    }

    fn lead(&mut self, next: Option<Life>) {
        let before = std::mem::replace(&mut self.agreement.leader, next);
        if before == next {
            return;
        }
        self.agreement.term += 1;
        let term = self.agreement.term;
        if let Some(before) = before {
            self.control(before, Input::Leadership { term: None });
        }
        if let Some(next) = next {
            self.took("a leader was elected");
            self.control(next, Input::Leadership { term: Some(term) });
        }
    }

    fn elect(&mut self) {
        let able = self.machines.iter().filter(|machine| {
            let process = machine.process.as_ref();
            process.is_some_and(|p| !p.is_paused(self.now)) && self.has_majority(machine.slot)
        });
        let able: Vec<Life> = able
            .filter_map(|machine| machine.process.as_ref().map(|p| p.life))
            .collect();
        let next = self.chance.pick(&able);
        self.lead(next);
    }

    /// Looks whether somebody leads; elects after a while of silence.
    pub(super) fn look_at_leader(&mut self) {
        let good = self.agreement.leader.is_some_and(|leader| {
            let process = self.machines[leader.slot].process.as_ref();
            process.is_some_and(|p| p.life == leader && !p.is_paused(self.now))
                && self.has_majority(leader.slot)
        });
        if good {
            self.agreement.leaderless_since = None;
            return;
        }
        let since = *self.agreement.leaderless_since.get_or_insert(self.now);
        if self.now > since + 350_000 || self.agreement.leader.is_none() {
            self.elect();
        }
    }

    pub(super) fn agreement_step(&mut self) {
        let now = self.now;
        let (due, left) = std::mem::take(&mut self.agreement.waiting)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.agreement.waiting = left;
        for (_, step) in due {
            self.agree(step);
        }
    }

    fn works_for(&self, slot: Slot) -> bool {
        let leader = self.agreement.leader;
        leader.is_some_and(|leader| {
            self.has_majority(leader.slot) && self.network.connects(slot, leader.slot)
        })
    }

    fn agree(&mut self, step: Step) {
        match step {
            Step::Plane(life, proposal) => {
                if !self.works_for(life.slot) {
                    return self.later(Step::Proposed(life, proposal.partition, None), 100_000);
                }
                let applied = self.apply(&proposal.command);
                let refused = (!applied).then_some(proposal.version);
                self.later(Step::Proposed(life, proposal.partition, refused), 0);
            }
            Step::Decide(life, proposal) => {
                let led = self.agreement.leader == Some(life) && self.works_for(life.slot);
                let current = self.agreement.term == proposal.term;
                let change = proposal
                    .change(&self.agreement.map)
                    .filter(|_| led && current);
                let done = change.is_some_and(|mut change| {
                    change.made_under = Some(MadeUnder {
                        term: proposal.term,
                        map_version: self.agreement.map.version,
                    });
                    self.apply(&Command::Change(change))
                });
                self.later(Step::Done(life, proposal.job, done), 0);
            }
            Step::Read(life, rounds) => {
                let map = self
                    .works_for(life.slot)
                    .then(|| Arc::new(self.agreement.map.clone()));
                self.give(life, PlaneEvent::MapRead { rounds, map });
            }
            Step::Command(command) => {
                let leads = self.agreement.leader;
                if !leads.is_some_and(|leader| self.has_majority(leader.slot)) {
                    return self.later(Step::Command(command), 20_000);
                }
                self.apply(&command);
            }
            Step::Map(life, map) => self.map_arrives(life, map),
            Step::Proposed(life, partition, refused) => {
                self.give(life, PlaneEvent::Proposed { partition, refused });
            }
            Step::Done(life, job, done) => self.control(life, Input::Proposed { job, done }),
        }
    }

    fn apply(&mut self, command: &Command) -> bool {
        let term = self.agreement.term;
        let applied = self.agreement.map.apply_in_term(term, command);
        let now = self.now;
        self.tell(|| {
            let shown = format!("{command:?}");
            format!("{now} {:.300} -> {applied:?}", shown)
        });
        if applied.is_err() {
            self.took("the map refused");
            return false;
        }
        let map = Arc::new(self.agreement.map.clone());
        for slot in 0..self.machines.len() {
            if let Some(process) = &self.machines[slot].process {
                let life = process.life;
                if self.works_for(slot) {
                    self.later(Step::Map(life, Arc::clone(&map)), 0);
                }
            }
        }
        true
    }

    /// Nodes that missed something are told now and then.
    pub(super) fn tell_maps(&mut self) {
        let map = Arc::new(self.agreement.map.clone());
        for slot in 0..self.machines.len() {
            let works = self.works_for(slot);
            if let Some(process) = &self.machines[slot].process
                && works
                && process.map.version < map.version
            {
                let life = process.life;
                self.later(Step::Map(life, Arc::clone(&map)), 0);
            }
        }
    }

    fn map_arrives(&mut self, life: Life, map: Arc<ClusterMap>) {
        let Some(process) = self.process(life) else {
            return;
        };
        if process.map.version >= map.version {
            return;
        }
        process.map = Arc::clone(&map);
        let (office, leaving) = (process.office, process.leaving);
        let members = map.members.keys().copied().collect();
        self.give(life, PlaneEvent::Map(Arc::clone(&map)));
        self.control(life, Input::Voters(members));
        self.control(life, Input::Map(Arc::clone(&map)));
        let member = map.members.get(&office.member);
        let registered = member.is_some_and(|m| m.incarnation >= office.incarnation);
        let held_dead = member.is_some_and(|m| m.incarnation == office.incarnation && !m.is_live());
        if held_dead && !leaving {
            self.took("a start was held dead and began anew");
            self.kill(life.slot, false);
            self.queue.push(self.now + 2_000, Event::Start(life.slot));
        } else if !registered {
            self.register(life);
        }
    }
}
