//! What goes wrong, and how it is put right. Knows nothing of what follows.

use std::collections::BTreeSet;

use tablestore_dataplane::PlaneEvent;

use super::World;
use super::event::{ClusterEvent, Life, Slot};
use super::machine::slot_of;
use super::scenario::{Fault, Kind};
use crate::rng::one_of;

impl World {
    pub(super) fn fault(&mut self, number: usize) {
        let fault = self.scenario.faults[number];
        let nodes = self.machines.len();
        let whom = (fault.whom % nodes as u64) as usize;
        let other = (whom + 1 + (fault.whom / 64 % (nodes as u64 - 1)) as usize) % nodes;
        if self.is_weakened() {
            return self.took("a fault was spared");
        }
        self.tell(|| format!("fault {number}: {:?} at n{whom}", fault.kind));
        self.took(name(fault.kind));
        match fault.kind {
            Kind::Kill => self.kill(whom, false),
            Kind::PowerOff => self.kill(whom, true),
            Kind::KillAll => (0..nodes).for_each(|slot| self.kill(slot, false)),
            Kind::KillLeader => {
                if let Some(leader) = self.leader() {
                    self.kill(leader, false);
                }
            }
            Kind::KillPrimary => {
                if let Some(slot) = self.a_primary(fault.whom) {
                    self.kill(slot, false);
                }
            }
            Kind::Pause => self.pause(whom, fault.lasts_us),
            Kind::CutOneWay => self.network.cut(number, [(whom, other)].into()),
            Kind::Isolate => self.network.cut(number, around(&[whom], nodes)),
            Kind::Split => {
                let part: Vec<Slot> = (0..nodes)
                    .filter(|slot| fault.whom >> slot & 1 == 1)
                    .collect();
                self.network.cut(number, around(&part, nodes));
            }
            Kind::SlowDisk => self.slow_disk(whom),
            Kind::FullDisk => self.set_full(whom, true),
            Kind::MoveOffice => self.move_office(fault.whom),
            Kind::MoveOffices => (0..6).for_each(|number| self.move_office(number)),
            Kind::HoldDead => self.hold_dead(whom),
            Kind::Drain => self.drain(whom),
            Kind::Leave => self.leave(whom),
            Kind::DropTable => self.drop_table(),
            Kind::AlterTable => self.alter_table(fault.whom),
            Kind::Wipe => {
                if !self.wipe(whom) {
                    self.took("a machine was spared");
                }
            }
            Kind::FailSync => self.fail_sync(whom),
            Kind::Blink => self.blink(whom),
            Kind::BackupThenPrimary => self.backup_then_primary(fault.whom),
            Kind::PowerOffAll => self.power_off_all(),
            Kind::LoseRows => self.lose_rows(whom, fault.whom),
            Kind::LoseRaftLog => self.lose_raft_log(whom),
            Kind::AwayAndBack => self.away_and_back(whom),
            Kind::Deafen => self.deafen(number, whom, fault.whom / 97),
            Kind::OlderDisk => self.copy_disks(whom),
            Kind::Rot => self.rot(whom, fault.whom),
            Kind::Misdirect => self.misdirect(whom),
            Kind::Restart
            | Kind::SlowOthers
            | Kind::PauseLeader
            | Kind::IsolateLeader
            | Kind::DownTwo => self.fault_of_theme(number, whom, other),
            Kind::ClockStep | Kind::ClockSlip => self.step_clock(whom, step_ms(fault)),
        }
        let at = self.now + fault.lasts_us;
        self.queue.push(at, ClusterEvent::FaultEnds(number));
    }

