//! Keys of rows as they come in a path, a query or a body, by the definition of their table.
//!
//! Knows nothing of requests.

use tablestore_store::limits::{
    ITEM_BYTES_MAX, PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX, item_bytes,
};
use tablestore_store::{Item, KeyValue, Value, json, key};

use super::catalog::{KeyPart, TableEntry};
use super::problem::Problem;
use super::uri::decode_segment;
use crate::api::RowKey;

/// The key that a path names.
///
/// # Errors
/// Names the key attribute.
pub(crate) fn from_path(
    table: &TableEntry,
    partition: &str,
    sort: Option<&str>,
) -> Result<RowKey, Problem> {
    let partition = from_text(
        &table.partition_key,
        PARTITION_KEY_BYTES_MAX,
        &decode_segment(&table.partition_key.name, partition)?,
    )?;
    let sort = match (&table.sort_key, sort) {
        (Some(part), Some(text)) => Some(from_text(
            part,
            SORT_KEY_BYTES_MAX,
            &decode_segment(&part.name, text)?,
        )?),
        (Some(part), None) => {
            let expected = "the sort key as a further part of the path: rows/{pk}/{sk}";
            return Err(Problem::invalid(&*part.name, expected, "none"));
        }
        (None, Some(_)) => {
            let expected = "a path of one part, rows/{pk}: the table has no sort key";
            return Err(Problem::invalid("sort_key", expected, "a second part"));
        }
        (None, None) => None,
    };
    Ok(RowKey { partition, sort })
}

/// A partition key given as text.
///
/// # Errors
/// Names `field`.
pub(crate) fn partition_from_text(table: &TableEntry, text: &str) -> Result<KeyValue, Problem> {
    from_text(&table.partition_key, PARTITION_KEY_BYTES_MAX, text)
}

/// A sort key given as text.
///
/// # Errors
/// Names the attribute.
pub(crate) fn sort_from_text(part: &KeyPart, text: &str) -> Result<KeyValue, Problem> {
    from_text(part, SORT_KEY_BYTES_MAX, text)
}

fn from_text(part: &KeyPart, bytes_max: usize, text: &str) -> Result<KeyValue, Problem> {
    let value = KeyValue::from_text(part.key_type, text);
    fitting(
        part,
        bytes_max,
        value.map_err(|error| Problem::from(error.within(&part.name)))?,
    )
}

fn fitting(part: &KeyPart, bytes_max: usize, value: KeyValue) -> Result<KeyValue, Problem> {
    match value.size_bytes() {
        bytes if bytes > bytes_max => {
            Err(Problem::too_large(&*part.name, bytes_max, bytes, "bytes"))
        }
        _ => Ok(value),
    }
}

/// Takes the key attributes out of an item that must have them.
///
/// # Errors
/// Names the key attribute.
pub(crate) fn take(table: &TableEntry, item: &mut Item) -> Result<RowKey, Problem> {
    let partition = take_part(&table.partition_key, PARTITION_KEY_BYTES_MAX, item)?;
    let sort = match &table.sort_key {
        Some(part) => Some(take_part(part, SORT_KEY_BYTES_MAX, item)?),
        None => None,
    };
    Ok(RowKey { partition, sort })
}

fn take_part(part: &KeyPart, bytes_max: usize, item: &mut Item) -> Result<KeyValue, Problem> {
    let Some(value) = item.remove(&part.name) else {
        return Err(Problem::invalid(
            &*part.name,
            part.key_type.to_string(),
            "none",
        ));
    };
    fitting(part, bytes_max, from_value(part, value)?)
}

fn from_value(part: &KeyPart, value: Value) -> Result<KeyValue, Problem> {
    KeyValue::from_value(part.key_type, value).map_err(|error| error.within(&part.name).into())
}

/// Takes the key attributes out of an item whose key is known already: where the item has them
/// they must be the same.
///
/// # Errors
/// Names the key attribute.
pub(crate) fn strip(table: &TableEntry, key: &RowKey, item: &mut Item) -> Result<(), Problem> {
    let values = std::iter::once(&key.partition).chain(&key.sort);
    for (part, known) in table.key_parts().zip(values) {
        let Some(value) = item.remove(&part.name) else {
            continue;
        };
        if from_value(part, value)? != *known {
            let expected = "the key that is in the path, or no such attribute";
            return Err(Problem::invalid(&*part.name, expected, "another value"));
        }
    }
    Ok(())
}

/// The encoded key of a row whose attributes fit together with it.
///
/// # Errors
/// `too_large` about `item`.
pub(crate) fn encode_with(key: &RowKey, item: &Item) -> Result<Vec<u8>, Problem> {
    let encoded = encode(key);
    match encoded.len() + item_bytes(item) {
        bytes if bytes > ITEM_BYTES_MAX => {
            Err(Problem::too_large("item", ITEM_BYTES_MAX, bytes, "bytes"))
        }
        _ => Ok(encoded),
    }
}

/// The encoded key.
pub(crate) fn encode(key: &RowKey) -> Vec<u8> {
    key::encode_row_key(&key.partition, key.sort.as_ref())
}

/// Appends a row as one JSON object: first its keys, then its attributes by name.
pub(crate) fn write_row(table: &TableEntry, key: RowKey, item: &Item, out: &mut Vec<u8>) {
    out.push(b'{');
    let values = std::iter::once(key.partition).chain(key.sort);
    for (position, (part, value)) in table.key_parts().zip(values).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        json::write_string(&part.name, out);
        out.push(b':');
        json::write_value(&value.into_value(), out);
    }
    for (name, value) in item {
        out.push(b',');
        json::write_string(name, out);
        out.push(b':');
        json::write_value(value, out);
    }
    out.push(b'}');
}
