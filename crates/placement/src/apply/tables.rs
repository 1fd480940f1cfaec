//! Tables are created and dropped.

use std::collections::BTreeSet;

use crate::{
    Applied, Assignment, ClusterMap, Decision, DecisionKind, Layout, PartitionChange, PartitionId,
    Refused, Rule, Table, TableDefinition, TableId, check,
};

/// How many tables a cluster may have: the map is copied as a whole at every change.
pub const TABLES_MAX: u32 = 1_000;

/// How many partitions one table may have.
pub const PARTITIONS_MAX: u32 = 1_024;

/// How many replicas a partition may have.
pub const REPLICAS_MAX: u32 = 7;

/// The shortest and longest name of a table.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=255;

/// The longest name of a key attribute.
const KEY_NAME_BYTES: std::ops::RangeInclusive<usize> = 1..=255;

impl ClusterMap {
    pub(super) fn apply_create_table(
        &mut self,
        name: &str,
        definition: &TableDefinition,
        assignments: &[Assignment],
        at_ms: u64,
    ) -> Result<Applied, Refused> {
        validate_name(name)?;
        validate_definition(definition)?;
        if let Some(table) = self.table_named(name) {
            let name = name.to_owned();
            return Err(if table.definition == *definition {
                Refused::TableExists {
                    name,
                    table: table.id,
                }
            } else {
                Refused::TableExistsDifferently { name }
            });
        }
        if self.tables.len() >= TABLES_MAX as usize {
            return Err(Refused::TooMany {
                what: "tables".to_owned(),
                limit: TABLES_MAX,
            });
        }
        let id = TableId(self.next_table);
        if assignments.len() != definition.partitions as usize {
            let partition = PartitionId::new(id, 0);
            return Err(Refused::RuleBroken {
                rule: Rule::ReplicaCount,
                partition,
            });
        }
        let reason = format!("table {name} with {} partitions", assignments.len());
        let mut decision = Decision::new(DecisionKind::TableCreated, at_ms).because(reason);
        for (number, assignment) in (0u32..).zip(assignments) {
            let partition = PartitionId::new(id, number);
            check::creation(self, definition, assignment)
                .map_err(|rule| Refused::RuleBroken { rule, partition })?;
            let after = assignment.clone();
            decision.note(PartitionChange {
                partition,
                before: None,
                after,
            });
        }
        self.next_table += 1;
        let table = Table {
            id,
            name: name.to_owned(),
            definition: definition.clone(),
            partitions: assignments.to_vec(),
            founded: None,
        };
        self.tables.insert(id, table);
        Ok(Applied {
            table: Some(id),
            ..self.record(decision)
        })
    }

    pub(super) fn apply_found_table(
        &mut self,
        id: TableId,
        storage: u64,
        at_ms: u64,
    ) -> Result<Applied, Refused> {
        let Some(table) = self.tables.get_mut(&id) else {
            return Err(Refused::UnknownTable {
                name: id.to_string(),
            });
        };
        if table.definition.data_path().has_copies() {
            return Err(unsupported(format!(
                "a shared storage of a table of the strategy {}",
                table.definition.strategy
            )));
        }
        if table.founded.is_some() {
            return Ok(Applied {
                table: Some(id),
                ..self.unchanged()
            });
        }
        table.founded = Some(storage);
        let reason = format!("table {} is in the shared storage", table.name);
        let decision = Decision::new(DecisionKind::TableAltered, at_ms).because(reason);
        Ok(Applied {
            table: Some(id),
            ..self.record(decision)
        })
    }

    pub(super) fn apply_drop_table(&mut self, name: &str, at_ms: u64) -> Result<Applied, Refused> {
        let Some(table) = self.table_named(name) else {
            return Err(Refused::UnknownTable {
                name: name.to_owned(),
            });
        };
        let id = table.id;
        self.tables.remove(&id);
        let decision = Decision::new(DecisionKind::TableDropped, at_ms);
        Ok(Applied {
            table: Some(id),
            ..self.record(decision.because(format!("table {name} was dropped")))
        })
    }
}

/// Whether a table may have this name.
pub fn validate_name(name: &str) -> Result<(), Refused> {
    validate_name_in("name", name)
}

fn validate_name_in(field: &str, name: &str) -> Result<(), Refused> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if NAME_BYTES.contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(invalid(
        field,
        "3 to 255 of the characters a-z, A-Z, 0-9, _, . and -",
    ))
}

/// Whether a table may be defined like this.
pub fn validate_definition(definition: &TableDefinition) -> Result<(), Refused> {
    // Which strategies there are beside the built-in ones a map does not know: whoever plans the
    // table does, before this is proposed.
    validate_name_in("strategy", &definition.strategy)?;
    if definition.layout != Layout::Row {
        return Err(unsupported("layout column".to_owned()));
    }
    if !definition.partitions.is_power_of_two() || definition.partitions > PARTITIONS_MAX {
        return Err(invalid("partitions", "a power of two from 1 to 1024"));
    }
    if !(1..=REPLICAS_MAX).contains(&definition.replicas) {
        return Err(invalid("replicas", "from 1 to 7"));
    }
    if !(1..=definition.replicas).contains(&definition.min_in_sync) {
        return Err(invalid("min_in_sync", "from 1 to the number of replicas"));
    }
    if !definition.data_path().has_copies() && definition.replicas != 1 {
        return Err(invalid("replicas", "1 where rows are on shared storage"));
    }
    let keys = [
        Some(&definition.partition_key),
        definition.sort_key.as_ref(),
    ];
    let names: Vec<_> = keys
        .into_iter()
        .flatten()
        .map(|key| key.name.as_str())
        .collect();
    if names
        .iter()
        .any(|name| !KEY_NAME_BYTES.contains(&name.len()))
    {
        return Err(invalid(
            "partition_key and sort_key",
            "named by 1 to 255 bytes",
        ));
    }
    if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
        return Err(invalid("sort_key", "named differently from partition_key"));
    }
    Ok(())
}

fn invalid(field: &str, expected: &str) -> Refused {
    Refused::Invalid {
        field: field.to_owned(),
        expected: expected.to_owned(),
    }
}

fn unsupported(what: String) -> Refused {
    Refused::Unsupported { what }
}
