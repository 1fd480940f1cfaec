//! The rows of a copy: read page by page at the sender, stored aside at the receiver. Blocks on
//! files, so it runs on a lane of its own. Knows nothing of messages and windows.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use tablestore_placement::PartitionId;
use tablestore_store::engine::{EngineError, Replacement, Scan, Snapshot};
use tablestore_store::{Engine, RowWrite};

use crate::mutant::{Mutant, Sabotage};
use crate::settings::Settings;
use crate::transfer::{Pairs, TransferId};

/// Marks side records among the rows of a copy: row keys never begin with it.
const SIDE_MARK: u8 = 0x00;

/// One copy of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CopyId {
    pub(crate) partition: PartitionId,
    pub(crate) transfer: TransferId,
}

/// The next rows of a copy.
#[derive(Debug)]
pub(crate) struct CopyPage {
    pub(crate) pairs: Pairs,
    pub(crate) last: bool,
}

/// Where a copy is read from: side records first, then rows in order.
pub(crate) struct Source {
    snapshot: Box<dyn Snapshot>,
    /// Side records that no checkpoint has yet.
    unflushed: Pairs,
    /// Side records left to send; `None` before they were read.
    side: Option<VecDeque<(Bytes, Bytes)>>,
    /// The last row that was read.
    after: Option<Bytes>,
    /// Bounds of a page.
    bytes_max: usize,
    rows_max: usize,
    sabotage: Sabotage,
}

impl Source {
    pub(crate) fn new(snapshot: Box<dyn Snapshot>, unflushed: Pairs, settings: &Settings) -> Self {
        Self {
            snapshot,
            unflushed,
            side: None,
            after: None,
            bytes_max: settings.chunk_bytes,
            rows_max: settings.chunk_rows,
            sabotage: settings.sabotage(),
        }
    }

    /// The next rows.
    ///
    /// # Errors
    /// If files cannot be read: then there is no copy.
    pub(crate) fn page(&mut self) -> Result<CopyPage, EngineError> {
        let side = match &mut self.side {
            Some(side) => side,
            None => {
                let mut side: VecDeque<_> = self.snapshot.side_records()?.into();
                side.extend(std::mem::take(&mut self.unflushed));
                if self.sabotage.has(Mutant::SideRecordsLost) {
                    side.clear();
                }
                self.side.insert(side)
            }
        };
        let (mut pairs, mut bytes) = (Pairs::new(), 0);
        while bytes < self.bytes_max
            && let Some((name, value)) = side.pop_front()
        {
            bytes += name.len() + value.len();
            pairs.push((marked(&name), value));
        }
        if !pairs.is_empty() {
            return Ok(CopyPage { pairs, last: false });
        }
        let mut scan = Scan::all(self.rows_max, self.bytes_max);
        if let Some(after) = &self.after {
            scan.from = Bound::Excluded(after.clone());
        }
        let page = self.snapshot.scan(&scan)?;
        if let Some((key, _)) = page.rows.last() {
            self.after = Some(key.clone());
        }
        Ok(CopyPage {
            pairs: page.rows,
            last: !page.more,
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

fn marked(name: &[u8]) -> Bytes {
    let mut marked = Vec::with_capacity(name.len() + 1);
    marked.push(SIDE_MARK);
    marked.extend_from_slice(name);
    marked.into()
}

/// Stores rows aside, in `replacement` or a new one.
///
/// # Errors
/// If files cannot be written: then there is no copy.
pub(crate) fn store<E: Engine>(
    engine: &E,
    partition: PartitionId,
    replacement: Option<Box<dyn Replacement>>,
    pairs: &Pairs,
) -> Result<Box<dyn Replacement>, EngineError> {
    let mut replacement = match replacement {
        Some(replacement) => replacement,
        None => engine.begin_replace(partition.to_u64())?,
    };
    for (key, value) in pairs {
        let value = Some(value.as_ref());
        match key.split_first() {
            Some((&SIDE_MARK, name)) => {
                replacement.put_side(&[RowWrite { key: name, value }])?;
            }
            _ => replacement.put(&[RowWrite { key, value }])?,
        }
    }
    Ok(replacement)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use tablestore_store::{Checkpoints as _, Copies as _, MemoryEngine, ReadRows as _};

    use super::*;

    #[test]
    fn a_copy_has_every_row_and_side_record_once_in_pages_of_bounded_size() {
        let (engine, other) = (MemoryEngine::new(), MemoryEngine::new());
        let partition = PartitionId::from_u64(5);
        engine.open_partition(5).unwrap();
        other.open_partition(5).unwrap();
        let value = vec![7; 1_000];
        for index in 1..=3_000_u64 {
            let key = [&[0x10], &index.to_be_bytes()[..]].concat();
            let row = RowWrite {
                key: &key,
                value: Some(&value),
            };
            engine.apply(5, index, &[row]).unwrap();
        }
        let names: Vec<_> = (0..20_u8).map(|name| [b'r', name]).collect();
        let piece = vec![9; 64 << 10];
        for name in &names[..19] {
            let record = RowWrite {
                key: name,
                value: Some(&piece),
            };
            engine.put_side(5, &[record]).unwrap();
        }
        let last = (Bytes::copy_from_slice(&names[19]), piece.clone().into());
        let mut source = Source::new(
            engine.snapshot(5).unwrap(),
            vec![last],
            &Settings::default(),
        );
        let (mut replacement, mut pages) = (None, 0);
        loop {
            let page = source.page().unwrap();
            let bytes: usize = page.pairs.iter().map(|(k, v)| k.len() + v.len()).sum();
            assert!(bytes < crate::settings::CHUNK_BYTES + (65 << 10), "{bytes}");
            pages += 1;
            let stored = store(&other, partition, replacement.take(), &page.pairs).unwrap();
            replacement = Some(stored);
            if page.last {
                break;
            }
        }
        assert!(pages > 10);
        replacement.unwrap().finish(3_000).unwrap();
        let all = Scan::all(10_000, usize::MAX);
        assert_eq!(engine.scan(5, &all).unwrap(), other.scan(5, &all).unwrap());
        assert_eq!(other.side_records(5).unwrap().len(), 20);
    }
}
