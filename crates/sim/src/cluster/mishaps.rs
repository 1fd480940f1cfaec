//! Faults of several steps, at known weak points: who loses what another counts on, and what is
//! lost while nobody looks. Knows nothing of what follows.

use tablestore_placement::{
    AssignmentChange, ClusterMap, DecisionKind, NextAssignment, PartitionId, StorageId, Strategies,
    plan,
};
use tablestore_store::Engine as _;

use super::event::{ClusterEvent, Slot};
use super::machine::slot_of;
use super::operator::copied;
use super::{MS, World};
use crate::agreement::FOLDER;
use crate::rng::one_of;

impl World {
    /// The power of a machine fails for so short that nobody notices before it is back.
    pub(super) fn blink(&mut self, slot: Slot) {
        self.kill(slot, true);
        let back = self.now + self.chance.operators.between(500, 5 * MS);
        self.queue.push(back, ClusterEvent::Start(slot));
    }

    /// A node hears nobody, though everybody hears it, and its offices are given away: what was on
    /// its way to it arrives when it is nobody any more. Half of its successors do without it.
    pub(super) fn deafen(&mut self, number: usize, slot: Slot, whom: u64) {
        let others = (0..self.machines.len()).filter(|other| *other != slot);
        self.network
            .cut(number, others.map(|other| (other, slot)).collect());
        let storage = self.machines[slot].storage;
        let mut plan =
            plan::move_offices_off(&Strategies::built_in(), &self.agreement.map, storage);
        let map = &self.agreement.map;
        let is_spare = |change: &AssignmentChange| {
            let table = map.tables.get(&change.partition.table);
            table.is_some_and(|table| {
                change.next.in_sync.len() > table.definition.min_in_sync as usize
            })
        };
        // Its successors wait for it, or, where that is allowed, do without it at once.
        let alone = plan
            .assignments
            .iter_mut()
            .filter(|change| whom.is_multiple_of(2) && is_spare(change));
        for change in alone {
            change.next.in_sync.retain(|member| *member != storage);
        }
        self.change(DecisionKind::Rebalance, |decision| {
            plan.into_change(decision)
        });
    }

    /// A backup loses what it had not synced, and a moment later the primary that counted on it is
    /// gone.
    pub(super) fn backup_then_primary(&mut self, whom: u64) {
        let map = &self.agreement.map;
        let held: Vec<(Slot, Slot)> = map
            .partitions()
            .filter_map(|(_, _, a)| {
                let primary = a.primary_member()?;
                let backup = a.in_sync.iter().find(|m| **m != primary)?;
                Some((slot_of(*backup), slot_of(primary)))
            })
            .collect();
        if let Some((backup, primary)) = one_of(&held, whom) {
            self.blink(backup);
            self.kill(primary, whom.is_multiple_of(2));
        }
    }

    /// The power of all machines fails; they come back one after the other.
    pub(super) fn power_off_all(&mut self) {
        for slot in 0..self.machines.len() {
            self.kill(slot, true);
            let back = self
                .chance
                .operators
                .pick(&[3 * MS, 40 * MS, 900 * MS])
                .unwrap_or(MS);
            self.queue.push(self.now + back, ClusterEvent::Start(slot));
        }
    }

    /// The rows of a partition are lost on one machine, if others have them.
    pub(super) fn lose_rows(&mut self, slot: Slot, whom: u64) {
        let storage = self.machines[slot].storage;
        let map = std::sync::Arc::clone(&self.agreement.map);
        let spare = map.partitions().filter(|(id, _, a)| {
            let others = a.in_sync.iter().filter(|m| **m != storage);
            let has_rows = |m: &&StorageId| {
                let machine = &self.machines[slot_of(**m)];
                machine.process.is_some() && !machine.lost_rows.contains(id)
            };
            if self.is_active(*id) {
                return a.in_sync.contains(&storage) && self.can_lose_rows(*id, a, storage);
            }
            a.replicas.contains(&storage) && others.filter(has_rows).count() > 1
        });
        let spare: Vec<PartitionId> = spare.map(|(id, _, _)| id).collect();
        let Some(partition) = one_of(&spare, whom) else {
            return;
        };
        self.kill(slot, false);
        let machine = &mut self.machines[slot];
        let number = partition.to_u64();
        // As if its folder were empty: an engine that finds none begins with none.
        let lost = machine.engine.drop_partition(number);
        let opened = lost.and_then(|()| machine.engine.open_partition(number));
        if opened.is_ok() {
            machine.lost_rows.insert(partition);
            self.took("rows were lost");
        }
        self.queue
            .push(self.now + 20 * MS, ClusterEvent::Start(slot));
    }

