//! Faults: what goes wrong, when, and how it ends.

use std::collections::BTreeSet;

use tablestore_placement::StorageId;

use crate::authority::slot_of;
use crate::event::{Event, Slot};
use crate::scenario::Fault;
use crate::world::{MS, World};

impl World {
    /// One fault, and when the next one comes.
    pub(crate) fn nemesis(&mut self) {
        if self.healing {
            return;
        }
        let faults = self.scenario.faults.clone();
        if let Some(fault) = self.chance.pick(&faults) {
            self.tell(|_| format!("fault: {fault:?}"));
            self.inflict(fault);
        }
        let pause = self
            .chance
            .between(self.scenario.fault_us / 8, self.scenario.fault_us);
        self.queue.push(self.now + pause, Event::Nemesis);
    }

    fn inflict(&mut self, fault: Fault) {
        let slot = self.chance.below(self.nodes.len() as u64) as usize;
        let partition = self.chance.below(self.scenario.partitions as u64) as usize;
        match fault {
            Fault::Crash => self.crash(slot),
            Fault::CrashPrimary => {
                if let Some(primary) = self.primary_slot(partition) {
                    self.crash(primary);
                }
            }
            Fault::CrashBackupThenPrimary => self.crash_backup_then_primary(partition),
            Fault::CrashAll => {
                for slot in 0..self.nodes.len() {
                    self.crash(slot);
                }
            }
            Fault::Wipe => self.wipe(slot),
            Fault::Pause => {
                let pause = self.chance.between(10 * MS, 700 * MS);
                self.nodes[slot].paused_until = self.now + pause;
            }
            Fault::OneWayCut => {
                let other = self.chance.below(self.nodes.len() as u64) as usize;
                self.cut(BTreeSet::from([(slot, other)]), BTreeSet::new());
            }
            Fault::Isolate => self.isolate(slot),
            Fault::IsolatePrimary => {
                if let Some(primary) = self.primary_slot(partition) {
                    self.isolate(primary);
                }
            }
            Fault::Split => self.split(),
            Fault::SlowDisk => {
                self.nodes[slot].sync_us = self.scenario.sync_us * self.chance.between(10, 300);
                let at = self.now + self.chance.between(20 * MS, 400 * MS);
                self.queue.push(at, Event::SpeedUp { slot });
            }
            Fault::WrongGuess => {
                self.wrong_guesses[slot] = true;
                let at = self.now + self.chance.between(5 * MS, 200 * MS);
                self.queue.push(at, Event::WrongGuessEnds { slot });
            }
            Fault::MoveOffice => self.promote(partition, None),
            Fault::MoveOfficeTwice => {
                self.promote(partition, None);
                let at = self.now + self.chance.between(100, 30 * MS);
                self.queue.push(
                    at,
                    Event::Promote {
                        partition,
                        to: None,
                    },
                );
            }
            Fault::ControlPlaneGone => {
                self.control_plane_up = false;
                let at = self.now + self.chance.between(50 * MS, 600 * MS);
                self.queue.push(at, Event::ControlPlaneBack);
            }
        }
    }

    fn primary_slot(&self, partition: usize) -> Option<Slot> {
        let primary = self.authority.assignments[partition].primary?;
        Some(slot_of(primary.member))
    }

    /// The process dies; another one starts on what the disk kept.
    fn crash(&mut self, slot: Slot) {
        let back = self.chance.between(2 * MS, 400 * MS);
        self.crash_for(slot, back);
    }

    fn crash_for(&mut self, slot: Slot, back: u64) {
        if !self.nodes[slot].up {
            return;
        }
        self.nodes[slot].stop();
        self.nodes[slot].disk.crash(&mut self.chance);
        self.queue.push(self.now + back, Event::Restart { slot });
        self.hint_about(slot);
    }

    /// KIP-101: a backup restarts before it learned the commit mark, then the primary dies.
    fn crash_backup_then_primary(&mut self, partition: usize) {
        let assignment = &self.authority.assignments[partition];
        let backups: Vec<StorageId> = assignment
            .in_sync
            .iter()
            .copied()
            .filter(|member| Some(*member) != assignment.primary_member())
            .collect();
        let (Some(backup), Some(primary)) =
            (self.chance.pick(&backups), self.primary_slot(partition))
        else {
            return;
        };
        self.crash_for(slot_of(backup), MS / 2);
        let back = self.chance.between(100 * MS, 400 * MS);
        self.crash_for(primary, back);
    }

