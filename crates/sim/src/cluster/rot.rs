//! Disks that do not hold what was written: bytes rot, or a write goes to another place. Whoever
//! starts on one must find all that was durable, or refuse; then the machine gets empty disks, as
//! operators are advised. Knows nothing of where a format keeps its checksums.

use tablestore_placement::PartitionId;
use tablestore_store::testing::{Disk as _, SimDisk};

use super::durable::LogEnds;
use super::event::{ClusterEvent, Life, Slot};
use super::{MS, World};
use crate::agreement::FOLDER;

/// Bytes that rot at once, in one block: groups share none, so that one of them is hit. Most of a
/// file may never have been written.
const BYTES: u64 = 3;
const BLOCK: u64 = 4_096;

/// What is wrong with a disk that nobody has read since.
#[derive(Clone, Debug)]
pub(crate) enum Decay {
    /// Some bytes are not what was written.
    Rot {
        /// The logs end there if all is read as it was.
        ends: LogEnds,
        /// They must go so far: nobody can tell a last group that rots from one that was torn by a
        /// crash.
        proven: LogEnds,
    },
    /// A write went to another place. If nothing was written behind it, it looks as if it never
    /// had been.
    Misdirected,
}

impl World {
    /// Bytes of a machine's journal or raft log rot while no process runs, if the cluster can do
    /// without the machine.
    pub(super) fn rot(&mut self, slot: Slot, whom: u64) {
        if !self.may_wipe(slot) {
            return self.took("a machine was spared");
        }
        // A group is written behind the last one that is durable.
        let process = self.machines[slot].process.as_ref();
        let is_followed = process.is_some_and(|process| !process.journal.written.is_empty());
        self.kill(slot, false);
        let (bytes, segments) = (self.given.segment_bytes, self.given.segments_max);
        let machine = &mut self.machines[slot];
        machine.disk.settle();
        let ends = machine.log_ends(bytes, segments);
        let proven = match is_followed {
            true => ends.common(&machine.durable),
            false => ends.common(&machine.proven),
        };
        let files: Vec<(SimDisk, String, u64)> = ["journal", FOLDER]
            .into_iter()
            .flat_map(|name| files_of(&machine.disk.folder(name)))
            .collect();
        if let Some((folder, name, bytes)) = files.get((whom % files.len().max(1) as u64) as usize)
        {
            // The front of a file is written in any case.
            let front = (*bytes).min(8 << 10);
            let within = if (whom / 64).is_multiple_of(2) {
                *bytes
            } else {
                front
            };
            let mut at = whom / 128 % within.max(1);
            for _ in 0..BYTES {
                folder.rot(name, at);
                at = at / BLOCK * BLOCK + (at * 31 + 7) % BLOCK;
            }
            machine.decay = Some(Decay::Rot { ends, proven });
            let name = name.clone();
            self.tell(|| format!("n{slot}     has rot in {name}"));
        }
        self.queue
            .push(self.now + 5 * MS, ClusterEvent::Start(slot));
    }

    /// The next write of a machine goes astray, if the cluster can do without the machine.
    pub(super) fn misdirect(&mut self, slot: Slot) {
        if !self.may_wipe(slot) {
            return self.took("a machine was spared");
        }
        let machine = &mut self.machines[slot];
        machine.disk.misdirect_next();
        machine.decay = Some(Decay::Misdirected);
    }

    /// A start was refused by what its disks hold: the machine gets empty ones. Says whether.
    pub(super) fn replace_decayed(&mut self, slot: Slot, why: &str) -> bool {
        if self.machines[slot].decay.is_none() {
            return false;
        }
        self.took("a decayed disk was refused");
        self.tell(|| format!("n{slot}     gets empty disks: {why}"));
        self.replace_disks(slot);
        self.queue
            .push(self.now + 5 * MS, ClusterEvent::Start(slot));
        true
    }

    /// A start on a decayed disk went well: it must have all that was durable before. What nothing
    /// was written behind may look as if it never had been; nobody can know that, and the machine
    /// gets empty disks all the same. Says whether it may go on.
    pub(super) fn judge_start(&mut self, slot: Slot) -> bool {
        let Some(decay) = self.machines[slot].decay.take() else {
            return true;
        };
        self.took("a decayed disk was started on");
        self.machines[slot].disk.heal();
        let Decay::Rot { ends, proven } = decay else {
            self.begin_anew(slot);
            return false;
        };
        let durable = &self.machines[slot].durable;
        let lacking = |(partition, had): &(PartitionId, u64)| {
            durable.end(*partition).is_none_or(|end| end < *had)
        };
        if let Some((partition, had)) = proven.all().find(lacking) {
            let end = durable.end(partition);
            self.fail("Start", || {
                format!(
                    "n{slot} had entry {had} of {partition} on its disk and starts with {end:?}"
                )
            });
            return false;
        }
        if ends.all().any(|log| lacking(&log)) {
            self.took("a last group that rotted passed for a torn one");
            self.begin_anew(slot);
            return false;
        }
        true
    }

    fn begin_anew(&mut self, slot: Slot) {
        self.kill(slot, true);
        self.replace_disks(slot);
        self.queue
            .push(self.now + 5 * MS, ClusterEvent::Start(slot));
    }

    /// A replica says that it has stopped. That is right only of one whose rows or log were lost,
    /// or that nobody counts on and whose process ended while a copy was switched in.
    pub(super) fn stopped(&mut self, life: Life, partition: PartitionId, why: &str) {
        if self.shared.has(partition) {
            return self.took("owner: stopped after faults in a row");
        }
        let storage = self.machines[life.slot].storage;
        let assignment = self.agreement.map.assignment(partition);
        let counts = assignment.is_some_and(|a| a.in_sync.contains(&storage));
        let lost = self.machines[life.slot].lost_rows.contains(&partition);
        if why.contains("what is between them is lost") && (lost || !counts) {
            return self.took(if lost {
                "lost rows were noticed"
            } else {
                "a copy was half switched in"
            });
        }
        if why.contains("is damaged") && self.machines[life.slot].decay.is_some() {
            return self.took("a damaged log was noticed");
        }
        let why = why.to_owned();
        self.fail("Stopped", || {
            format!("{life:?}: {partition} stopped: {why}")
        });
    }
}

fn files_of(folder: &SimDisk) -> Vec<(SimDisk, String, u64)> {
    let names = folder.names().into_iter();
    names
        .map(|name| {
            let opened = folder.open(&name).and_then(|file| file.bytes());
            (folder.clone(), name, opened.unwrap_or(0))
        })
        .collect()
}
