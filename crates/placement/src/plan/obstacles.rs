//! Why what is left on a member that drains cannot move, and what would help.
//!
//! The counterpart of [`super::drain`]: that one moves what can be moved, this one tells people of
//! the rest. Knows nothing about time: a copy that is under way is no obstacle.

use std::collections::BTreeMap;
use std::fmt;

use super::surplus::without;
use crate::{Assignment, ClusterMap, Member, NextAssignment, Rule, StorageId, Table};
use crate::{MemberState, check};

/// What keeps partitions of one table on a member, as a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The table.
    pub table: String,
    /// How many of its partitions.
    pub partitions: u32,
    /// Why they stay.
    pub cause: Cause,
}

/// Why a replica or an office stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// There are fewer members that can hold a copy than the table wants copies.
    TooFewMembers {
        /// The copies that it wants.
        wanted: u32,
        /// The members that can hold one.
        able: u32,
    },
    /// Members that have another copy do not work.
    Away {
        /// Their names.
        members: Vec<String>,
    },
    /// No other member can take the office.
    NoOwner,
    /// Any step would break a rule.
    Forbidden(Rule),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table, partitions, ..
        } = self;
        write!(f, "{partitions} partitions of table {table} cannot move: ")?;
        match &self.cause {
            Cause::TooFewMembers { wanted, able } => write!(
                f,
                "it wants {wanted} copies and only {able} other nodes can hold them: add a node, \
                 or alter the table to fewer replicas"
            ),
            Cause::Away { members } => write!(
                f,
                "other copies are on {}, which cannot take part: start what is down, or wait until \
                 it is replaced",
                members.join(", ")
            ),
            Cause::NoOwner => write!(f, "no other node can take them: add a node"),
            Cause::Forbidden(Rule::DistinctZones) => write!(
                f,
                "their copies would be in fewer zones: add a node in the zone of this one, or in \
                 another"
            ),
            Cause::Forbidden(rule) => write!(f, "it would break the rule {rule}"),
        }
    }
}

/// What keeps a member that drains, or is to, from being empty at last; nothing if all that is left
/// on it can move. By table, the greatest part of each first.
#[must_use]
pub fn drain_obstacles(map: &ClusterMap, storage: StorageId) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for table in map.tables.values() {
        let mut causes: BTreeMap<Cause, u32> = BTreeMap::new();
        for current in &table.partitions {
            if current.involves(storage)
                && let Some(cause) = cause(map, table, current, storage)
            {
                *causes.entry(cause).or_default() += 1;
            }
        }
        let of_table = |(cause, partitions): (Cause, u32)| Obstacle {
            table: table.name.clone(),
            partitions,
            cause,
        };
        let mut found: Vec<Obstacle> = causes.into_iter().map(of_table).collect();
        found.sort_by_key(|obstacle| std::cmp::Reverse(obstacle.partitions));
        obstacles.extend(found);
    }
    obstacles
}

/// How many places a member has: as a replica, or in the in-sync set, and as primary or owner.
#[must_use]
pub fn places_left(map: &ClusterMap, storage: StorageId) -> (u32, u32) {
    let count = |holds: &dyn Fn(&Assignment) -> bool| {
        let held = map.partitions().filter(|(_, _, a)| holds(a)).count();
        u32::try_from(held).unwrap_or(u32::MAX)
    };
    let copies = count(&|a| a.replicas.contains(&storage) || a.in_sync.contains(&storage));
    (copies, count(&|a| a.primary_member() == Some(storage)))
}

fn cause(
    map: &ClusterMap,
    table: &Table,
    current: &Assignment,
    storage: StorageId,
) -> Option<Cause> {
    let others = || {
        let all = map.members.values();
        all.filter(|m| m.storage != storage && m.is_placeable())
    };
    let path = table.definition.data_path();
    if !path.has_copies() {
        return others().next().is_none().then_some(Cause::NoOwner);
    }
    let wanted = table.definition.replicas;
    let mut staying = current.replicas.clone();
    staying.retain(|s| *s != storage);
    if staying.len() < wanted as usize {
        let mut free = others().filter(|m| !current.replicas.contains(&m.storage));
        if free.next().is_none() {
            let able = others().filter(|m| !staying.contains(&m.storage)).count() + staying.len();
            let able = u32::try_from(able).unwrap_or(u32::MAX);
            return Some(Cause::TooFewMembers { wanted, able });
        }
        let bound = path
            .has_offices()
            .then(|| refused(map, table, current, storage));
        return bound.flatten();
    }
    let works = |m: &Member| matches!(m.state, MemberState::Up | MemberState::Draining);
    let away = staying.iter().filter(|s| {
        let member = map.members.get(s);
        !member.is_some_and(works) && !current.in_sync.contains(s)
    });
    let members: Vec<String> = away
        .map(|s| {
            map.members
                .get(s)
                .map_or_else(|| s.to_string(), |m| m.name.clone())
        })
        .collect();
    if staying.len() - members.len() < wanted as usize {
        return Some(Cause::Away { members });
    }
    if !path.has_offices() {
        return None;
    }
    let leaving = [storage].into();
    let next = without(map, &table.definition, current, &leaving)?;
    let step = check::next(map, &table.definition, current, &next, &[]);
    step.err().map(Cause::Forbidden)
}

/// The rule that keeps every other member from taking one more copy, if each is kept from it.
fn refused(
    map: &ClusterMap,
    table: &Table,
    current: &Assignment,
    storage: StorageId,
) -> Option<Cause> {
    let members = map.members.values();
    let free = members.filter(|m| {
        m.storage != storage && m.is_placeable() && !current.replicas.contains(&m.storage)
    });
    let mut last = None;
    for member in free {
        let mut next = NextAssignment::keep(current);
        next.replicas.push(member.storage);
        match check::next(map, &table.definition, current, &next, &[]) {
            Ok(_) => return None,
            Err(rule) => last = Some(rule),
        }
    }
    last.map(Cause::Forbidden)
}
