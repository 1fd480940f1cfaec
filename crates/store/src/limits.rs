//! The limits of items and keys, in one place. Knows nothing of who enforces them.

pub use tablestore_item::DEPTH_MAX;

use crate::item::{Item, Value};

/// The greatest size of an item (`item_bytes` of its attributes plus its key), as in DynamoDB.
pub const ITEM_BYTES_MAX: usize = 400 * 1024;
/// The greatest size of a partition key value.
pub const PARTITION_KEY_BYTES_MAX: usize = 2048;
/// The greatest size of a sort key value.
pub const SORT_KEY_BYTES_MAX: usize = 1024;

/// What each list, map and element in one costs beyond its content, as in DynamoDB.
const CONTAINER_BYTES: usize = 3;
const ELEMENT_BYTES: usize = 1;

/// The size of an item in DynamoDB's sense: names and values in UTF-8 or raw bytes, numbers
/// by their significant digits, three bytes for a container and one for each element.
#[must_use]
pub fn item_bytes(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_bytes(value))
        .sum()
}

/// The size of one value, see [`item_bytes`].
#[must_use]
pub fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.size_bytes(),
        Value::String(text) => text.len(),
        Value::Binary(bytes) => bytes.len(),
        Value::List(values) => {
            let content: usize = values.iter().map(|v| ELEMENT_BYTES + value_bytes(v)).sum();
            CONTAINER_BYTES + content
        }
        Value::Map(map) => {
            let content: usize = map
                .iter()
                .map(|(name, v)| ELEMENT_BYTES + name.len() + value_bytes(v))
                .sum();
            CONTAINER_BYTES + content
        }
    }
}
