//! Tables become others while they are served. Knows nothing about how replicas come and go: the
//! planners do that, from the map that says how many there should be.

use std::collections::BTreeSet;

use crate::{
    Alteration, Applied, Assignment, ClusterMap, Decision, DecisionKind, PartitionChange,
    PartitionId, Refused, StorageId, TableDefinition, validate_definition,
};

impl ClusterMap {
    pub(super) fn apply_alter_table(
        &mut self,
        name: &str,
        alteration: Alteration,
        leaving: &[(u32, Vec<StorageId>)],
        at_ms: u64,
    ) -> Result<Applied, Refused> {
        let Some(table) = self.table_named(name) else {
            return Err(Refused::UnknownTable {
                name: name.to_owned(),
            });
        };
        let (id, before) = (table.id, &table.definition);
        let definition = altered(before, alteration)?;
        if definition == *before {
            return Ok(Applied {
                table: Some(id),
                ..self.unchanged()
            });
        }
        let mut decision = Decision::new(DecisionKind::TableAltered, at_ms).because(format!(
            "table {name}: replicas {} to {}, min_in_sync {} to {}",
            before.replicas, definition.replicas, before.min_in_sync, definition.min_in_sync
        ));
        let mut partitions = table.partitions.clone();
        for (number, current) in (0u32..).zip(&mut partitions) {
            let order = leaving.iter().find(|(of, _)| *of == number);
            let order = order.map_or(&[][..], |(_, order)| order);
            let after = reassigned(before, &definition, current, order);
            // What begins a new epoch is worth a note; a version alone is not.
            if after.epoch > current.epoch {
                decision.note(PartitionChange {
                    partition: PartitionId::new(id, number),
                    before: Some(current.clone()),
                    after: after.clone(),
                });
            }
            *current = after;
        }
        if let Some(table) = self.tables.get_mut(&id) {
            (table.definition, table.partitions) = (definition, partitions);
        }
        Ok(Applied {
            table: Some(id),
            ..self.record(decision)
        })
    }
}

/// The definition with what becomes different, if the strategy has such a setting and the whole
/// is one that a table may be created with.
fn altered(before: &TableDefinition, alteration: Alteration) -> Result<TableDefinition, Refused> {
    let path = before.data_path();
    let refused = [
        ("replicas", alteration.replicas, path.has_copies()),
        (
            "min_in_sync",
            alteration.min_in_sync,
            path.has_copies() && path.has_offices(),
        ),
    ];
    for (field, value, has_it) in refused {
        if value.is_some() && !has_it {
            let what = format!(
                "another {field} of a table of the strategy {}",
                before.strategy
            );
            return Err(Refused::Unsupported { what });
        }
    }
    let replicas = alteration.replicas.unwrap_or(before.replicas);
    let min_in_sync = match alteration.min_in_sync {
        Some(min_in_sync) => min_in_sync,
        None if path.has_offices() => before.min_in_sync,
        // A majority, as it is created with.
        None => replicas / 2 + 1,
    };
    let definition = TableDefinition {
        replicas,
        min_in_sync,
        ..before.clone()
    };
    validate_definition(&definition)?;
    Ok(definition)
}

/// An assignment under the new definition.
///
/// Where a primary must go by a greater minimum it begins a new epoch: an answer that it gives in
/// that epoch proves that it does, and until then its backups may refuse it. Where the set that an
/// active table goes towards would be another one, or still too large, what is under way is given
/// up, in a new epoch as well: in one epoch all nodes must mean the same two sets.
fn reassigned(
    before: &TableDefinition,
    after: &TableDefinition,
    of: &Assignment,
    order: &[StorageId],
) -> Assignment {
    let mut next = of.clone();
    if !after.data_path().has_offices() {
        let then = of.replicas_after(after.replicas);
        let in_vain = of.joiner().is_some()
            && then
                .as_ref()
                .is_some_and(|then| then.len() > after.replicas as usize);
        if in_vain || of.replicas_after(before.replicas) != then {
            next.replicas.retain(|storage| of.in_sync.contains(storage));
            let set = |all: &[StorageId]| all.iter().copied().collect::<BTreeSet<_>>();
            if order.len() == next.replicas.len() && set(order) == set(&next.replicas) {
                next.replicas = order.to_vec();
            }
            (next.epoch, next.version) = (of.epoch.next(), of.version.next());
        }
        return next;
    }
    if after.min_in_sync > before.min_in_sync {
        next.epoch = of.epoch.next();
    }
    if after.min_in_sync != before.min_in_sync {
        next.version = of.version.next();
    }
    next
}
