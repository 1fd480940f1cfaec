//! The world around the agreement on the cluster map: what is proposed and what comes back, who
//! belongs to the group, how a start becomes a member. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tablestore_controller::{Input, Job, Proposal as Decided, VOTERS_MAX, next_step};
use tablestore_dataplane::{PlaneEvent, Proposal};
use tablestore_placement::{
    AssignmentVersion, ClusterId, ClusterMap, Command, MemberState, PartitionId, Registration,
    StorageId, Strategies,
};

use super::event::{ClusterEvent, Life, Slot};
use super::shared::OwnerEvent;
use super::{MS, World};
use crate::agreement::{self, Agreement, Outcome, Says, Start};

/// As in a server: how often a start tries to become a member.
const REGISTER_EVERY_US: u64 = 100 * MS;

/// Who waits for an answer of the agreement.
#[derive(Debug)]
enum For {
    Plane(Life, PartitionId, AssignmentVersion),
    Decision(Life, Job),
    Read(Life, Vec<(PartitionId, u64)>),
    /// The confirmation of an owner's office.
    Owner(Life, u64),
    Operator,
}

/// The agreement, and what the world keeps of it.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) inner: Agreement,
    /// When it is stepped next.
    planned: Option<u64>,
    last_ticket: u64,
    waiting: BTreeMap<u64, For>,
    /// Who was last told to lead.
    pub(crate) leads: Option<Slot>,
    /// The newest map that anybody has.
    pub(crate) map: Arc<ClusterMap>,
    /// The voters that each node was told of last.
    pub(super) voters: BTreeMap<Slot, BTreeSet<StorageId>>,
    /// No change of the group is wanted or under way.
    pub(super) fits: bool,
    /// Since when members are held down.
    down_since: BTreeMap<StorageId, u64>,
}

impl Agreed {
    pub(crate) fn new(seed: u64, settings: agreement::Settings) -> Self {
        Self {
            inner: Agreement::new(seed, settings),
            planned: None,
            last_ticket: 0,
            waiting: BTreeMap::new(),
            leads: None,
            map: Arc::new(ClusterMap::empty()),
            voters: BTreeMap::new(),
            fits: false,
            down_since: BTreeMap::new(),
        }
    }

    fn ticket(&mut self, waits: For) -> u64 {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, waits);
        self.last_ticket
    }
}

impl World {
    /// A node joins the agreement with what its disk has.
    pub(super) fn enter_agreement(&mut self, slot: Slot) -> Result<(), String> {
        let machine = &self.machines[slot];
        let start = Start {
            storage: machine.storage,
            disk: machine.disk.clone(),
            sync_us: machine.sync_us,
            has_run: machine.begun.len() > 1,
            votes_held: false,
        };
        let map = self.agreement.inner.started(self.now, slot, start)?;
        if let Some(life) = self.life_at(slot) {
            self.map_arrives(life, map);
        }
        self.plan_agreement();
        Ok(())
    }

    /// Founds the cluster on the first node.
    pub(super) fn found(&mut self) {
        if let Err(why) = self.agreement.inner.found(self.now, 0, "p0") {
            return self.fail("Start", || format!("no cluster was founded: {why}"));
        }
        self.plan_agreement();
    }

    /// The map begins.
    pub(super) fn found_map(&mut self) {
        let cluster = ClusterId(1);
        self.command(Command::Found { cluster, at_ms: 1 });
    }

    fn life_at(&self, slot: Slot) -> Option<Life> {
        Some(self.machines.get(slot)?.process.as_ref()?.life)
    }

    pub(super) fn plan_agreement(&mut self) {
        if let Some(at) = self.agreement.inner.next_at() {
            let at = at.max(self.now);
            if self.agreement.planned.is_none_or(|planned| at < planned) {
                self.agreement.planned = Some(at);
                self.queue.push(at, ClusterEvent::Agreement);
            }
        }
    }

    pub(super) fn agreement_step(&mut self) {
        let now = self.now;
        if self.agreement.planned.is_none_or(|planned| planned > now) {
            return;
        }
        self.agreement.planned = None;
        let (network, mut says) = (&self.network, Vec::new());
        let reach = |from: Slot, to: Slot| network.passes(from, to);
        self.agreement.inner.step(now, &reach, &mut says);
        if let Some(broken) = self.agreement.inner.broken() {
            let broken = broken.to_owned();
            self.fail("Consensus", || broken);
        }
        for one in says {
            self.said(one);
        }
        self.plan_agreement();
    }

