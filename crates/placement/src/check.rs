//! The rules that every assignment keeps, whoever planned it: a strategy may be wrong, but not
//! unsafe. Knows nothing about why an assignment was chosen.

mod active;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Assignment, AssignmentVersion, ClusterMap, Epoch, Incarnation, Member, MemberState,
    NextAssignment, Office, StorageId, TableDefinition,
};

use active::{active_step, changes_active};

pub use active::active_joined;

/// A rule of the framework, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// A new primary comes from the current in-sync set.
    PrimaryFromInSync,
    /// A new primary lives.
    PrimaryIsLive,
    /// The primary is in the in-sync set.
    PrimaryInSync,
    /// A change of the primary raises the epoch by one; nothing else changes it.
    EpochRisesByOne,
    /// No new replica on a member that is not up.
    NoReplicaOnDeadNode,
    /// Replicas are in distinct zones when there are enough.
    DistinctZones,
    /// The in-sync set is a part of the replicas.
    InSyncWithinReplicas,
    /// Only the primary lets members into the in-sync set, one at a time.
    InSyncGrowsByPrimary,
    /// Below the table's minimum the in-sync set loses only who is of no use to it: a primary that
    /// is deposed, a dead member where the office moves, a replica that has stopped.
    MinInSyncKept,
    /// No member is listed twice.
    NoDuplicateReplicas,
    /// There are replicas, and not more than the table may have while one is replaced.
    ReplicaCount,
    /// Where every replica takes writes nobody holds an office.
    NoOffice,
    /// The replicas of an active table change one at a time, and through a step in which the old
    /// and the new set answer both: one comes, and either it joins when it is whole, in place of
    /// the last of the list where that leaves, or it goes again. Where there are too many the last
    /// of the list leaves when the others have its rows.
    ActiveOneStep,
    /// Where rows are in shared storage the owner is the only replica, and another one becomes that
    /// only together with the office.
    OwnerAlone,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Rule {
    /// Its name as refusals and decisions show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PrimaryFromInSync => "primary_from_in_sync",
            Self::PrimaryIsLive => "primary_is_live",
            Self::PrimaryInSync => "primary_in_sync",
            Self::EpochRisesByOne => "epoch_rises_by_one",
            Self::NoReplicaOnDeadNode => "no_replica_on_dead_node",
            Self::DistinctZones => "distinct_zones",
            Self::InSyncWithinReplicas => "in_sync_within_replicas",
            Self::InSyncGrowsByPrimary => "in_sync_grows_by_primary",
            Self::MinInSyncKept => "min_in_sync_kept",
            Self::NoDuplicateReplicas => "no_duplicate_replicas",
            Self::ReplicaCount => "replica_count",
            Self::NoOffice => "no_office",
            Self::ActiveOneStep => "active_one_step",
            Self::OwnerAlone => "owner_alone",
        }
    }
}

/// Works out the assignment that a planner's choice leads to: epoch, version and the incarnation
/// of the office follow from the map. Nothing is checked yet; see [`transition`].
///
/// A primary that stays keeps its office while its start is current, or while it is dead (its
/// office is then vacant until it restarts or somebody else is chosen). If it has restarted, it is
/// elected anew, under the next epoch.
#[must_use]
pub fn resolve(map: &ClusterMap, current: &Assignment, next: &NextAssignment) -> Assignment {
    let primary = next.primary.map(
        |storage| match (current.primary, map.members.get(&storage)) {
            (Some(office), Some(member)) if office.member == storage && !member.is_live() => office,
            (_, Some(member)) => Office {
                member: storage,
                incarnation: member.incarnation,
            },
            (Some(office), None) if office.member == storage => office,
            (_, None) => Office {
                member: storage,
                incarnation: Incarnation(0),
            },
        },
    );
    let same_office = primary == current.primary;
    Assignment {
        epoch: if same_office {
            current.epoch
        } else {
            current.epoch.next()
        },
        version: current.version.next(),
        primary,
        replicas: next.replicas.clone(),
        in_sync: next.in_sync.clone(),
    }
}

