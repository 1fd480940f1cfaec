//! Where copies are missing or have to move: first a new replica learns, later the old one goes.

use std::collections::BTreeSet;

use super::failover::react_in;
use super::loads::Loads;
use super::shares::Cost;
use super::surplus::drop_leaving;
use super::target::Target;
use super::{Draft, Plan};
use crate::{
    Assignment, ClusterMap, FailureDomain, Happening, Member, MemberState, NextAssignment,
    PartitionId, StorageId, Strategies, Table, TableId,
};

/// How much data may be copied at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyCaps {
    /// How many replicas of the whole cluster may be catching up, those that do so already
    /// included.
    pub copies_max: usize,
}

impl CopyCaps {
    /// Enough to keep every node of a small cluster busy, few enough to leave room for clients.
    pub const DEFAULT: Self = Self { copies_max: 16 };
}

impl Default for CopyCaps {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Too much is missing for copying to be a good idea: it is more likely that the network or the
/// controller is at fault. Nothing is copied; a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missing} of {members} members are missing, in {domains} failure domains")]
pub struct CopyingRefused {
    /// How many members are missing.
    pub missing: usize,
    /// How many there are.
    pub members: usize,
    /// How many failure domains the missing ones are in.
    pub domains: usize,
}

/// Whether replicas of these members may be replaced at once: one failure domain or a third of
/// the members, whichever is more.
pub fn copying_allowed(map: &ClusterMap, missing: &[StorageId]) -> Result<(), CopyingRefused> {
    let known: Vec<&Member> = missing.iter().filter_map(|s| map.members.get(s)).collect();
    let domains = known
        .iter()
        .map(|m| m.failure_domain())
        .collect::<BTreeSet<_>>()
        .len();
    if domains <= 1 || known.len() * 3 <= map.members.len() {
        return Ok(());
    }
    Err(CopyingRefused {
        missing: known.len(),
        members: map.members.len(),
        domains,
    })
}

/// Replaces the replicas on members that have been missing for too long. Each partition gets a new
/// replica on the best other member; once that is in sync, the missing one is dropped. The caller
/// asks again after each change of the map, with those that are still missing.
#[must_use]
pub fn rereplicate(map: &ClusterMap, missing: &[StorageId], caps: CopyCaps) -> Plan {
    let mut draft = Draft::new(map);
    replace(&mut draft, &missing.iter().copied().collect(), caps);
    draft.finish()
}

/// Moves everything off a member: it is marked as draining, its offices move at once, its replicas
/// as fast as the caps allow. Redundancy is never given up for it: where there is no other member
/// for a replica, it stays, and the plan's reasons say so.
#[must_use]
pub fn drain(
    strategies: &Strategies,
    map: &ClusterMap,
    storage: StorageId,
    caps: CopyCaps,
) -> Plan {
    let mut draft = Draft::new(map);
    if map.is_live(storage) {
        draft.set_state(storage, MemberState::Draining);
    }
    let offices = Happening::OfficesOff {
        member: storage,
        leaves: false,
    };
    react_in(&mut draft, strategies, &offices);
    replace(&mut draft, &BTreeSet::from([storage]), caps);
    draft.finish()
}

/// Adds replicas to partitions that have too few, for example because nodes have joined since.
#[must_use]
pub fn fill(map: &ClusterMap, caps: CopyCaps) -> Plan {
    let mut draft = Draft::new(map);
    let mut adding = Adding::new(map, BTreeSet::new(), caps);
    for table in draft.copied_tables() {
        for (partition, _) in partitions_of(table) {
            adding.add(&mut draft, table, partition);
        }
    }
    draft.finish()
}

fn partitions_of(table: &Table) -> impl Iterator<Item = (PartitionId, &Assignment)> {
    let numbered = (0u32..).zip(&table.partitions);
    numbered.map(|(number, current)| (PartitionId::new(table.id, number), current))
}

/// How many replicas are catching up.
pub(super) fn copies(map: &ClusterMap) -> usize {
    let learning = |a: &Assignment| {
        a.replicas
            .iter()
            .filter(|s| !a.in_sync.contains(s) && map.is_live(**s))
            .count()
    };
    map.partitions()
        .map(|(_, _, assignment)| learning(assignment))
        .sum()
}

fn replace(draft: &mut Draft<'_>, leaving: &BTreeSet<StorageId>, caps: CopyCaps) {
    let mut adding = Adding::new(draft.map(), leaving.clone(), caps);
    let mut stuck = 0u32;
    for table in draft.copied_tables() {
        let has_offices = table.definition.data_path().has_offices();
        for (partition, current) in partitions_of(table) {
            if !current.replicas.iter().any(|s| leaving.contains(s)) {
                continue;
            }
            let complete = adding.add(draft, table, partition);
            stuck += u32::from(!complete);
            if has_offices && drop_leaving(draft, partition, &table.definition, leaving) {
                draft.because("a replica is dropped, because enough others are in sync");
            }
        }
    }
    if stuck > 0 {
        draft.because(&format!(
            "{stuck} partitions have no other member for a replica"
        ));
    }
}

/// New replicas within a budget.
struct Adding {
    leaving: BTreeSet<StorageId>,
    loads: Loads,
    budget: usize,
    /// The target of the table in hand; nobody is asked for it where nothing is missing.
    target: Option<(TableId, Option<Target>)>,
}

impl Adding {
    fn new(map: &ClusterMap, leaving: BTreeSet<StorageId>, caps: CopyCaps) -> Self {
        Self {
            leaving,
            loads: Loads::of(map),
            budget: caps.copies_max.saturating_sub(copies(map)),
            target: None,
        }
    }

