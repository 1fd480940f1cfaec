//! Opening an active replica: its rows, what its log has above them, and the order of its keys. A
//! job, as it reads all of them. Knows nothing of what a replica is for.

use std::ops::Bound;

use tablestore_placement::PartitionId;
use tablestore_replication::active::merkle::leaf_of;
use tablestore_replication::active::{ReplicaMeta, wire};
use tablestore_store::engine::Scan;
use tablestore_store::{Engine, JournalReader};

use super::entry::{META_NAME, apply_active_entries};
use super::rows::Order;

/// Bytes of entries that are read at once from the log.
const REPLAY_BYTES: usize = 4 << 20;
/// Rows, and bytes of them, that are read at once for their keys.
const PAGE_ROWS: usize = 4_096;
const PAGE_BYTES: usize = 4 << 20;

/// What an active replica starts from.
#[derive(Debug)]
pub(crate) struct OpenedActive {
    pub(super) meta: ReplicaMeta,
    pub(super) end: u64,
    pub(super) order: Order,
}

/// Opens a partition, applies what its log has above its rows, and reads its keys; nothing of that
/// if `is_empty`. Blocks.
///
/// # Errors
/// Says why the replica is not to be used; its files and log stay as they are.
pub(crate) fn open<E: Engine>(
    engine: &E,
    journal: &JournalReader,
    partition: PartitionId,
    is_empty: bool,
) -> Result<OpenedActive, String> {
    let number = partition.to_u64();
    engine.open_partition(number).map_err(told)?;
    let records = engine.side_records(number).map_err(told)?;
    let kept = records.into_iter().find(|(name, _)| name == META_NAME);
    let mut meta = match kept {
        Some((_, bytes)) => wire::decode_meta(bytes).map_err(told)?,
        None => ReplicaMeta::default(),
    };
    if is_empty {
        let (end, order) = (0, Order::new());
        return Ok(OpenedActive { meta, end, order });
    }
    let end = journal.end(number).unwrap_or(0);
    let first = journal.first_index(number).unwrap_or(end + 1);
    let applied = engine.applied(number);
    if applied > end || applied + 1 < first {
        return Err(format!(
            "the rows end with entry {applied}, but the journal has entries {first} to {end}: \
             what is between them is lost"
        ));
    }
    let mut from = applied + 1;
    while from <= end {
        let read = journal
            .read(number, from, end, REPLAY_BYTES)
            .map_err(told)?;
        let Some(last) = read.last() else { break };
        from = last.index + 1;
        let entries = read.into_iter().map(|one| (one.index, one.data));
        if let Some(newest) = apply_active_entries(engine, partition, entries).map_err(told)? {
            meta = newest;
        }
    }
    let order = order(engine, number)?;
    Ok(OpenedActive { meta, end, order })
}

fn order<E: Engine>(engine: &E, partition: u64) -> Result<Order, String> {
    let mut order = Order::new();
    let mut scan = Scan::all(PAGE_ROWS, PAGE_BYTES);
    loop {
        let page = engine.scan(partition, &scan).map_err(told)?;
        if let Some((key, _)) = page.rows.last() {
            scan.from = Bound::Excluded(key.clone());
        }
        // A copy: the engine's may keep a whole block in memory.
        let keys = page.rows.iter().map(|(key, _)| key.to_vec().into());
        order.extend(keys.map(|key: bytes::Bytes| (leaf_of(&key), key)));
        if !page.more {
            return Ok(order);
        }
    }
}

fn told(error: impl std::error::Error) -> String {
    let source = error.source();
    let source = source.map_or_else(String::new, |source| format!(": {source}"));
    format!("{error}{source}")
}