    /// One that only a run with a theme has.
    fn fault_of_theme(&mut self, number: usize, whom: Slot, other: Slot) {
        let fault = self.scenario.faults[number];
        let nodes = self.machines.len();
        match fault.kind {
            Kind::Restart => self.restart(whom),
            Kind::SlowOthers => (0..nodes)
                .filter(|slot| *slot != whom)
                .for_each(|slot| self.slow_disk(slot)),
            Kind::PauseLeader => {
                if let Some(leader) = self.leader() {
                    self.pause(leader, fault.lasts_us);
                }
            }
            Kind::IsolateLeader => {
                if let Some(leader) = self.leader() {
                    self.network.cut(number, around(&[leader], nodes));
                }
            }
            Kind::DownTwo => [whom, other]
                .into_iter()
                .for_each(|slot| self.kill(slot, true)),
            _ => {}
        }
    }

    pub(super) fn fault_ends(&mut self, number: usize) {
        let fault = self.scenario.faults[number];
        let nodes = self.machines.len();
        let whom = (fault.whom % nodes as u64) as usize;
        match fault.kind {
            Kind::Drain | Kind::Leave => {
                self.drains.remove(&whom);
                self.restart(whom);
            }
            Kind::Misdirect if self.machines[whom].decay.is_some() => self.restart(whom),
            Kind::FailSync => {
                self.machines[whom].disk.heal();
                let process = self.machines[whom].process.as_ref();
                if process.is_some_and(|process| process.journal.failed) {
                    self.restart(whom);
                }
            }
            Kind::Kill
            | Kind::PowerOff
            | Kind::KillAll
            | Kind::KillLeader
            | Kind::KillPrimary
            | Kind::BackupThenPrimary
            | Kind::DownTwo
            | Kind::Wipe => {
                for slot in 0..nodes {
                    self.queue.push(self.now, ClusterEvent::Start(slot));
                }
            }
            Kind::Deafen | Kind::CutOneWay | Kind::Isolate | Kind::IsolateLeader | Kind::Split => {
                self.network.heal(number);
                self.release_stuck();
            }
            Kind::SlowDisk | Kind::AwayAndBack => {
                self.disk_takes(whom, self.scenario.sync_us_of(whom));
            }
            Kind::SlowOthers => {
                for slot in 0..nodes {
                    self.disk_takes(slot, self.scenario.sync_us_of(slot));
                }
            }
            Kind::FullDisk => self.set_full(whom, false),
            Kind::OlderDisk => self.restore_disks(whom),
            Kind::ClockStep | Kind::ClockSlip => self.clock_comes_back(whom, step_ms(fault)),
            Kind::MoveOffices => self.move_office(fault.whom),
            Kind::Pause
            | Kind::Rot
            | Kind::Misdirect
            | Kind::PauseLeader
            | Kind::Restart
            | Kind::MoveOffice
            | Kind::HoldDead
            | Kind::DropTable
            | Kind::AlterTable
            | Kind::Blink
            | Kind::PowerOffAll
            | Kind::LoseRows
            | Kind::LoseRaftLog => {}
        }
    }

    /// A machine that holds an office.
    fn a_primary(&self, number: u64) -> Option<Slot> {
        let map = &self.agreement.map;
        let primaries = map.partitions().filter_map(|(_, _, a)| a.primary_member());
        let primaries: Vec<Slot> = primaries.map(slot_of).collect();
        one_of(&primaries, number)
    }

    fn pause(&mut self, slot: Slot, lasts_us: u64) {
        let until = self.now + lasts_us;
        if let Some(process) = &mut self.machines[slot].process {
            process.paused_until = until;
            self.agreement.inner.paused(slot, until);
        }
    }

    pub(super) fn slow_disk(&mut self, slot: Slot) {
        self.disk_takes(slot, self.scenario.sync_us * 100);
    }

    /// Its syncs take so long from now on: those of the journal and of the raft log.
    fn disk_takes(&mut self, slot: Slot, sync_us: u64) {
        self.machines[slot].sync_us = sync_us;
        self.agreement.inner.disk_takes(slot, sync_us);
    }

