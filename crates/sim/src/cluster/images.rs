//! Disks that are older than the cluster knows: restored from a copy. Whoever starts on them shows
//! the others what they hold, as a server does, and they say whether it may. Knows nothing of what
//! follows.

use tablestore_placement::StorageId;
use tablestore_placement::identity::{self, Others, Remembered, SeenStart, ShownDirectory};
use tablestore_placement::identity::{Standing, may_vote, standing};

use super::event::{ClusterEvent, Slot};
use super::machine::DiskCopy;
use super::{MS, World};

/// Whoever may not start yet asks again after this time.
const ASKS_EVERY_US: u64 = 20 * MS;

impl World {
    /// The process of a machine ends, its disks are copied, and it starts again.
    pub(super) fn copy_disks(&mut self, slot: Slot) {
        if self.machines[slot].process.is_none() || self.machines[slot].is_older {
            return;
        }
        self.kill(slot, false);
        let machine = &mut self.machines[slot];
        machine.disk.settle();
        machine.copy = Some(DiskCopy {
            files: machine.disk.image(),
            engine: machine.engine.after_crash(),
            begun: machine.begun.clone(),
            incarnation: machine.incarnation,
        });
        self.queue.push(self.now + MS, ClusterEvent::Start(slot));
    }

    /// The copy takes the place of the disks, if the cluster knows a later start and can do
    /// without them.
    pub(super) fn restore_disks(&mut self, slot: Slot) {
        let Some(copy) = self.machines[slot].copy.take() else {
            return;
        };
        let member = self.agreement.map.members.get(&self.machines[slot].storage);
        let is_older = member.is_some_and(|member| !member.is_of(&copy.begun));
        if !is_older || self.healed || !self.may_wipe(slot) {
            return self.took("a machine was spared");
        }
        self.kill(slot, true);
        let machine = &mut self.machines[slot];
        machine.disk.restore(&copy.files);
        machine.engine = copy.engine.into();
        (machine.begun, machine.incarnation) = (copy.begun, copy.incarnation);
        machine.is_older = true;
        self.took("older disks were restored");
        self.tell(|| format!("n{slot}     has older disks"));
        self.queue.push(self.now + MS, ClusterEvent::Start(slot));
    }

    /// Whether a machine may start on its older disks. If not, it gets empty ones where the
    /// cluster can do without these, or asks again later.
    pub(super) fn may_start(&mut self, slot: Slot) -> bool {
        let (answers, voters) = self.seen_by_others(slot);
        let current = standing(&answers) == Standing::Current && may_vote(&answers, voters);
        if current || self.scenario.accepts_older_disk {
            self.took("older disks were accepted");
            self.machines[slot].is_older = false;
            return true;
        }
        if matches!(standing(&answers), Standing::Replaceable { .. }) {
            self.took("older disks were noticed");
            self.tell(|| format!("n{slot}     gets empty disks"));
            self.replace_disks(slot);
        }
        self.queue
            .push(self.now + ASKS_EVERY_US, ClusterEvent::Start(slot));
        false
    }

    /// Others that knew no better let a machine start, and now its own map shows a start that its
    /// disks do not know: the process ends, and the machine asks again before the next one.
    pub(super) fn ends_as_older(&mut self, slot: Slot) {
        self.took("older disks were refused late");
        self.kill(slot, false);
        self.machines[slot].is_older = true;
        self.queue
            .push(self.now + ASKS_EVERY_US, ClusterEvent::Start(slot));
    }

    /// What the others say about the disks of a machine, and how many voters they know.
    fn seen_by_others(&self, slot: Slot) -> (Vec<SeenStart>, usize) {
        let machine = &self.machines[slot];
        let shown = ShownDirectory {
            storage: machine.storage,
            begun: machine.begun.clone(),
            ..ShownDirectory::default()
        };
        let reaches = |from: Slot, to: Slot| {
            let there = self.network.passes(from, to) && self.network.passes(to, from);
            let runs = |process: &super::Process| !process.is_paused(self.now);
            there && self.machines[to].process.as_ref().is_some_and(runs)
        };
        let (mut answers, mut voters) = (Vec::new(), 0);
        for other in (0..self.machines.len()).filter(|other| *other != slot) {
            let Some(process) = &self.machines[other].process else {
                continue;
            };
            if !reaches(slot, other) {
                continue;
            }
            let known = self.agreement.voters.get(&other);
            let known: Vec<StorageId> = known.into_iter().flatten().copied().collect();
            voters = voters.max(known.len());
            let reached = (0..self.machines.len())
                .filter(|one| *one == other || reaches(other, *one))
                .map(|one| self.machines[one].storage);
            let others = Others {
                voters: &known,
                reached: &reached.collect::<Vec<_>>(),
            };
            let nothing = Remembered::default();
            answers.push(identity::judge(&process.map, others, &shown, &nothing));
        }
        (answers, voters)
    }
}