    /// The raft log of a machine is lost. Its node must refuse to start; then somebody finds the
    /// file again.
    pub(super) fn lose_raft_log(&mut self, slot: Slot) {
        self.kill(slot, false);
        let machine = &mut self.machines[slot];
        let folder = machine.disk.folder(FOLDER);
        folder.settle();
        let image = folder.image();
        if folder.remove_file("raft.log") {
            machine.mislaid = Some(image);
            self.took("a raft log was lost");
        }
        self.queue
            .push(self.now + 10 * MS, ClusterEvent::Start(slot));
    }

    /// A start was refused because its raft log is not there: it is put back. Says whether.
    pub(super) fn find_raft_log(&mut self, slot: Slot, why: &str) -> bool {
        let machine = &mut self.machines[slot];
        let Some(image) = machine.mislaid.take_if(|_| why.contains("is missing")) else {
            return false;
        };
        machine.disk.folder(FOLDER).restore(&image);
        self.took("a lost raft log was refused");
        self.queue
            .push(self.now + 10 * MS, ClusterEvent::Start(slot));
        true
    }

    /// A replica leaves a machine with a slow disk, and is wanted there again at once.
    pub(super) fn away_and_back(&mut self, slot: Slot) {
        self.slow_disk(slot);
        let storage = self.machines[slot].storage;
        let map = std::sync::Arc::clone(&self.agreement.map);
        let spare = map.partitions().find(|(id, _, a)| {
            !self.is_active(*id)
                && a.replicas.contains(&storage)
                && a.primary_member() != Some(storage)
                && a.in_sync.len() > 2
        });
        let Some((partition, _, current)) = spare else {
            return;
        };
        let keep = NextAssignment::keep(current);
        let without = |members: &[StorageId]| -> Vec<StorageId> {
            let others = members.iter().filter(|m| **m != storage);
            others.copied().collect()
        };
        let away = NextAssignment {
            replicas: without(&keep.replicas),
            in_sync: without(&keep.in_sync),
            ..keep.clone()
        };
        let back = NextAssignment {
            in_sync: without(&keep.in_sync),
            ..keep
        };
        let expected = (current.epoch, current.version);
        self.assign(partition, expected, away);
        let expected = (current.epoch, current.version.next());
        self.assign(partition, expected, back);
        self.took("a replica went away and came back");
    }

    /// Whoever joined an in-sync set a moment ago is given the office, now and then.
    pub(super) fn promote_joiners(&mut self, before: &ClusterMap, now: &ClusterMap) {
        if self.healed || self.scenario.promote_joiners_per_mille == 0 || self.is_weakened() {
            return;
        }
        let mut joined = Vec::new();
        for (partition, assignment) in copied(now) {
            let Some(former) = before.assignment(partition) else {
                continue;
            };
            let new = assignment
                .in_sync
                .iter()
                .find(|m| !former.in_sync.contains(m));
            if let Some(new) = new.filter(|_| former.version != assignment.version) {
                joined.push((partition, *new, (assignment.epoch, assignment.version)));
            }
        }
        for (partition, to, expected) in joined {
            let happens = self
                .chance
                .operators
                .happens(self.scenario.promote_joiners_per_mille);
            let Some(current) = now.assignment(partition).filter(|_| happens) else {
                continue;
            };
            let next = NextAssignment {
                primary: Some(to),
                ..NextAssignment::keep(current)
            };
            self.assign(partition, expected, next);
            self.took("a joiner was promoted");
        }
    }
}
