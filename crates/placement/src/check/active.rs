//! How the replicas of an active table may change. Knows nothing about who is to be one.

use std::collections::BTreeSet;

use super::{Rule, ensure, shape, zones};
use crate::{Assignment, ClusterMap, StorageId, TableDefinition};

/// Whether the replicas of an active table become others.
pub(super) fn changes_active(
    definition: &TableDefinition,
    before: &Assignment,
    after: &Assignment,
) -> bool {
    let stays = before.replicas == after.replicas && before.in_sync == after.in_sync;
    !definition.data_path().has_offices() && !stays
}

/// Two majorities meet only if they are of the same replicas, or one of them is of both sets: so
/// a replica comes beside the others, or one that has come so and is not whole yet goes again. Or
/// another one is to leave where there are too many.
pub(super) fn active_step(
    map: &ClusterMap,
    definition: &TableDefinition,
    before: &Assignment,
    after: &Assignment,
) -> Result<(), Rule> {
    ensure(after.in_sync == before.in_sync, Rule::ActiveOneStep)?;
    let set = |all: &[StorageId]| all.iter().copied().collect::<BTreeSet<_>>();
    let (serving, all) = (set(&before.in_sync), set(&after.replicas));
    if before.joiner().is_some() {
        return ensure(all == serving, Rule::ActiveOneStep);
    }
    if all == serving {
        let surplus = after.replicas.len() > definition.replicas as usize;
        ensure(surplus, Rule::ActiveOneStep)?;
        let then = Assignment {
            replicas: after
                .replicas_after(definition.replicas)
                .unwrap_or_default(),
            ..after.clone()
        };
        return zones(map, definition, before, &then, &[]);
    }
    let comes_one = serving.is_subset(&all) && all.len() == serving.len() + 1;
    ensure(comes_one, Rule::ActiveOneStep)?;
    let Some(then) = after.replicas_after(definition.replicas) else {
        return Err(Rule::ActiveOneStep);
    };
    let joiner = after.joiner().filter(|joiner| then.contains(joiner));
    let fits = then.len() <= definition.replicas as usize;
    ensure(fits && joiner.is_some(), Rule::ActiveOneStep)?;
    let then = Assignment {
        replicas: then,
        ..after.clone()
    };
    zones(map, definition, before, &then, joiner.as_slice())
}

/// The assignment of an active table at the end of the change that is under way, as `member` says:
/// the replica that came, once it is whole; where none came one of those that stay, once they have
/// all rows of the one that leaves.
pub fn active_joined(
    definition: &TableDefinition,
    before: &Assignment,
    member: StorageId,
    replicas: &[StorageId],
) -> Result<Assignment, Rule> {
    let is_active = !definition.data_path().has_offices();
    let then = before.replicas_after(definition.replicas);
    let then = then.filter(|then| is_active && then == replicas);
    let may_say = |then: &Vec<StorageId>| match before.joiner() {
        Some(joiner) => joiner == member,
        None => then.contains(&member),
    };
    let replicas = then.filter(may_say).ok_or(Rule::ActiveOneStep)?;
    let after = Assignment {
        epoch: before.epoch.next(),
        version: before.version.next(),
        primary: None,
        in_sync: replicas.clone(),
        replicas,
    };
    shape(definition, before, &after)?;
    Ok(after)
}
