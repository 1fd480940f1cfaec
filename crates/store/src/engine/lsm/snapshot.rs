//! A partition as it was at one moment. Knows nothing of writing.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::live::{Live, SIDE_PREFIX};
use super::view::{Range, View};
use crate::engine::{
    EngineError, Page, ROW_KEY_FIRST_BYTE, Rows, Scan, Snapshot, is_empty_range, page,
};

pub(super) struct LsmSnapshot {
    pub(super) index: u64,
    pub(super) sequence: u64,
    pub(super) view: Arc<View>,
    /// Keeps the directory, since files are opened again when their descriptors were closed.
    pub(super) live: Arc<Live>,
}

impl Snapshot for LsmSnapshot {
    fn index(&self) -> u64 {
        self.index
    }

    fn scan(&self, scan: &Scan) -> Result<Page, EngineError> {
        let (from, to) = row_bounds(scan);
        if is_empty_range(&from, &to) {
            return Ok(Page::default());
        }
        let rows = self.view.range((from, to), self.sequence);
        let page = if scan.reverse {
            page(rows.rev(), scan)
        } else {
            page(rows, scan)
        };
        page.map_err(|error| self.live.error(error))
    }

    fn side_records(&self) -> Result<Rows, EngineError> {
        let from = Bound::Included(Bytes::from_static(&[SIDE_PREFIX]));
        let to = Bound::Excluded(Bytes::from_static(&[ROW_KEY_FIRST_BYTE]));
        self.view
            .range((from, to), self.sequence)
            .map(|record| record.map(|(name, value)| (name.slice(1..), value)))
            .collect::<lsm_tree::Result<Rows>>()
            .map_err(|error| self.live.error(error))
    }
}

impl std::fmt::Debug for LsmSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let partition = self.live.partition;
        f.debug_struct("LsmSnapshot")
            .field("partition", &partition)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// The bounds of a scan, without the engine's own keys.
pub(super) fn row_bounds(scan: &Scan) -> Range {
    let first = Bytes::from_static(&[ROW_KEY_FIRST_BYTE]);
    let from = match &scan.from {
        Bound::Included(key) | Bound::Excluded(key) if *key >= first => scan.from.clone(),
        _ => Bound::Included(first),
    };
    (from, scan.to.clone())
}
