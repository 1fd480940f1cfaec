//! What a partition's tree holds at the moment, for reads and writes that do not wait.
//!
//! `lsm-tree` syncs its manifest while it holds the lock that its own reads and writes take.
//! A view is taken after each change of the tree and used instead: it holds the memtables and
//! table files, so it stays valid whatever the tree does meanwhile. Knows nothing of files.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use lsm_tree::table::filter::standard_bloom::Builder as Bloom;
use lsm_tree::{AbstractTree, InternalValue, Memtable, Slice, Tree};

/// Bounds of keys.
pub(super) type Range = (Bound<Bytes>, Bound<Bytes>);
/// Rows in ascending order.
pub(super) type BoxedRows =
    Box<dyn DoubleEndedIterator<Item = lsm_tree::Result<(Bytes, Bytes)>> + Send>;

/// Finds the newest write of a key in the tables.
type Lookup = dyn Fn(&[u8]) -> lsm_tree::Result<Option<InternalValue>> + Send + Sync;

/// Above all sequence numbers.
const SEQUENCE_LATEST: u64 = 1 << 62;

/// Memtables and tables, newest first. The types that `lsm-tree` does not export are held by
/// the closures.
pub(super) struct View {
    pub(super) active: Arc<Memtable>,
    /// Newest first.
    sealed: Vec<Arc<Memtable>>,
    tables: Box<Lookup>,
    range: Box<dyn Fn(Range, u64) -> BoxedRows + Send + Sync>,
}

impl View {
    /// The tree as it is now; `sealed` are the memtables that are not yet flushed.
    pub(super) fn of(tree: &Tree, sealed: Vec<Arc<Memtable>>) -> Self {
        let whole = tree.get_version_history_lock().latest_version();
        let active = Arc::clone(&whole.active_memtable);
        let version = tree.current_version();
        let tables = Box::new(move |key: &[u8]| {
            let hash = Bloom::get_hash(key);
            let runs = version.iter_levels().flat_map(|level| level.iter());
            for table in runs.filter_map(|run| run.get_for_key(key)) {
                if let Some(found) = table.get(key, SEQUENCE_LATEST, hash)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        });
        let range = Box::new(move |range: Range, sequence: u64| {
            boxed(Tree::create_internal_range(
                whole.clone(),
                &range,
                sequence,
                None,
            ))
        });
        Self {
            active,
            sealed,
            tables,
            range,
        }
    }

    /// A partition without files: nothing but memtables. `pattern` is an empty tree.
    pub(super) fn without_files(
        pattern: &Tree,
        active: Arc<Memtable>,
        sealed: Option<Arc<Memtable>>,
    ) -> Self {
        let mut whole = pattern.get_version_history_lock().latest_version();
        whole.active_memtable = Arc::clone(&active);
        let older = sealed.clone();
        let range = Box::new(move |range: Range, sequence: u64| {
            let older = older.clone().map(|older| (older, sequence));
            boxed(Tree::create_internal_range(
                whole.clone(),
                &range,
                sequence,
                older,
            ))
        });
        Self {
            active,
            sealed: sealed.into_iter().collect(),
            tables: Box::new(|_| Ok(None)),
            range,
        }
    }

    /// The latest value of a key.
    pub(super) fn get(&self, key: &[u8]) -> lsm_tree::Result<Option<Bytes>> {
        let memtables = std::iter::once(&self.active).chain(&self.sealed);
        let found = memtables
            .filter_map(|memtable| memtable.get(key, SEQUENCE_LATEST))
            .next();
        let found = match found {
            Some(found) => Some(found),
            None => (self.tables)(key)?,
        };
        Ok(found
            .filter(|found| !found.is_tombstone())
            .map(|found| copied(&found.value)))
    }

    /// The rows of a range as they were before the sequence number.
    pub(super) fn range(&self, range: Range, sequence: u64) -> BoxedRows {
        (self.range)(range, sequence)
    }

    /// The memtables that are to be sealed next, with the present one.
    pub(super) fn sealed_with_active(&self) -> Vec<Arc<Memtable>> {
        let active = std::iter::once(&self.active);
        active.chain(&self.sealed).map(Arc::clone).collect()
    }

    pub(super) fn sealed(&self) -> &[Arc<Memtable>] {
        &self.sealed
    }

    /// The bytes of rows that are in memory alone.
    pub(super) fn unflushed_bytes(&self) -> u64 {
        self.active.size()
            + self
                .sealed
                .iter()
                .map(|memtable| memtable.size())
                .sum::<u64>()
    }
}

fn boxed(
    rows: impl DoubleEndedIterator<Item = lsm_tree::Result<InternalValue>> + Send + 'static,
) -> BoxedRows {
    Box::new(rows.map(|row| {
        let row = row?;
        Ok((copied(&row.key.user_key), copied(&row.value)))
    }))
}

fn copied(slice: &Slice) -> Bytes {
    Bytes::copy_from_slice(slice)
}
