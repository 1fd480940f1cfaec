//! The default strategy: one primary per partition, in-sync backups that can take over.

use super::{DataPath, Happening, NewTable, Reaction, Reports, Strategy};
use crate::plan::{Seat, fill_seats, first_assignments};
use crate::{
    Assignment, ClusterMap, Member, MemberState, NextAssignment, PartitionId, StorageId, Table,
    TableDefinition,
};

/// One primary, in-sync backups; a promotion always comes from the in-sync set.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrimaryBackup;

impl Strategy for PrimaryBackup {
    fn data_path(&self) -> DataPath {
        DataPath::PrimaryBackup
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        first_assignments(map, table)
    }

    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        let mut seats = Vec::new();
        let mut moves = Vec::new();
        for (number, current) in (0u32..).zip(&table.partitions) {
            let partition = PartitionId::new(table.id, number);
            let Some(step) = step(map, &table.definition, partition, current, happening) else {
                continue;
            };
            let candidates = step.candidates.unwrap_or_default();
            seats.push(Seat {
                partition,
                candidates,
                holder: None,
            });
            moves.push((partition, current, step.in_sync));
        }
        // A partition whose primary stays has no candidates; `fill_seats` leaves it alone.
        seats.retain(|seat| !seat.candidates.is_empty());
        let chosen = fill_seats(map, table.id, &seats, usize::MAX);
        moves
            .into_iter()
            .map(|(partition, current, in_sync)| {
                let new = chosen.get(&partition).copied();
                let primary = new.or_else(|| current.primary_member());
                let next = NextAssignment {
                    primary,
                    replicas: current.replicas.clone(),
                    in_sync,
                };
                Reaction {
                    partition,
                    next,
                    reason: reason(happening, new.is_some()),
                }
            })
            .filter(|reaction| changes(map, table, reaction))
            .collect()
    }
}

/// What one partition needs.
struct Step {
    /// Who may take the office; none if it is not to move.
    candidates: Option<Vec<StorageId>>,
    in_sync: Vec<StorageId>,
}

fn step(
    map: &ClusterMap,
    definition: &TableDefinition,
    partition: PartitionId,
    current: &Assignment,
    happening: &Happening<'_>,
) -> Option<Step> {
    let primary = current.primary_member();
    let others = |s: &StorageId| Some(*s) != primary && map.is_live(*s);
    let without_dead = || shrink(definition, current, |s| !map.is_live(s));
    // A new primary waits for its whole in-sync set before it serves: for none that is dead.
    let live = || kept(current, |s| map.is_live(s));
    match happening {
        Happening::MembersDown(dead) => {
            if !dead
                .iter()
                .any(|s| current.in_sync.contains(s) || primary == Some(*s))
            {
                return None;
            }
            let deposed = primary.is_some_and(|p| !map.is_live(p));
            let candidates = deposed.then(|| best(map, &current.in_sync, others));
            // If nobody can take over, all who could come back and do so stay.
            let hopeless = candidates.as_ref().is_some_and(Vec::is_empty);
            (!hopeless).then(|| Step {
                candidates,
                in_sync: if deposed { live() } else { without_dead() },
            })
        }
        Happening::Restarted(storage) => {
            if primary != Some(*storage) || map.is_filled(current.primary) || !map.is_live(*storage)
            {
                return None;
            }
            let mut candidates = best(map, &current.in_sync, others);
            if candidates.is_empty() {
                candidates.push(*storage);
            }
            Some(Step {
                candidates: Some(candidates),
                in_sync: current.in_sync.clone(),
            })
        }
        Happening::OfficesOff { member, leaves } => {
            offices_off(map, definition, current, *member, *leaves)
        }
        Happening::ReplicasStopped(stopped) => {
            let stopped = |s: StorageId| stopped.contains(&(partition, s));
            without_stopped(map, current, stopped)
        }
        Happening::ColdStart(reports) => {
            if map.is_filled(current.primary) {
                return None;
            }
            let candidates = furthest(map, partition, current, reports);
            let hopeless = candidates.is_empty();
            (!hopeless).then(|| Step {
                candidates: Some(candidates),
                in_sync: live(),
            })
        }
    }
}

/// Those that stopped leave the in-sync set, whatever the minimum: they have nothing to offer, and
/// are built anew only outside of it. The office goes to one that did not stop; without any such
/// one the stopped primary keeps an office that it does not fill.
fn without_stopped(
    map: &ClusterMap,
    current: &Assignment,
    stopped: impl Fn(StorageId) -> bool,
) -> Option<Step> {
    if !current.in_sync.iter().any(|s| stopped(*s)) {
        return None;
    }
    let primary = current.primary_member();
    let candidates = primary
        .is_some_and(&stopped)
        .then(|| best(map, &current.in_sync, |s| map.is_live(*s) && !stopped(*s)));
    if candidates.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    // With the office the dead leave too, as when a primary dies.
    let moves = candidates.is_some();
    Some(Step {
        candidates,
        in_sync: kept(current, |s| !stopped(s) && (!moves || map.is_live(s))),
    })
}

