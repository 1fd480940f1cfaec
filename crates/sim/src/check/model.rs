//! What a mutation does to one row, as naively as it can be said: the oracle for the store. Knows
//! nothing of engines, of logs and of who asked.

use tablestore_store::item::codec;
use tablestore_store::limits::ITEM_BYTES_MAX;
use tablestore_store::{Condition, Effect, Item, Mutation, Value};

/// A row. Its version is the index of the entry that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) version: u64,
    pub(crate) item: Item,
}

impl Row {
    /// The row as it is stored and answered.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode_row(self.version, &self.item, &mut bytes);
        bytes
    }
}

/// What came of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What it did.
    pub(crate) effect: Effect,
    /// The version in the answer.
    pub(crate) version: u64,
    /// The row afterwards, if it was changed: `Some(None)` is a deletion.
    pub(crate) change: Option<Option<Row>>,
}

/// Applies the mutation at `index` to the row.
pub(crate) fn step(row: Option<&Row>, mutation: &Mutation, index: u64) -> Step {
    let version = row.map_or(0, |row| row.version);
    let unchanged = |effect| Step {
        effect,
        version,
        change: None,
    };
    if !holds(condition_of(mutation), row.map(|row| row.version)) {
        return unchanged(Effect::ConditionFailed);
    }
    let item = match (changed(row.map(|row| &row.item), mutation), row) {
        (Changed::Item(item), _) => item,
        (Changed::TooLarge, _) => return unchanged(Effect::TooLarge),
        (Changed::Gone, None) => return unchanged(Effect::Absent),
        (Changed::Gone, Some(_)) => {
            return Step {
                effect: Effect::Done,
                version: 0,
                change: Some(None),
            };
        }
    };
    Step {
        effect: Effect::Done,
        version: index,
        change: Some(Some(Row {
            version: index,
            item,
        })),
    }
}

/// What a mutation whose condition holds makes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// These attributes.
    Item(Item),
    /// No row.
    Gone,
    /// What it was: it would be too large.
    TooLarge,
}

/// What a mutation whose condition holds makes of a row.
pub(crate) fn changed(before: Option<&Item>, mutation: &Mutation) -> Changed {
    match mutation {
        Mutation::Put { item, .. } => Changed::Item(item.clone()),
        Mutation::Delete { .. } => Changed::Gone,
        Mutation::Patch {
            key, set, remove, ..
        } => {
            let mut item = Item::new();
            for (name, value) in before.into_iter().flatten() {
                if !remove.contains(name) {
                    item.insert(name.clone(), value.clone());
                }
            }
            for (name, value) in set {
                item.insert(name.clone(), value.clone());
            }
            if key.len() + map_bytes(&item, 0) > ITEM_BYTES_MAX {
                return Changed::TooLarge;
            }
            Changed::Item(item)
        }
    }
}

/// What must hold for the mutation to take effect.
pub(crate) fn condition_of(mutation: &Mutation) -> Condition {
    match mutation {
        Mutation::Put { condition, .. }
        | Mutation::Patch { condition, .. }
        | Mutation::Delete { condition, .. } => *condition,
    }
}

/// Whether it holds of a row with this version, or of none.
fn holds(condition: Condition, version: Option<u64>) -> bool {
    match (condition, version) {
        (Condition::None, _) => true,
        (Condition::IfVersion(wanted), Some(version)) => wanted == version,
        (Condition::IfVersion(_), None) => false,
        (Condition::IfAbsent, version) => version.is_none(),
        (Condition::IfPresent, version) => version.is_some(),
    }
}

/// Names and values, and so many bytes more for each.
fn map_bytes(map: &Item, each: usize) -> usize {
    let mut bytes = 0;
    for (name, value) in map {
        bytes += each + name.len() + value_bytes(value);
    }
    bytes
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.size_bytes(),
        Value::String(text) => text.len(),
        Value::Binary(bytes) => bytes.len(),
        Value::List(list) => 3 + list.len() + list.iter().map(value_bytes).sum::<usize>(),
        Value::Map(map) => 3 + map_bytes(map, 1),
    }
}
