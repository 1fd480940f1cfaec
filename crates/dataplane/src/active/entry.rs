//! What an active replica persists, as entries of its log in the journal: byte by byte, and back
//! among the rows. The kinds are beyond those of other partitions, so that no log is taken for
//! one of another data path. Knows nothing of when an entry is written.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tablestore_placement::PartitionId;
use tablestore_replication::active::replica::Record;
use tablestore_replication::active::{ReplicaMeta, codec, wire};
use tablestore_replication::codec::DecodeError;
use tablestore_store::engine::EngineError;
use tablestore_store::{Engine, RowWrite};

const KIND_ROW: u8 = 64;
const KIND_REMOVED: u8 = 65;
const KIND_META: u8 = 66;
const KEY_LENGTH_BYTES: usize = 4;

/// The side record with what a replica keeps beside its rows, as of the checkpoint.
pub(super) const META_NAME: &[u8] = b"active/meta";

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    /// The row of this key is these bytes now; none if it is gone.
    Row(Bytes, Option<Bytes>),
    Meta(ReplicaMeta),
}

/// Why entries of an active log do not become rows. The replica stops.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("entry {0} is of no kind that an active log has")]
    Kind(u64),
    #[error("entry {0} ends early")]
    Short(u64),
    #[error("entry {0} cannot be read")]
    Decode(u64, #[source] DecodeError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Whether an entry of a log is one of an active partition.
pub(crate) fn is_active_entry(data: &[u8]) -> bool {
    matches!(data.first(), Some(&(KIND_ROW | KIND_REMOVED | KIND_META)))
}

/// The entry of a record, and what it says.
pub(super) fn encode(record: Record) -> (Bytes, Stored) {
    let mut data = BytesMut::new();
    match record {
        Record::Row { key, row } => {
            data.put_u8(if row.is_empty() {
                KIND_REMOVED
            } else {
                KIND_ROW
            });
            let length = u32::try_from(key.len()).expect("keys are far shorter than 4 GiB");
            data.put_u32_le(length);
            data.put_slice(&key);
            let start = data.len();
            if !row.is_empty() {
                codec::encode_row(&row, &mut data);
            }
            let data = data.freeze();
            let value = (!row.is_empty()).then(|| data.slice(start..));
            (data, Stored::Row(key, value))
        }
        Record::Meta(meta) => {
            data.put_u8(KIND_META);
            wire::encode_meta(&meta, &mut data);
            (data.freeze(), Stored::Meta(meta))
        }
    }
}

fn decode(index: u64, mut data: Bytes) -> Result<Stored, EntryError> {
    if data.is_empty() {
        return Err(EntryError::Short(index));
    }
    match data.get_u8() {
        kind @ (KIND_ROW | KIND_REMOVED) => {
            if data.len() < KEY_LENGTH_BYTES {
                return Err(EntryError::Short(index));
            }
            let length = data.get_u32_le() as usize;
            if data.len() < length {
                return Err(EntryError::Short(index));
            }
            let key = data.split_to(length);
            Ok(Stored::Row(key, (kind == KIND_ROW).then_some(data)))
        }
        KIND_META => wire::decode_meta(data)
            .map(Stored::Meta)
            .map_err(|error| EntryError::Decode(index, error)),
        _ => Err(EntryError::Kind(index)),
    }
}

/// Applies what entries say, in order and up to an index, as one; answers the last meta in them.
pub(super) fn apply<E: Engine>(
    engine: &E,
    partition: u64,
    index: u64,
    stored: Vec<Stored>,
) -> Result<Option<ReplicaMeta>, EngineError> {
    let mut meta = None;
    let mut rows = Vec::with_capacity(stored.len());
    for one in stored {
        match one {
            Stored::Row(key, value) => rows.push((key, value)),
            Stored::Meta(newest) => meta = Some(newest),
        }
    }
    let writes: Vec<RowWrite<'_>> = rows
        .iter()
        .map(|(key, value)| RowWrite {
            key,
            value: value.as_deref(),
        })
        .collect();
    engine.apply(partition, index, &writes)?;
    Ok(meta)
}

/// Applies entries of the log of an active partition; answers the last meta in them.
///
/// # Errors
/// If one cannot be read, or the engine fails.
pub(crate) fn apply_active_entries<E: Engine>(
    engine: &E,
    partition: PartitionId,
    entries: impl IntoIterator<Item = (u64, Bytes)>,
) -> Result<Option<ReplicaMeta>, EntryError> {
    let mut last = None;
    let mut stored = Vec::new();
    for (index, data) in entries {
        stored.push(decode(index, data)?);
        last = Some(index);
    }
    match last {
        Some(index) => Ok(apply(engine, partition.to_u64(), index, stored)?),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use tablestore_placement::StorageId;
    use tablestore_replication::active::{Row, Version};
    use tablestore_store::testing::golden::{Golden, hex};

    use super::*;

    fn records() -> [(&'static str, Record); 3] {
        let key = Bytes::from_static(b"\x02key");
        let version = Version {
            wall_ms: 9,
            counter: 1,
            node: StorageId(7),
        };
        let row = Row::put(version, [("a".into(), "1".into())]);
        let of = |row| Record::Row {
            key: key.clone(),
            row,
        };
        [
            ("row", of(row)),
            ("removed", of(Row::default())),
            ("meta", Record::Meta(ReplicaMeta::default())),
        ]
    }

    #[test]
    fn entries_have_the_bytes_of_their_format_and_come_back() {
        let mut lines = String::new();
        for (name, record) in records() {
            let (data, stored) = encode(record);
            assert!(is_active_entry(&data));
            assert_eq!(decode(1, data.clone()).expect("it is whole"), stored);
            lines += &format!("{name}: {}\n", hex(&data));
        }
        let golden = Golden {
            format: "entries of active partitions",
            number: "the format of the journal",
            file: "active-entries-journal-1.txt",
            text: include_str!("../../testdata/active-entries-journal-1.txt"),
        };
        golden.check(&lines);
    }

    #[test]
    fn an_entry_that_is_none_of_an_active_log_is_refused() {
        for data in [
            &b""[..],
            b"\x00",
            b"\x40\x01",
            b"\x40\x05\x00\x00\x00ab",
            b"\x42\xff",
        ] {
            assert!(decode(1, Bytes::from_static(data)).is_err(), "{data:?}");
        }
    }
}