    fn said(&mut self, says: Says) {
        match says {
            Says::Map { slot, map } => {
                if let Some(life) = self.life_at(slot) {
                    self.map_arrives(life, map);
                }
            }
            Says::Leadership { slot, term } => {
                if term.is_some() {
                    self.agreement.leads = Some(slot);
                    self.took("a leader was elected");
                } else if self.agreement.leads == Some(slot) {
                    self.agreement.leads = None;
                }
                if let Some(life) = self.life_at(slot) {
                    self.tell(|| format!("{life:?} leads in {term:?}"));
                    self.tell_controller(life, Input::Leadership { term });
                }
            }
            Says::Voters { slot, set } => {
                self.agreement.voters.insert(slot, set.clone());
                if let Some(life) = self.life_at(slot) {
                    self.tell_controller(life, Input::Voters(set));
                }
            }
            Says::Proposed {
                ticket, outcome, ..
            } => self.proposed(ticket, &outcome),
            Says::Read { ticket, map, .. } => match self.agreement.waiting.remove(&ticket) {
                Some(For::Read(life, rounds)) => {
                    self.give(life, PlaneEvent::MapRead { rounds, map });
                }
                Some(For::Owner(life, confirming)) => {
                    self.owner_event(life, OwnerEvent::MapRead { confirming, map });
                }
                _ => {}
            },
            Says::Failed { slot, why } => {
                self.tell(|| format!("n{slot}: {why}"));
                self.took("a raft log failed");
                self.kill(slot, false);
                self.queue
                    .push(self.now + 50 * MS, ClusterEvent::Start(slot));
            }
            Says::Way(way) => self.took(way),
        }
    }

    fn proposed(&mut self, ticket: u64, outcome: &Outcome) {
        self.took(match outcome {
            Outcome::Applied(_) => "map: applied",
            Outcome::Refused(_) => "map: refused",
            Outcome::Nothing => "map: nothing to decide",
            Outcome::Discarded => "map: discarded",
            Outcome::Unknown => "map: outcome unknown",
        });
        match self.agreement.waiting.remove(&ticket) {
            Some(For::Plane(life, partition, version)) => {
                let refusal = match outcome {
                    Outcome::Refused(refusal) => Some(refusal),
                    _ => None,
                };
                self.give(life, PlaneEvent::proposed(partition, version, refusal));
            }
            Some(For::Decision(life, job)) => {
                let done = matches!(outcome, Outcome::Applied(_));
                self.tell_controller(life, Input::Proposed { job, done });
            }
            Some(For::Read(..) | For::Owner(..) | For::Operator) | None => {}
        }
    }

    pub(super) fn propose_for_plane(&mut self, life: Life, proposal: Proposal) {
        self.tell(|| format!("n{} proposes {:?}", life.slot, proposal.command));
        let waits = For::Plane(life, proposal.partition, proposal.version);
        self.propose(
            life.slot,
            waits,
            agreement::Proposal::Command(proposal.command),
        );
    }

    pub(super) fn decide(&mut self, life: Life, proposal: Decided) {
        self.tell(|| format!("n{} decides {proposal:?}", life.slot));
        let waits = For::Decision(life, proposal.job);
        let decision = agreement::Proposal::Decision {
            term: proposal.term,
            decide: Box::new(move |map| proposal.change(&Strategies::built_in(), map)),
        };
        self.propose(life.slot, waits, decision);
    }

    fn propose(&mut self, slot: Slot, waits: For, proposal: agreement::Proposal) {
        let ticket = self.agreement.ticket(waits);
        let now = self.now;
        self.agreement.inner.propose(now, slot, ticket, proposal);
        self.plan_agreement();
    }

    pub(super) fn read_map(&mut self, life: Life, rounds: Vec<(PartitionId, u64)>) {
        let ticket = self.agreement.ticket(For::Read(life, rounds));
        self.agreement.inner.read_index(self.now, life.slot, ticket);
        self.plan_agreement();
    }

    /// An owner has its office confirmed.
    pub(super) fn read_map_for_owner(&mut self, life: Life, confirming: u64) {
        let ticket = self.agreement.ticket(For::Owner(life, confirming));
        self.agreement.inner.read_index(self.now, life.slot, ticket);
        self.plan_agreement();
    }

    /// Somebody who can reach the cluster wants this.
    pub(super) fn command(&mut self, command: Command) {
        let able = |slot: &Slot| {
            self.machines[*slot].process.is_some()
                && self.agreement.inner.leader_of(*slot).is_some()
        };
        let leads = self.agreement.leads.filter(able);
        let from = leads.or_else(|| (0..self.machines.len()).find(able));
        self.command_of(from.unwrap_or(0), command);
    }

    /// A node wants this, and nobody waits for the answer.
    pub(super) fn command_of(&mut self, slot: Slot, command: Command) {
        let proposal = agreement::Proposal::Command(command);
        self.propose(slot, For::Operator, proposal);
    }

    pub(super) fn hand_over(&mut self, life: Life, to: Slot) {
        let to = self.machines[to].storage;
        self.agreement.inner.hand_over(self.now, life.slot, to);
        self.plan_agreement();
    }

