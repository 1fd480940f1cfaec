//! What heals when the faults end: everything, or only a core that can do its work while the rest
//! stays dead for ever. Knows nothing of how things heal.

use tablestore_placement::{Assignment, PartitionId, StorageId};

use super::event::Slot;
use super::machine::slot_of;
use super::operator::copied;
use super::{MS, World};
use crate::rng::Chance;

/// What an operator wants is decided within this time, or never.
const MEDDLED_FOR_US: u64 = 300 * MS;

/// How a run ends, as its seed wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Only a core heals, if there is one; this decides who stays dead.
    pub(crate) core: Option<u64>,
    /// Clients begin nothing new in this last part of the faults.
    pub(crate) quiet_us: u64,
}

impl Ending {
    /// One seed in four ends with a core; one in four with clients that stop early.
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let (which, whom) = (chance.below(4), chance.below(u64::MAX));
        let quiet_us = chance.between(100_000, 500_000);
        Self {
            core: (which == 0).then_some(whom),
            quiet_us: if which == 1 { quiet_us } else { 0 },
        }
    }
}

impl World {
    /// Clients begin nothing new.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet_us = self.ending.quiet_us;
        self.healed || (quiet_us > 0 && self.now + quiet_us >= self.scenario.faults_end_us)
    }

    /// Chooses who stays dead, and kills it: every partition and the group can do without it.
    pub(super) fn leave_core(&mut self) {
        let Some(whom) = self.ending.core else {
            return;
        };
        let nodes = self.machines.len();
        let first = (whom % nodes as u64) as usize;
        let mut slots = (0..nodes).map(|slot| (slot + first) % nodes);
        let Some(dead) = slots.find(|slot| self.can_do_without(*slot)) else {
            return self.took("no core could be left");
        };
        self.took("a core was left");
        self.dead = Some(dead);
        self.tell(|| format!("n{dead} stays dead when everything else heals"));
        self.kill(dead, whom >> 32 & 1 == 1);
    }

    fn can_do_without(&self, slot: Slot) -> bool {
        let storage = self.machines[slot].storage;
        let map = &self.agreement.map;
        // Whoever starts anew at this moment is about to leave the in-sync sets, as who dies does.
        let works = |one: &StorageId| {
            let machine = &self.machines[slot_of(*one)];
            let known = map.members.get(one).filter(|member| member.is_live());
            let registered = known.is_some_and(|member| member.incarnation == machine.incarnation);
            let process = machine.process.as_ref();
            let is_sound = process.is_some_and(|process| !process.journal.failed);
            // Who is cut off, or whose disk is full, may be about to leave the in-sync sets too.
            let is_left_alone = !machine.is_full && self.is_reached(machine.slot);
            is_sound && is_left_alone && machine.storage == *one && registered
        };
        let remain = |partition: PartitionId, assignment: &Assignment| {
            if self.is_active(partition) {
                let works = |one: &StorageId| *one != storage && works(one);
                return self.active_remains(partition, assignment, works);
            }
            let definition = map
                .tables
                .get(&partition.table)
                .map(|table| &table.definition);
            let enough = definition.map_or(1, |definition| definition.min_in_sync.max(1) as usize);
            let others = assignment.in_sync.iter();
            others.filter(|one| **one != storage && works(one)).count() >= enough
        };
        let partitions = map.tables.len() >= self.scenario.tables
            && copied(map).all(|(partition, assignment)| remain(partition, assignment));
        // What an operator wanted a moment ago may yet be decided.
        let meddled = self
            .meddled_at
            .is_some_and(|at| self.now < at + MEDDLED_FOR_US);
        // What was decided before the death may leave a partition to whoever has died meanwhile.
        let undecided = self.agreement.inner.is_undecided();
        partitions && !meddled && !undecided && !self.is_weakened() && self.can_lose_voter(slot)
    }

    /// Whether no way from or to a machine is cut.
    fn is_reached(&self, slot: Slot) -> bool {
        let mut others = (0..self.machines.len()).filter(|other| *other != slot);
        let network = &self.network;
        others.all(|other| network.connects(slot, other) && network.connects(other, slot))
    }

    /// Whether a majority of the voters is sound and runs without this machine, of each group that
    /// some node knows: which of them is the last one is not known from outside.
    pub(super) fn can_lose_voter(&self, slot: Slot) -> bool {
        let sound = |voter: &&StorageId| {
            let machine = &self.machines[slot_of(**voter)];
            machine.slot != slot && machine.storage == **voter && machine.process.is_some()
        };
        let mut known = self.agreement.voters.values();
        self.agreement.fits && known.all(|set| set.iter().filter(sound).count() * 2 > set.len())
    }

    /// What keeps a partition from being served though some of its copies are dead.
    pub(super) fn unserved(&self, partition: PartitionId, a: &Assignment) -> Option<String> {
        let serves = a.primary.is_some_and(|primary| {
            let machine = &self.machines[slot_of(primary.member)];
            let process = machine.process.as_ref();
            let status = process.and_then(|process| process.plane.status(partition));
            machine.office() == primary && status.is_some_and(|status| status.serving)
        });
        (!serves).then(|| format!("a core does not serve {partition}: {a:?}"))
    }
}
