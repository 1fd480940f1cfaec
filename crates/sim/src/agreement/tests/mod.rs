//! Tests of the agreement: a cluster of bare nodes around it, a contract that the real adapter
//! could be held to as well, and many seeds of faults.

#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

mod contract;
mod files;
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tablestore_controller::next_step;
use tablestore_placement::testing::registration;
use tablestore_placement::{
    Change, ClusterId, ClusterMap, Command, Decision, DecisionKind, Incarnation, MapVersion,
    MemberState, StorageId,
};
use tablestore_store::testing::SimDisk;

use self::contract::Subject;
use super::{Agreement, Outcome, Proposal, Says, Settings, Slot, Start};

/// The world looks so often whether the group fits the map: at first, and later.
const LOOK_US: (u64, u64) = (20_000, 200_000);

/// A registration that nobody else makes: to be found in the map again.
pub(super) fn mark(number: u64) -> Command {
    Command::Register(registration(1_000 + number, "", 1))
}

pub(super) fn has_mark(map: &ClusterMap, number: u64) -> bool {
    map.members.contains_key(&StorageId(1_000 + number))
}

/// A decision about a member's state.
pub(super) fn suspect(map: &ClusterMap, id: StorageId) -> Option<Change> {
    map.members.get(&id).map(|_| Change {
        decision: Decision::new(DecisionKind::MemberDown, 0).about(id),
        made_under: None,
        members: vec![(id, Incarnation(1), MemberState::Suspect)],
        assignments: Vec::new(),
    })
}

/// Nodes that do nothing but agree.
pub(super) struct Cluster {
    pub(super) agreement: Agreement,
    pub(super) now: u64,
    pub(super) disks: Vec<SimDisk>,
    pub(super) up: BTreeSet<Slot>,
    pub(super) cuts: BTreeSet<(Slot, Slot)>,
    pub(super) maps: BTreeMap<Slot, Arc<ClusterMap>>,
    /// Who leads, as it was told.
    pub(super) leads: BTreeMap<Slot, u64>,
    pub(super) outcomes: BTreeMap<u64, Outcome>,
    pub(super) reads: BTreeMap<u64, Option<Arc<ClusterMap>>>,
    pub(super) ways: BTreeMap<&'static str, u64>,
    pub(super) failed: BTreeSet<Slot>,
    /// Every map by its version: there is only one of each.
    pub(super) history: BTreeMap<MapVersion, Arc<ClusterMap>>,
    voters_max: usize,
    next_look: u64,
    look_us: u64,
    next_ticket: u64,
    sync_us: u64,
}

impl Cluster {
    /// Nodes with storage ids from 1; the first founds, the others join.
    pub(super) fn new(seed: u64, nodes: usize, settings: Settings) -> Self {
        let mut cluster = Self {
            agreement: Agreement::new(seed, settings),
            now: 0,
            disks: (0..nodes as u64)
                .map(|slot| SimDisk::new(seed ^ slot))
                .collect(),
            up: BTreeSet::new(),
            cuts: BTreeSet::new(),
            maps: BTreeMap::new(),
            leads: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            reads: BTreeMap::new(),
            ways: BTreeMap::new(),
            failed: BTreeSet::new(),
            history: BTreeMap::new(),
            voters_max: 5,
            next_look: 0,
            look_us: LOOK_US.0,
            next_ticket: 0,
            sync_us: 400,
        };
        for slot in 0..nodes {
            cluster.try_start(slot, false).unwrap();
        }
        cluster.agreement.found(0, 0, "127.0.0.1:8001").unwrap();
        let cluster_id = ClusterId(7);
        cluster.propose(
            0,
            Proposal::Command(Command::Found {
                cluster: cluster_id,
                at_ms: 0,
            }),
        );
        cluster
    }

    /// With all members, as many voters as there may be, and no wrongs until then.
    pub(super) fn ready(seed: u64, nodes: usize, settings: Settings) -> Self {
        let wrongs = settings.wrongs;
        let calm = Settings {
            wrongs: super::Wrongs::default(),
            ..settings
        };
        let mut cluster = Self::new(seed, nodes, calm);
        for slot in 0..nodes as u64 {
            let register = Command::Register(registration(slot + 1, "", 1));
            cluster.propose(0, Proposal::Command(register));
        }
        let voters = nodes.min(5);
        let is_whole = |cluster: &Self| {
            cluster
                .agreement
                .nodes
                .values()
                .all(|node| node.group().voters().len() == voters)
        };
        for _ in 0..400 {
            cluster.run(20_000);
            if is_whole(&cluster) {
                break;
            }
        }
        assert!(is_whole(&cluster), "the group never became whole");
        cluster.agreement.settings.wrongs = wrongs;
        cluster.look_us = LOOK_US.1;
        cluster
    }

    pub(super) fn try_start(&mut self, slot: Slot, has_run: bool) -> Result<(), String> {
        let start = Start {
            storage: StorageId(slot as u64 + 1),
            disk: self.disks[slot].clone(),
            sync_us: self.sync_us,
            has_run,
            votes_held: false,
        };
        let map = self.agreement.started(self.now, slot, start)?;
        self.up.insert(slot);
        self.maps.insert(slot, map);
        Ok(())
    }