    pub(super) fn crash_hint(&mut self, by: Life, of: Slot) {
        let of = self.machines[of].storage;
        self.agreement.inner.crash_hint(self.now, by.slot, of);
        self.plan_agreement();
    }

    /// A start tries to become a member until its map shows that it is.
    pub(super) fn register(&mut self, life: Life) {
        let machine = &self.machines[life.slot];
        let (storage, incarnation) = (machine.storage, machine.incarnation);
        let registration = Registration {
            storage,
            name: format!("n{}", life.slot),
            http_address: format!("h{}", life.slot),
            peer_address: format!("p{}", life.slot),
            zone: String::new(),
            weight: 1,
            incarnation,
            start: machine.begun.last().copied().unwrap_or(0),
            begun: machine.begun.clone(),
            boot: 1,
            at_ms: machine.wall_ms(self.now),
        };
        let Some(process) = self.process(life) else {
            return;
        };
        let member = process.map.members.get(&storage);
        if member.is_some_and(|member| !member.is_of(&registration.begun)) {
            return self.ends_as_older(life.slot);
        }
        if member.is_some_and(|member| member.incarnation >= incarnation) {
            return;
        }
        let leader = |slot: &Slot| self.agreement.inner.leader_of(*slot).is_some();
        let mut all = 0..self.machines.len();
        let reached = |slot: &Slot| {
            self.machines[*slot].process.is_some() && self.network.connects(life.slot, *slot)
        };
        let from = Some(life.slot).filter(leader);
        if let Some(from) = from.or_else(|| all.find(|slot| reached(slot) && leader(slot))) {
            self.command_of(from, Command::Register(registration));
        }
        self.queue
            .push(self.now + REGISTER_EVERY_US, ClusterEvent::Register(life));
    }

    fn map_arrives(&mut self, life: Life, map: Arc<ClusterMap>) {
        if map.version > self.agreement.map.version {
            self.tell_changes(&map);
            let before = std::mem::replace(&mut self.agreement.map, Arc::clone(&map));
            self.note_active_tables();
            self.promote_joiners(&before, &map);
        }
        let Some(process) = self.process(life) else {
            return;
        };
        if process.map.version >= map.version {
            return;
        }
        process.map = Arc::clone(&map);
        let (office, leaving) = (process.office, process.leaving);
        self.give(life, PlaneEvent::Map(Arc::clone(&map)));
        self.tell_controller(life, Input::Map(Arc::clone(&map)));
        let member = map.members.get(&office.member);
        let held_dead = member.is_some_and(|m| m.incarnation == office.incarnation && !m.is_live());
        if held_dead && !leaving {
            self.took("a start was held dead and began anew");
            self.restart(life.slot);
        }
    }

    /// Puts the partitions that a new map changes into the trace.
    fn tell_changes(&mut self, map: &ClusterMap) {
        let before = Arc::clone(&self.agreement.map);
        for (partition, _, assignment) in map.partitions() {
            if before.assignment(partition) != Some(assignment) {
                self.tell(|| format!("map {}: {partition}: {assignment:?}", map.version));
            }
        }
    }

    /// The leader brings its group nearer to the members of the map, one step at a time.
    pub(super) fn fit_group(&mut self) {
        let Some(slot) = self.agreement.leads else {
            return;
        };
        let Some(map) = self.agreement.inner.map(slot).map(Arc::clone) else {
            return;
        };
        let now = self.now;
        for member in map.members.values() {
            if member.state == MemberState::Down {
                self.agreement
                    .down_since
                    .entry(member.storage)
                    .or_insert(now);
            } else {
                self.agreement.down_since.remove(&member.storage);
            }
        }
        let patience = self.given.controller.rereplicate_after.as_micros();
        let patience = u64::try_from(patience).unwrap_or(u64::MAX);
        let dead = self.agreement.down_since.iter();
        let dead = dead.filter(|(_, since)| now > **since + patience);
        let long_dead: BTreeSet<StorageId> = dead.map(|(storage, _)| *storage).collect();
        let network = &self.network;
        let reach = |from: Slot, to: Slot| network.passes(from, to);
        let Some(group) = self.agreement.inner.group(slot, long_dead, &reach) else {
            return;
        };
        let step = next_step(&map, &group, VOTERS_MAX);
        self.agreement.fits = step.is_none();
        if let Some(step) = step {
            let taken = self.agreement.inner.take(now, slot, &step, &reach);
            self.tell(|| format!("the group: {step:?} {taken:?}"));
            self.plan_agreement();
        }
    }

    /// The machine that leads, as far as is known.
    pub(super) fn leader(&self) -> Option<Slot> {
        self.agreement.leads
    }
}
