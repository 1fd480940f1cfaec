//! Where rows are: the partition of a key, the stored form of a key, the keys that a scan covers.
//! Knows nothing of who serves a partition.

use bytes::Bytes;
use tablestore_placement::PartitionId;
use tablestore_ring::{PartitionTable, PointHash, Xxh3};
use tablestore_store::{KeyValue, key};

use crate::api::{RowKey, ScanRequest, TableTarget};

impl TableTarget {
    pub(super) fn partition_of(self, key: &KeyValue) -> PartitionId {
        let point = Xxh3.point(&key::partition_key_bytes(key));
        let partition = PartitionTable::new(self.partitions)
            .expect("the map holds only powers of two")
            .partition_of(point);
        PartitionId {
            table: self.id,
            partition,
        }
    }
}

/// First key and the one behind the last key of a scan, encoded.
pub(super) fn bounds(scan: &ScanRequest, after: Option<Vec<u8>>) -> (Bytes, Bytes) {
    let Some(partition_key) = &scan.partition_key else {
        // The least key above `after` is `after` with a zero byte behind it.
        let from = after.map_or_else(Vec::new, |mut key| {
            key.push(0);
            key
        });
        return (from.into(), Bytes::new());
    };
    let mut prefix = Vec::new();
    key::encode_partition_key(partition_key, &mut prefix);
    let mut from = match &scan.from {
        Some(sort) => key::encode_row_key(partition_key, Some(sort)),
        None => prefix.clone(),
    };
    let mut until = match &scan.to {
        Some(sort) => {
            let mut last = key::encode_row_key(partition_key, Some(sort));
            last.push(0);
            last
        }
        None => key::prefix_end(&prefix).unwrap_or_default(),
    };
    if let Some(mut after) = after {
        if scan.reverse {
            until = after;
        } else {
            after.push(0);
            from = after;
        }
    }
    (from.into(), until.into())
}

/// The key of a row as it is stored.
pub(super) fn encoded(row: &RowKey) -> Vec<u8> {
    key::encode_row_key(&row.partition, row.sort.as_ref())
}