/// Those of the in-sync set that stay, whatever the minimum.
fn kept(current: &Assignment, stays: impl Fn(StorageId) -> bool) -> Vec<StorageId> {
    let in_sync = current.in_sync.iter().copied();
    in_sync.filter(|storage| stays(*storage)).collect()
}

fn offices_off(
    map: &ClusterMap,
    definition: &TableDefinition,
    current: &Assignment,
    member: StorageId,
    leaves: bool,
) -> Option<Step> {
    if !current.in_sync.contains(&member) {
        return None;
    }
    let fit = |s: &StorageId| {
        let up = |m: &Member| m.state == MemberState::Up;
        *s != member && map.members.get(s).is_some_and(up)
    };
    let holds = current.primary_member() == Some(member);
    let candidates = holds.then(|| best(map, &current.in_sync, fit));
    // Without anybody else who could do it, it stays in office.
    let stays = candidates.as_ref().is_some_and(Vec::is_empty) || !leaves;
    let in_sync = if stays {
        current.in_sync.clone()
    } else {
        shrink(definition, current, |s| s == member)
    };
    Some(Step {
        candidates,
        in_sync,
    })
}

/// The in-sync set without those that are to go, as far as the table's minimum allows; a deposed
/// primary goes first.
fn shrink(
    definition: &TableDefinition,
    current: &Assignment,
    goes: impl Fn(StorageId) -> bool,
) -> Vec<StorageId> {
    let mut in_sync = current.in_sync.clone();
    let mut victims: Vec<_> = in_sync.iter().copied().filter(|s| goes(*s)).collect();
    victims.sort_by_key(|s| (current.primary_member() != Some(*s), *s));
    for victim in victims {
        if in_sync.len() > definition.min_in_sync as usize {
            in_sync.retain(|s| *s != victim);
        }
    }
    in_sync
}

/// Those of the in-sync set that may take an office: the ones that work well, or else any.
fn best(
    map: &ClusterMap,
    in_sync: &[StorageId],
    fit: impl Fn(&StorageId) -> bool,
) -> Vec<StorageId> {
    let fit: Vec<_> = in_sync.iter().copied().filter(fit).collect();
    let well = |s: &StorageId| map.members.get(s).is_some_and(Member::is_placeable);
    let well: Vec<_> = fit.iter().copied().filter(well).collect();
    if well.is_empty() { fit } else { well }
}

/// The live members of the in-sync set whose log goes furthest among those that reported.
fn furthest(
    map: &ClusterMap,
    partition: PartitionId,
    current: &Assignment,
    reports: &Reports,
) -> Vec<StorageId> {
    let end = |s: &StorageId| {
        let report = reports.get(s)?.iter().filter(|(p, _, _)| *p == partition);
        report.map(|(_, epoch, index)| (*epoch, *index)).max()
    };
    let ends: Vec<_> = current
        .in_sync
        .iter()
        .filter(|s| map.is_live(**s))
        .filter_map(|s| Some((*s, end(s)?)))
        .collect();
    let furthest = ends.iter().map(|(_, end)| *end).max();
    ends.into_iter()
        .filter(|(_, end)| Some(*end) == furthest)
        .map(|(s, _)| s)
        .collect()
}

/// Whether a reaction is one: nothing to do for a partition that nobody can take over.
fn changes(map: &ClusterMap, table: &Table, reaction: &Reaction) -> bool {
    let Some(current) = table.partitions.get(reaction.partition.partition as usize) else {
        return false;
    };
    let elected = reaction.next.primary != current.primary_member()
        || (map.is_live_in_another_start(current.primary) && reaction.next.primary.is_some());
    elected || reaction.next.in_sync != current.in_sync
}

fn reason(happening: &Happening<'_>, moved: bool) -> String {
    let reason = match (happening, moved) {
        (Happening::MembersDown(_), true) => "an in-sync backup takes over from a dead primary",
        (Happening::MembersDown(_), false) => "a dead backup leaves the in-sync set",
        (Happening::Restarted(_), _) => "the primary has restarted and lost its office",
        (Happening::OfficesOff { .. }, true) => "the office moves to an in-sync member",
        (Happening::OfficesOff { .. }, false) => "a backup that does not work is not waited for",
        (Happening::ReplicasStopped(_), true) => "the office moves away from a stopped replica",
        (Happening::ReplicasStopped(_), false) => "a stopped replica is not waited for",
        (Happening::ColdStart(_), _) => "of the in-sync members that answered, one goes furthest",
    };
    reason.to_owned()
}