/// Resolves a planner's choice and checks it against every rule. `stopped` are the replicas of the
/// partition that have stopped for good, as their members say.
pub fn next(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
    next: &NextAssignment,
    stopped: &[StorageId],
) -> Result<Assignment, Rule> {
    let mut after = resolve(map, current, next);
    if changes_active(definition, current, &after) {
        after.epoch = current.epoch.next();
    }
    transition(map, definition, current, &after, stopped)?;
    Ok(after)
}

/// Whether an assignment may follow another by a decision of the controller.
pub fn transition(
    map: &ClusterMap,
    definition: &TableDefinition,
    before: &Assignment,
    after: &Assignment,
    stopped: &[StorageId],
) -> Result<(), Rule> {
    shape(definition, before, after)?;
    let is_active_step = changes_active(definition, before, after);
    if is_active_step {
        active_step(map, definition, before, after)?;
    }
    let primary_changes = after.primary != before.primary;
    let epoch = if primary_changes || is_active_step {
        before.epoch.next()
    } else {
        before.epoch
    };
    ensure(
        after.epoch == epoch && after.version == before.version.next(),
        Rule::EpochRisesByOne,
    )?;
    let copies = definition.data_path().has_copies();
    let moves = primary_changes && after.primary.is_some();
    if let Some(office) = after.primary.filter(|_| primary_changes) {
        // Rows in shared storage are at hand for every member.
        let has_rows = !copies || before.in_sync.contains(&office.member);
        ensure(has_rows, Rule::PrimaryFromInSync)?;
        ensure(map.is_filled(Some(office)), Rule::PrimaryIsLive)?;
    }
    let grows = after
        .in_sync
        .iter()
        .any(|storage| !before.in_sync.contains(storage));
    ensure(!grows || copies || moves, Rule::OwnerAlone)?;
    ensure(!grows || !copies, Rule::InSyncGrowsByPrimary)?;
    // Whoever is in sync has every committed entry, so those that stay lose nothing by it.
    let deposed = before.primary_member().filter(|_| primary_changes);
    let useless = |s: &StorageId| {
        let replaced = moves && (Some(*s) == deposed || !map.is_live(*s));
        replaced || stopped.contains(s)
    };
    let mut leaving = before.in_sync.iter().filter(|s| !after.in_sync.contains(s));
    if !leaving.all(useless) {
        min_in_sync(definition, before, after)?;
    }
    let added: Vec<_> = after
        .replicas
        .iter()
        .copied()
        .filter(|s| !before.replicas.contains(s))
        .collect();
    let up = |storage: &StorageId| {
        map.members
            .get(storage)
            .is_some_and(|member| member.state == MemberState::Up)
    };
    ensure(added.iter().all(up), Rule::NoReplicaOnDeadNode)?;
    zones(map, definition, before, after, &added)
}

/// Whether an assignment may be the first of a partition: all replicas are empty, so all of them
/// are in sync.
pub fn creation(
    map: &ClusterMap,
    definition: &TableDefinition,
    first: &Assignment,
) -> Result<(), Rule> {
    shape(definition, &Assignment::default(), first)?;
    let replicas = first.replicas.len();
    ensure(replicas <= definition.replicas as usize, Rule::ReplicaCount)?;
    let numbers = (Epoch(0).next(), AssignmentVersion(0).next());
    ensure(
        (first.epoch, first.version) == numbers,
        Rule::EpochRisesByOne,
    )?;
    let has_office = definition.data_path().has_offices();
    let is_served = !has_office || map.is_filled(first.primary);
    ensure(is_served, Rule::PrimaryIsLive)?;
    ensure(first.in_sync.len() == replicas, Rule::MinInSyncKept)?;
    let up = |storage: &StorageId| {
        map.members
            .get(storage)
            .is_some_and(|member| member.state == MemberState::Up)
    };
    ensure(first.replicas.iter().all(up), Rule::NoReplicaOnDeadNode)?;
    zones(
        map,
        definition,
        &Assignment::default(),
        first,
        &first.replicas,
    )
}