    /// Adds learners until there are enough replicas that stay. False if there is nobody to add.
    fn add(&mut self, draft: &mut Draft<'_>, table: &Table, partition: PartitionId) -> bool {
        if !table.definition.data_path().has_offices() {
            return self.add_active(draft, table, partition);
        }
        let wanted = table.definition.replicas as usize;
        loop {
            let current = draft.assignment(partition);
            let mut staying = current.replicas.clone();
            staying.retain(|s| !self.leaving.contains(s));
            if staying.len() >= wanted || self.budget == 0 {
                return true;
            }
            let candidates = self.candidates(draft.map(), table, partition, &current, &staying);
            let added = candidates.into_iter().find(|candidate| {
                let mut next = NextAssignment::keep(&current);
                next.replicas.push(*candidate);
                draft.set(partition, next).is_ok()
            });
            let Some(added) = added else { return false };
            self.loads.add(partition.table, added);
            draft.because("a new replica is copied where one is missing or leaves");
            self.budget -= 1;
        }
    }

    /// The same for an active table, where one change is under way at a time: a replica comes, in
    /// place of one that leaves unless there are too few.
    fn add_active(&mut self, draft: &mut Draft<'_>, table: &Table, partition: PartitionId) -> bool {
        let current = draft.assignment(partition);
        if let Some(joiner) = current.joiner() {
            let mut next = NextAssignment::keep(&current);
            next.replicas
                .retain(|storage| current.in_sync.contains(storage));
            if self.leaving.contains(&joiner) && draft.set(partition, next).is_ok() {
                draft.because("a new replica is given up, because its member leaves or is missing");
            }
            return true;
        }
        let wanted = table.definition.replicas as usize;
        if current.replicas.len() > wanted {
            // One leaves already, and the next one after it.
            return true;
        }
        let is_short = current.replicas.len() < wanted;
        let goes = |storage: &&StorageId| self.leaving.contains(storage);
        let leaver = current.replicas.iter().copied().rev().find(|s| goes(&s));
        let leaver = leaver.filter(|_| !is_short);
        if self.budget == 0 || (leaver.is_none() && !is_short) {
            return true;
        }
        let mut staying = current.replicas.clone();
        staying.retain(|s| !self.leaving.contains(s));
        let candidates = self.candidates(draft.map(), table, partition, &current, &staying);
        let added = candidates.into_iter().find(|candidate| {
            let mut next = NextAssignment::keep(&current);
            next.replicas.retain(|storage| Some(*storage) != leaver);
            next.replicas.push(*candidate);
            next.replicas.extend(leaver);
            draft.set(partition, next).is_ok()
        });
        let Some(added) = added else { return false };
        self.loads.add(partition.table, added);
        draft.because("a new replica of an active table is brought up from the others");
        self.budget -= 1;
        true
    }

    /// Who could take one more replica: those whom the target has, in the zone that is used least
    /// first, and only if none of them is up, whoever is.
    fn candidates(
        &mut self,
        map: &ClusterMap,
        table: &Table,
        partition: PartitionId,
        current: &Assignment,
        staying: &[StorageId],
    ) -> Vec<StorageId> {
        if self.target.as_ref().is_none_or(|(of, _)| *of != table.id) {
            let target = Target::of(map, &self.loads, table, &self.leaving);
            self.target = Some((table.id, target));
        }
        let target = self.target.as_ref().and_then(|(_, target)| target.as_ref());
        let row = target.map_or(&[][..], |target| target.row(partition));
        let mut fit = by_fitness(map, &self.loads, partition, &current.replicas, staying);
        fit.sort_by_key(|s| !row.contains(s));
        fit
    }
}

/// Those who could take one more replica, best first: in the zone that is used least, then with
/// the least of this table and of all tables by weight.
fn by_fitness(
    map: &ClusterMap,
    loads: &Loads,
    partition: PartitionId,
    replicas: &[StorageId],
    staying: &[StorageId],
) -> Vec<StorageId> {
    let used: Vec<FailureDomain<'_>> = staying
        .iter()
        .filter_map(|s| map.members.get(s))
        .filter(|m| m.is_live() && m.state != MemberState::Draining)
        .map(Member::failure_domain)
        .collect();
    let mut fit: Vec<&Member> = map
        .members
        .values()
        .filter(|m| m.is_placeable() && !replicas.contains(&m.storage))
        .collect();
    fit.sort_by_cached_key(|m| {
        let (table, weight) = (partition.table, u64::from(m.weight));
        (
            used.iter()
                .filter(|domain| **domain == m.failure_domain())
                .count(),
            Cost::of_unit(loads.of_table(table, m.storage) + 1, weight),
            Cost::of_unit(loads.all(m.storage) + 1, weight),
            m.storage,
        )
    });
    fit.into_iter().map(|m| m.storage).collect()
}
