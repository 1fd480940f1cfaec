//! The cluster map as one linearizable value, changed by compare-and-set, and the controller
//! that decides about offices. A small model of its own: it knows nothing of raft, and its
//! guesses are wrong on purpose.

use std::collections::BTreeMap;

use tablestore_placement::{Assignment, AssignmentVersion, Epoch, Incarnation, Office, StorageId};
use tablestore_replication::View;

use crate::event::Slot;
use crate::rng::Chance;

/// Storage ids of one slot differ by their generation.
const GENERATIONS: u64 = 1000;

pub(crate) fn storage_id(slot: Slot, generation: u64) -> StorageId {
    StorageId((slot as u64 + 1) * GENERATIONS + generation)
}

pub(crate) fn slot_of(storage: StorageId) -> Slot {
    (storage.0 / GENERATIONS) as usize - 1
}

/// What a primary asks for.
#[derive(Clone, Debug)]
pub(crate) struct InSyncProposal {
    pub(crate) partition: usize,
    pub(crate) epoch: Epoch,
    pub(crate) version: AssignmentVersion,
    pub(crate) office: Office,
    pub(crate) in_sync: Vec<StorageId>,
    pub(crate) joiner: Option<(StorageId, Incarnation)>,
}

/// A member as the map has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberRecord {
    pub(crate) incarnation: Incarnation,
    pub(crate) up: bool,
    /// Its disk was wiped: it never returns.
    pub(crate) retired: bool,
}

/// The map as nodes get it.
#[derive(Debug)]
pub(crate) struct MapCopy {
    pub(crate) version: u64,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) down: Vec<StorageId>,
    pub(crate) in_sync_min: u32,
}

impl MapCopy {
    pub(crate) fn view(&self, partition: usize) -> View {
        let assignment = self.assignments[partition].clone();
        let unreachable = self.down.iter().copied();
        View {
            unreachable: unreachable
                .filter(|member| assignment.involves(*member))
                .collect(),
            assignment,
            in_sync_min: self.in_sync_min,
        }
    }
}

/// The map and its controller.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) version: u64,
    pub(crate) members: BTreeMap<StorageId, MemberRecord>,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) in_sync_min: u32,
}

impl Authority {
    pub(crate) fn copy(&self) -> MapCopy {
        let down = self.members.iter().filter(|(_, member)| !member.up);
        MapCopy {
            version: self.version,
            assignments: self.assignments.clone(),
            down: down.map(|(storage, _)| *storage).collect(),
            in_sync_min: self.in_sync_min,
        }
    }

    pub(crate) fn is_up(&self, storage: StorageId) -> bool {
        self.members.get(&storage).is_some_and(|member| member.up)
    }

    /// A node has started.
    pub(crate) fn register(&mut self, storage: StorageId, incarnation: Incarnation) {
        let record = MemberRecord {
            incarnation,
            up: true,
            retired: false,
        };
        self.members.insert(storage, record);
        self.version += 1;
    }

    pub(crate) fn set_up(&mut self, storage: StorageId, up: bool) {
        if let Some(member) = self.members.get_mut(&storage)
            && member.up != up
            && !member.retired
        {
            member.up = up;
            self.version += 1;
        }
    }

    pub(crate) fn retire(&mut self, storage: StorageId) {
        if let Some(member) = self.members.get_mut(&storage) {
            member.up = false;
            member.retired = true;
            self.version += 1;
        }
    }

    /// A primary's proposal, by compare-and-set.
    pub(crate) fn propose(&mut self, proposal: &InSyncProposal) -> bool {
        let current = &self.assignments[proposal.partition];
        // A late removal by a primary that is dead since could leave only the dead one.
        let fits = self.is_up(proposal.office.member)
            && (current.epoch, current.version) == (proposal.epoch, proposal.version)
            && current.primary == Some(proposal.office)
            && proposal.in_sync.contains(&proposal.office.member)
            && proposal
                .in_sync
                .iter()
                .all(|m| current.replicas.contains(m));
        let newcomers: Vec<_> = proposal
            .in_sync
            .iter()
            .copied()
            .filter(|member| !current.in_sync.contains(member))
            .collect();
        let joiner_is_current = proposal.joiner.is_none_or(|(storage, incarnation)| {
            let member = self.members.get(&storage);
            member.is_some_and(|member| member.up && member.incarnation == incarnation)
        });
        let joiner: Vec<_> = proposal
            .joiner
            .iter()
            .map(|(storage, _)| *storage)
            .collect();
        let kept = proposal.in_sync.len() >= current.in_sync.len().min(self.in_sync_min as usize);
        let good = fits && joiner_is_current && newcomers == joiner && kept;
        if good {
            let assignment = &mut self.assignments[proposal.partition];
            assignment.in_sync.clone_from(&proposal.in_sync);
            assignment.version = assignment.version.next();
            self.version += 1;
        }
        good
    }