/// Whether a primary may change its in-sync set in this way, within its epoch.
pub fn in_sync_change(
    definition: &TableDefinition,
    before: &Assignment,
    in_sync: &[StorageId],
    joiner: Option<StorageId>,
) -> Result<Assignment, Rule> {
    let after = Assignment {
        version: before.version.next(),
        in_sync: in_sync.to_vec(),
        ..before.clone()
    };
    shape(definition, before, &after)?;
    let has_offices = definition.data_path().has_offices();
    ensure(has_offices, Rule::ActiveOneStep)?;
    let newcomers: Vec<_> = in_sync
        .iter()
        .filter(|s| !before.in_sync.contains(s))
        .collect();
    ensure(
        newcomers == joiner.iter().collect::<Vec<_>>(),
        Rule::InSyncGrowsByPrimary,
    )?;
    min_in_sync(definition, before, &after)?;
    Ok(after)
}

fn ensure(holds: bool, rule: Rule) -> Result<(), Rule> {
    if holds { Ok(()) } else { Err(rule) }
}

/// The rules about one assignment by itself, but that it may have as many replicas as before.
fn shape(
    definition: &TableDefinition,
    before: &Assignment,
    after: &Assignment,
) -> Result<(), Rule> {
    let replicas: BTreeSet<_> = after.replicas.iter().collect();
    let in_sync: BTreeSet<_> = after.in_sync.iter().collect();
    let no_duplicates =
        replicas.len() == after.replicas.len() && in_sync.len() == after.in_sync.len();
    ensure(no_duplicates, Rule::NoDuplicateReplicas)?;
    // Each replica may be in the middle of being replaced by a new one, hence twice as many; and
    // the table may have had more before it was altered.
    let count_max = (definition.replicas as usize * 2).max(before.replicas.len());
    ensure(
        (1..=count_max).contains(&replicas.len()),
        Rule::ReplicaCount,
    )?;
    ensure(in_sync.is_subset(&replicas), Rule::InSyncWithinReplicas)?;
    let primary = after.primary_member();
    let alone = replicas.len() == 1 && in_sync == replicas;
    let copies = definition.data_path().has_copies();
    ensure(copies || alone, Rule::OwnerAlone)?;
    ensure(
        primary.is_none_or(|storage| in_sync.contains(&storage)),
        Rule::PrimaryInSync,
    )?;
    let may_have_primary = definition.data_path().has_offices();
    ensure(may_have_primary || primary.is_none(), Rule::NoOffice)
}

fn min_in_sync(
    definition: &TableDefinition,
    before: &Assignment,
    after: &Assignment,
) -> Result<(), Rule> {
    let min = before.in_sync.len().min(definition.min_in_sync as usize);
    ensure(after.in_sync.len() >= min, Rule::MinInSyncKept)
}

/// Replicas that stay count for the spread over zones: those that live and do not drain.
pub(crate) fn zones(
    map: &ClusterMap,
    definition: &TableDefinition,
    before: &Assignment,
    after: &Assignment,
    added: &[StorageId],
) -> Result<(), Rule> {
    let stays = |s: &&StorageId| {
        map.members
            .get(s)
            .is_some_and(|m| m.is_live() && m.state != MemberState::Draining)
    };
    let zone = |s: &StorageId| map.members.get(s).map(Member::failure_domain);
    let distinct = |replicas: &[StorageId]| {
        replicas
            .iter()
            .filter(stays)
            .filter_map(zone)
            .collect::<BTreeSet<_>>()
            .len()
    };
    let available = map
        .members
        .values()
        .filter(|m| m.is_placeable() || after.replicas.iter().any(|s| *s == m.storage && stays(&s)))
        .map(Member::failure_domain)
        .collect::<BTreeSet<_>>()
        .len();
    let staying = after.replicas.iter().filter(stays).count();
    let wanted = staying.min(definition.replicas as usize);
    let (zones_before, zones_after) = (distinct(&before.replicas), distinct(&after.replicas));
    if available < wanted || zones_after >= wanted {
        return Ok(());
    }
    let shares_zone = |a: &&StorageId| {
        after
            .replicas
            .iter()
            .filter(stays)
            .any(|s| s != *a && zone(s) == zone(a))
    };
    let spoilt = added.iter().any(|a| shares_zone(&a)) || zones_after < zones_before;
    ensure(!spoilt, Rule::DistinctZones)
}