    fn hear(&mut self, says: Says) {
        match says {
            Says::Map { slot, map } => {
                let before = self.maps.insert(slot, Arc::clone(&map)).unwrap();
                assert!(before.version <= map.version, "a map goes on");
                let known = self
                    .history
                    .entry(map.version)
                    .or_insert_with(|| Arc::clone(&map));
                assert!(
                    Arc::ptr_eq(known, &map) || *known == map,
                    "two of one version"
                );
            }
            Says::Leadership {
                slot,
                term: Some(term),
            } => drop(self.leads.insert(slot, term)),
            Says::Leadership { slot, term: None } => drop(self.leads.remove(&slot)),
            Says::Voters { .. } => {}
            Says::Proposed {
                ticket, outcome, ..
            } => {
                let before = self.outcomes.insert(ticket, outcome);
                assert_eq!(before, None, "one answer for one proposal");
            }
            Says::Read { ticket, map, .. } => {
                assert!(
                    self.reads.insert(ticket, map).is_none(),
                    "one answer for one read"
                );
            }
            Says::Failed { slot, .. } => drop(self.failed.insert(slot)),
            Says::Way(way) => *self.ways.entry(way).or_default() += 1,
        }
    }

    fn look(&mut self) {
        let cuts = self.cuts.clone();
        let reach = move |from, to| !cuts.contains(&(from, to));
        for slot in self.up.clone() {
            let group = self.agreement.group(slot, BTreeSet::new(), &reach);
            let (Some(group), Some(map)) = (group, self.agreement.map(slot)) else {
                continue;
            };
            // Marks have nobody behind them.
            let mut map = ClusterMap::clone(map);
            map.members.retain(|id, _| id.0 < 1_000);
            if let Some(step) = next_step(&map, &group, self.voters_max) {
                // Refused while another is under way.
                drop(self.agreement.take(self.now, slot, &step, &reach));
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.heal();
        for slot in self.failed.clone() {
            self.crash(slot);
        }
        for slot in 0..self.disks.len() {
            if !self.up.contains(&slot) {
                self.start(slot);
            }
        }
        self.agreement.settings.wrongs = super::Wrongs::default();
        // No pause and nothing late is longer than this.
        self.run(800_000);
        for _ in 0..40 {
            if self.is_settled() {
                return;
            }
            self.run(100_000);
        }
    }

    /// Someone leads and all have applied what it has.
    fn is_settled(&self) -> bool {
        let last = |(_, node): (&Slot, &super::node::Node)| (node.applied, node.last_index());
        let mut ends = self.agreement.nodes.iter().map(last);
        let leads = self.leader().is_some();
        let first = ends.next();
        let agrees = |end: (Option<u64>, Option<u64>)| end.0 == end.1 && Some(end) == first;
        leads && first.is_some_and(|first| first.0 == first.1) && ends.all(agrees)
    }
}

impl Subject for Cluster {
    fn nodes(&self) -> usize {
        self.disks.len()
    }

    fn run(&mut self, us: u64) {
        let until = self.now + us;
        let mut out = Vec::new();
        loop {
            let next = self.agreement.next_at().unwrap_or(until);
            let next = next.min(self.next_look).max(self.now);
            if next > until {
                break;
            }
            self.now = next;
            let cuts = &self.cuts;
            let reach = |from, to| !cuts.contains(&(from, to));
            self.agreement.step(next, &reach, &mut out);
            for says in out.drain(..) {
                self.hear(says);
            }
            assert_eq!(self.agreement.broken(), None);
            if self.now >= self.next_look {
                self.next_look = self.now + self.look_us;
                self.look();
            }
        }
        self.now = until;
    }

    fn propose(&mut self, from: Slot, proposal: Proposal) -> u64 {
        self.next_ticket += 1;
        self.agreement
            .propose(self.now, from, self.next_ticket, proposal);
        self.next_ticket
    }

    fn outcome(&self, ticket: u64) -> Option<Outcome> {
        self.outcomes.get(&ticket).cloned()
    }

    fn read(&mut self, from: Slot) -> u64 {
        self.next_ticket += 1;
        self.agreement.read_index(self.now, from, self.next_ticket);
        self.next_ticket
    }

    fn read_answer(&self, ticket: u64) -> Option<Option<Arc<ClusterMap>>> {
        self.reads.get(&ticket).cloned()
    }

    fn leader(&self) -> Option<(Slot, u64)> {
        let live = self.leads.iter().filter(|(slot, _)| self.up.contains(slot));
        live.map(|(slot, term)| (*slot, *term))
            .max_by_key(|(_, term)| *term)
    }

    fn map(&self, slot: Slot) -> Arc<ClusterMap> {
        Arc::clone(&self.maps[&slot])
    }

    fn crash(&mut self, slot: Slot) {
        if self.up.remove(&slot) {
            self.agreement.crashed(slot);
            self.leads.remove(&slot);
            self.failed.remove(&slot);
            self.disks[slot] = self.disks[slot].crash();
        }
    }

    fn start(&mut self, slot: Slot) {
        self.try_start(slot, true).unwrap();
    }

    fn cut(&mut self, from: Slot, to: Slot) {
        self.cuts.insert((from, to));
    }

    fn heal(&mut self) {
        self.cuts.clear();
    }
}