    /// The disk is lost too. Never the last copy: acknowledged writes would be lost by right.
    fn wipe(&mut self, slot: Slot) {
        let storage = self.nodes[slot].storage();
        let members = &self.authority.members;
        let is_last = self.authority.assignments.iter().any(|assignment| {
            !assignment
                .in_sync
                .iter()
                .any(|member| *member != storage && members.get(member).is_some_and(|m| !m.retired))
        });
        if is_last || !self.nodes[slot].up || !self.authority.members.contains_key(&storage) {
            return;
        }
        self.crash(slot);
        self.nodes[slot].wipe();
        self.authority.retire(storage);
    }

    pub(crate) fn restart(&mut self, slot: Slot) {
        if self.nodes[slot].up {
            return;
        }
        let (now, settings) = (self.now, self.settings);
        self.nodes[slot].start(now, settings);
        self.tell(|_| format!("n{slot} starts"));
        let process = self.nodes[slot].process();
        let at = now + self.chance.between(20 * MS, 100 * MS);
        self.queue.push(at, Event::Housekeeping(process));
        self.hint_about(slot);
    }

    /// Sessions from and to a slot changed; nodes notice soon.
    fn hint_about(&mut self, slot: Slot) {
        for other in 0..self.nodes.len() {
            if other != slot {
                self.check_peers(slot, other);
            }
        }
    }

    fn check_peers(&mut self, one: Slot, other: Slot) {
        for (slot, peer) in [(one, other), (other, one)] {
            let process = self.nodes[slot].process();
            let at = self.now + self.chance.between(200, 20 * MS);
            self.queue.push(at, Event::CheckPeer { process, peer });
        }
    }

    fn isolate(&mut self, slot: Slot) {
        let others = (0..self.nodes.len()).filter(|other| *other != slot);
        let links = others.flat_map(|other| [(slot, other), (other, slot)]);
        let links = links.collect();
        let control = if self.chance.happens(700) {
            BTreeSet::from([slot])
        } else {
            BTreeSet::new()
        };
        self.cut(links, control);
    }

    fn split(&mut self) {
        let side: Vec<bool> = (0..self.nodes.len())
            .map(|_| self.chance.happens(500))
            .collect();
        let mut links = BTreeSet::new();
        for from in 0..side.len() {
            for to in 0..side.len() {
                if side[from] != side[to] {
                    links.insert((from, to));
                }
            }
        }
        let control = (0..side.len()).filter(|slot| side[*slot]).collect();
        self.cut(links, control);
    }

    fn cut(&mut self, links: BTreeSet<(Slot, Slot)>, control: BTreeSet<Slot>) {
        let pairs: Vec<_> = links.iter().copied().collect();
        let cut = self.network.cut(links, control);
        if self.chance.happens(600) {
            for (from, to) in pairs {
                self.check_peers(from, to);
            }
        }
        let at = self.now + self.chance.between(10 * MS, 500 * MS);
        self.queue.push(at, Event::Heal { cut });
    }

    pub(crate) fn heal(&mut self, cut: u64) {
        self.network.heal(cut);
        for one in 0..self.nodes.len() {
            for other in 0..one {
                self.check_peers(one, other);
            }
        }
    }

    /// No more faults: everything is given the chance to become well.
    pub(crate) fn heal_everything(&mut self) {
        self.healing = true;
        self.tell(|_| "all faults are healed".to_owned());
        self.control_plane_up = true;
        self.network.heal_all();
        self.network.manners.lost_per_mille = 0;
        self.network.manners.late_per_mille = 0;
        for slot in 0..self.nodes.len() {
            self.wrong_guesses[slot] = false;
            let node = &mut self.nodes[slot];
            node.sync_us = self.scenario.sync_us;
            // What was put off until the end of the pause comes then.
            node.paused_until = node.paused_until.min(self.now + MS);
            self.restart(slot);
        }
        self.heal(0);
    }
}
