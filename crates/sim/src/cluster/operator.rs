//! What people do to a cluster while it works: move offices, drain and stop nodes, alter and drop
//! tables, put in new machines. Knows nothing of what follows.

use std::sync::Arc;

use tablestore_dataplane::PlaneEvent;
use tablestore_placement::plan::Trusted;
use tablestore_placement::{
    Alteration, Assignment, AssignmentChange, AssignmentVersion, Change, ClusterMap, Command,
    Decision, DecisionKind, Epoch, Member, MemberState, NextAssignment, PartitionId, StorageId,
    Strategies, plan,
};

use super::World;
use super::event::{ClusterEvent, Slot};
use super::machine::{Machine, generation_of, slot_of};
use crate::rng::one_of;

/// The partitions of which members keep copies.
pub(super) fn copied(map: &ClusterMap) -> impl Iterator<Item = (PartitionId, &Assignment)> {
    let partitions = map.partitions();
    let copied = partitions.filter(|(_, table, _)| table.definition.data_path().has_copies());
    copied.map(|(partition, _, assignment)| (partition, assignment))
}

impl World {
    pub(super) fn change(&mut self, kind: DecisionKind, change: impl FnOnce(Decision) -> Change) {
        let decision = Decision::new(kind, 1).because("an operator wants it");
        let change = change(decision);
        if !change.is_empty() {
            self.meddled_at = Some(self.now);
            self.command(Command::Change(change));
        }
    }

    /// Wants one partition to be assigned so, if it still stands as `expected`.
    pub(super) fn assign(
        &mut self,
        partition: PartitionId,
        expected: (Epoch, AssignmentVersion),
        next: NextAssignment,
    ) {
        let assignments = vec![AssignmentChange {
            partition,
            expected,
            next,
            stopped: Vec::new(),
        }];
        self.change(DecisionKind::Rebalance, |decision| Change {
            decision,
            made_under: None,
            members: Vec::new(),
            assignments,
        });
    }

    /// Gives the offices of a member away, and the member a state.
    fn move_offices_off(&mut self, slot: Slot, state: MemberState) {
        let map = self.agreement.map.clone();
        let storage = self.machines[slot].storage;
        let Some(member) = map.members.get(&storage) else {
            return;
        };
        let plan = plan::move_offices_off(&Strategies::built_in(), &map, storage);
        self.change(DecisionKind::Drain, |decision| {
            let mut change = plan.into_change(decision);
            change.members.push((storage, member.incarnation, state));
            change
        });
    }

    /// Moves an office to another member that is in sync; the one that joined last, if possible.
    pub(super) fn move_office(&mut self, whom: u64) {
        let map = self.agreement.map.clone();
        let partitions: Vec<PartitionId> = map.partitions().map(|(id, _, _)| id).collect();
        let Some(partition) = self.chance.operators.pick(&partitions) else {
            return;
        };
        let Some(current) = map.assignment(partition) else {
            return;
        };
        if self.shared.has(partition) {
            return self.move_owner(partition, whom);
        }
        let primary = current.primary_member();
        let others = current
            .in_sync
            .iter()
            .rev()
            .filter(|m| Some(**m) != primary);
        let others: Vec<StorageId> = others.filter(|m| map.is_live(**m)).copied().collect();
        let Some(to) = others
            .get(whom as usize % 2)
            .or_else(|| others.first())
            .copied()
        else {
            return;
        };
        let next = NextAssignment {
            primary: Some(to),
            ..NextAssignment::keep(current)
        };
        self.assign(partition, (current.epoch, current.version), next);
    }

    /// Holds a member dead that lives.
    pub(super) fn hold_dead(&mut self, slot: Slot) {
        let map = self.agreement.map.clone();
        let storage = self.machines[slot].storage;
        if let Some(member) = map.members.get(&storage) {
            let plan =
                plan::on_member_down(&Strategies::built_in(), &map, storage, member.incarnation);
            // As a controller does: nothing is left to replicas that have stopped.
            let plan = plan.relying_on(&map, &self.there());
            self.change(DecisionKind::Failover, |decision| {
                plan.into_change(decision)
            });
        }
    }

    /// The starts that run, and what of theirs has stopped.
    fn there(&self) -> Trusted {
        let mut there = Trusted::default();
        for machine in &self.machines {
            let Some(process) = &machine.process else {
                continue;
            };
            let office = process.office;
            there.starts.insert(office.member, office.incarnation);
            let stopped = process.progress.iter();
            let stopped = stopped.filter(|(_, shown)| shown.stopped.is_some());
            there
                .stopped
                .extend(stopped.map(|(partition, _)| (*partition, office.member)));
        }
        there
    }

    /// Begins to move everything off a member.
    pub(super) fn drain(&mut self, slot: Slot) {
        self.drains.insert(slot);
        self.move_offices_off(slot, MemberState::Draining);
    }

    /// A start does not end a drain, and what began as one goes on as a member.
    pub(super) fn call_drains_off(&mut self) {
        let map = Arc::clone(&self.agreement.map);
        let wanted = |storage: &StorageId| {
            let mut machines = self.drains.iter().map(|slot| &self.machines[*slot]);
            machines.any(|machine| machine.storage == *storage)
        };
        let draining = map
            .members
            .values()
            .find(|member| member.state == MemberState::Draining && !wanted(&member.storage));
        let Some(member) = draining else {
            return;
        };
        self.took("a drain was called off");
        let (storage, incarnation) = (member.storage, member.incarnation);
        self.change(DecisionKind::Undrain, |decision| Change {
            decision,
            made_under: None,
            members: vec![(storage, incarnation, MemberState::Up)],
            assignments: Vec::new(),
        });
    }