    /// What the controller does of its own accord, for one partition.
    pub(crate) fn reconcile(&mut self, partition: usize, chance: &mut Chance) {
        self.replace_retired(partition);
        let assignment = &self.assignments[partition];
        let filled = assignment.primary.is_some_and(|office| {
            let member = self.members.get(&office.member);
            member.is_some_and(|member| member.up && member.incarnation == office.incarnation)
        });
        if filled {
            self.remove_dead(partition);
        } else {
            let candidates: Vec<_> = assignment
                .in_sync
                .iter()
                .copied()
                .filter(|member| self.is_up(*member))
                .collect();
            if let Some(next) = chance.pick(&candidates) {
                self.fail_over(partition, next, chance);
            }
        }
    }

    /// Gives the office to an in-sync member.
    pub(crate) fn fail_over(&mut self, partition: usize, to: StorageId, chance: &mut Chance) {
        let current = &self.assignments[partition];
        let (Some(member), true) = (self.members.get(&to), current.in_sync.contains(&to)) else {
            return;
        };
        let office = Office {
            member: to,
            incarnation: member.incarnation,
        };
        if !member.up || current.primary == Some(office) {
            return;
        }
        let deposed = current.primary.map(|primary| primary.member);
        let assignment = &mut self.assignments[partition];
        assignment.epoch = assignment.epoch.next();
        assignment.version = assignment.version.next();
        assignment.primary = Some(office);
        self.version += 1;
        // With the office the dead and the deposed may go whatever the minimum, or stay.
        let min = if chance.happens(500) {
            0
        } else {
            self.in_sync_min
        };
        self.drop_dead(partition, min as usize);
        let assignment = &mut self.assignments[partition];
        if let Some(deposed) = deposed
            && deposed != to
            && assignment.in_sync.len() > min as usize
            && chance.happens(700)
        {
            assignment.in_sync.retain(|member| *member != deposed);
        }
    }

    /// Removes dead members, never below the minimum. One change, one version.
    fn remove_dead(&mut self, partition: usize) {
        if self.drop_dead(partition, self.in_sync_min as usize) {
            let assignment = &mut self.assignments[partition];
            assignment.version = assignment.version.next();
            self.version += 1;
        }
    }

    fn drop_dead(&mut self, partition: usize, min: usize) -> bool {
        let members = &self.members;
        let assignment = &mut self.assignments[partition];
        let before = assignment.in_sync.len();
        let mut surplus = before.saturating_sub(min);
        let primary = assignment.primary_member();
        assignment.in_sync.retain(|member| {
            let dead = !members.get(member).is_some_and(|m| m.up) && primary != Some(*member);
            let drop = dead && surplus > 0;
            surplus -= usize::from(drop);
            !drop
        });
        assignment.in_sync.len() < before
    }

    /// A wiped disk is a new replica; the old one goes when it is no longer in sync.
    fn replace_retired(&mut self, partition: usize) {
        let mut replicas = self.assignments[partition].replicas.clone();
        let in_sync = &self.assignments[partition].in_sync;
        for (storage, member) in &self.members {
            if !member.retired || !replicas.contains(storage) {
                continue;
            }
            let successor = self.members.iter().find(|(other, record)| {
                slot_of(**other) == slot_of(*storage) && record.up && !record.retired
            });
            if let Some((successor, _)) = successor
                && !replicas.contains(successor)
            {
                replicas.push(*successor);
            }
            if successor.is_some() && !in_sync.contains(storage) {
                replicas.retain(|replica| replica != storage);
            }
        }
        let assignment = &mut self.assignments[partition];
        if replicas != assignment.replicas {
            assignment.replicas = replicas;
            assignment.version = assignment.version.next();
            self.version += 1;
        }
    }
}