    /// No fault is left.
    pub(super) fn heal_all(&mut self) {
        self.healed = true;
        self.drains.clear();
        self.took("healed");
        self.tell(|| "everything heals".to_owned());
        for number in 0..self.scenario.faults.len() {
            self.network.heal(number);
        }
        self.release_stuck();
        for slot in 0..self.machines.len() {
            self.disk_takes(slot, self.scenario.sync_us_of(slot));
            self.set_full(slot, false);
            self.machines[slot].disk.heal();
            if self.machines[slot].decay.is_some() {
                self.restart(slot);
            }
            if let Some(process) = &mut self.machines[slot].process {
                process.paused_until = self.now;
                let life = process.life;
                if process.journal.failed {
                    self.restart(slot);
                } else {
                    self.turn_at(life, self.now);
                }
            }
            self.queue.push(self.now, ClusterEvent::Start(slot));
        }
    }

    fn set_full(&mut self, slot: Slot, full: bool) {
        let machine = &mut self.machines[slot];
        if machine.is_full == full {
            return;
        }
        machine.is_full = full;
        machine.engine.set_full(full);
        if let Some(process) = &machine.process {
            let life = process.life;
            let members = process.controller.full_members();
            self.give(life, PlaneEvent::Room { full, members });
        }
    }

    /// A process is told whose disks are full.
    pub(super) fn told_full(&mut self, life: Life, members: BTreeSet<super::StorageId>) {
        let full = self.machines[life.slot].is_full;
        self.give(life, PlaneEvent::Room { full, members });
    }

    /// A process is told whether its clock is off.
    pub(super) fn told_clock(&mut self, life: Life, off: bool) {
        self.give(life, PlaneEvent::Clock { off });
    }
}

/// How far a clock leaps.
fn step_ms(fault: Fault) -> i64 {
    match fault.kind {
        Kind::ClockSlip => World::slip_of(fault.whom),
        _ => (fault.whom / 7 % 7_200_000) as i64 - 3_600_000,
    }
}

/// All ways between these and the others.
fn around(part: &[Slot], nodes: usize) -> BTreeSet<(Slot, Slot)> {
    let inside = |slot: &Slot| part.contains(slot);
    let mut ways = BTreeSet::new();
    for one in 0..nodes {
        for other in 0..nodes {
            if inside(&one) != inside(&other) {
                ways.insert((one, other));
            }
        }
    }
    ways
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Kill => "fault: kill",
        Kind::PowerOff => "fault: power off",
        Kind::KillAll => "fault: kill all",
        Kind::Pause => "fault: pause",
        Kind::CutOneWay => "fault: cut one way",
        Kind::Isolate => "fault: isolate",
        Kind::Split => "fault: split",
        Kind::SlowDisk => "fault: slow disk",
        Kind::FullDisk => "fault: full disk",
        Kind::ClockStep => "fault: clock step",
        Kind::ClockSlip => "fault: clock slip",
        Kind::KillLeader => "fault: kill the leader",
        Kind::KillPrimary => "fault: kill a primary",
        Kind::MoveOffice => "fault: move an office",
        Kind::MoveOffices => "fault: move offices",
        Kind::HoldDead => "fault: hold dead",
        Kind::Drain => "fault: drain",
        Kind::Leave => "fault: leave",
        Kind::DropTable => "fault: drop a table",
        Kind::AlterTable => "fault: alter a table",
        Kind::Wipe => "fault: wipe",
        Kind::FailSync => "fault: fail a sync",
        Kind::Blink => "fault: blink",
        Kind::BackupThenPrimary => "fault: backup, then primary",
        Kind::PowerOffAll => "fault: power off all",
        Kind::LoseRows => "fault: lose rows",
        Kind::LoseRaftLog => "fault: lose a raft log",
        Kind::AwayAndBack => "fault: away and back",
        Kind::Deafen => "fault: deafen",
        Kind::OlderDisk => "fault: older disk",
        Kind::Restart => "fault: restart",
        Kind::SlowOthers => "fault: slow others",
        Kind::PauseLeader => "fault: pause the leader",
        Kind::IsolateLeader => "fault: isolate the leader",
        Kind::DownTwo => "fault: down two",
        Kind::Rot => "fault: rot",
        Kind::Misdirect => "fault: misdirect a write",
    }
}