    /// A node is told to stop: it hands its offices over, lets go, flushes; the process ends later.
    pub(super) fn leave(&mut self, slot: Slot) {
        let machine = &mut self.machines[slot];
        let is_member = self.agreement.map.members.contains_key(&machine.storage);
        let Some(process) = machine.process.as_mut().filter(|_| is_member) else {
            return;
        };
        process.leaving = true;
        let life = process.life;
        self.move_offices_off(slot, MemberState::Suspect);
        self.give(life, PlaneEvent::Resign);
        self.give(life, PlaneEvent::FlushAll);
    }

    /// Drops the newest table; another one is created for it.
    pub(super) fn drop_table(&mut self) {
        let map = &self.agreement.map;
        if let Some(table) = map.tables.values().next_back() {
            let name = table.name.clone();
            self.command(Command::DropTable { name, at_ms: 1 });
        }
    }

    /// A table with primaries comes to have one replica more or fewer than the run began with, or
    /// as many, and waits for as many of them as that allows or fewer; never for fewer than before.
    pub(super) fn alter_table(&mut self, whom: u64) {
        let map = Arc::clone(&self.agreement.map);
        let with_primaries = map.tables.values().filter(|table| {
            let path = table.definition.data_path();
            path.has_copies() && path.has_offices()
        });
        let Some(table) = one_of(&with_primaries.collect::<Vec<_>>(), whom) else {
            return;
        };
        let at_most = (self.machines.len() as u64).min(u64::from(self.scenario.replicas) + 1);
        let replicas = 2 + whom / 64 % (at_most - 1);
        let at_least = u64::from(self.scenario.min_in_sync);
        let min_in_sync = at_least + whom / 4_096 % (replicas + 1 - at_least);
        let [replicas, min_in_sync] = [replicas, min_in_sync].map(|n| u32::try_from(n).ok());
        let alteration = Alteration {
            replicas,
            min_in_sync,
        };
        self.meddled_at = Some(self.now);
        self.command(Command::AlterTable {
            name: table.name.clone(),
            alteration,
            leaving: Vec::new(),
            at_ms: 1,
        });
    }

    /// A machine loses its disks and begins as a new member under its old name, if every partition
    /// and the group can do without it. Says whether.
    pub(super) fn wipe(&mut self, slot: Slot) -> bool {
        if !self.may_wipe(slot) {
            return false;
        }
        self.kill(slot, true);
        self.replace_disks(slot);
        true
    }

    /// A machine begins again with empty disks.
    pub(super) fn replace_disks(&mut self, slot: Slot) {
        let generation = generation_of(self.machines[slot].storage) + 1;
        let seed = self.chance.disks.below(u64::MAX);
        let drift = self.machines[slot].drift;
        self.machines[slot] = Machine::new(slot, generation, seed, &self.scenario, drift);
    }

    /// Once a run, while nothing else is wrong: losing more than that needs a person.
    pub(super) fn may_wipe(&self, slot: Slot) -> bool {
        let storage = self.machines[slot].storage;
        let first = self.machines.iter().all(|machine| {
            // What is already wrong with a disk costs the machine its rows sooner or later.
            let is_sound = machine.decay.is_none() && !machine.is_older;
            generation_of(machine.storage) == 0 && is_sound
        });
        let all_work = self.machines.iter().all(|machine| {
            let process = machine.process.as_ref();
            process.is_some_and(|p| !p.is_paused(self.now) && !p.leaving && !p.journal.failed)
        });
        let map = &self.agreement.map;
        let has_others = copied(map).all(|(_, assignment)| {
            !assignment.in_sync.contains(&storage) || assignment.in_sync.len() > 2
        });
        // Members whose new start the map does not know yet are about to leave in-sync sets.
        let runs = |member: &Member| {
            let machine = &self.machines[slot_of(member.storage)];
            machine.storage != member.storage || machine.incarnation == member.incarnation
        };
        let up = map
            .members
            .values()
            .all(|member| member.state == MemberState::Up && runs(member));
        // What is undecided may leave a partition to fewer copies than the map shows.
        let decided = !self.agreement.inner.is_undecided();
        let calm = self.network.is_whole() && all_work && up && decided;
        let has_others = has_others && self.active_can_lose(storage);
        first && calm && has_others && self.scenario.min_in_sync > 1 && self.can_lose_voter(slot)
    }

    /// Whether a disk is lost that some partition still counts on: what else fails now may be too
    /// much for any system.
    pub(super) fn is_weakened(&self) -> bool {
        let lost = |storage: &StorageId| {
            let machine = self.machines.get(slot_of(*storage));
            machine.is_none_or(|machine| machine.storage != *storage || machine.is_older)
        };
        let map = &self.agreement.map;
        let decayed = self.machines.iter().any(|machine| machine.decay.is_some());
        decayed || copied(map).any(|(_, assignment)| assignment.in_sync.iter().any(lost))
    }

    /// The next sync of a disk fails; somebody looks after the node later.
    pub(super) fn fail_sync(&mut self, slot: Slot) {
        let disk = self.machines[slot].disk.folder("journal");
        disk.fail_next(tablestore_store::testing::Failing::Sync);
    }

    /// A process ends and starts again, if it runs.
    pub(super) fn restart(&mut self, slot: Slot) {
        self.kill(slot, false);
        self.queue.push(self.now + 1_000, ClusterEvent::Start(slot));
    }
}
