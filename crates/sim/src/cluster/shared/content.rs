//! What a partition in the shared storage holds: rows, how far it has come, and the requests that
//! it remembers. Knows nothing of objects and of who wrote them.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use tablestore_replication::{Entry, Outcome, Remembered};
use tablestore_store::engine::{Page, Scan};

/// How far a partition has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The index of the last write.
    pub(crate) index: u64,
    /// The partition's own time of the last write.
    pub(crate) log_ms: u64,
}

/// Writes that become durable together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// The writes as the judge is told of them, with what came of each.
    pub(crate) writes: Vec<(Entry, Outcome)>,
    /// The rows after them.
    pub(crate) rows: BTreeMap<Bytes, Option<Bytes>>,
    pub(crate) head: Head,
}

impl Batch {
    /// What is remembered of the writes.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = Remembered> + '_ {
        let of = |(entry, outcome): &(Entry, Outcome)| entry.remembered(*outcome);
        self.writes.iter().filter_map(of)
    }
}

/// All that a partition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) rows: BTreeMap<Bytes, Bytes>,
    pub(crate) head: Head,
    /// In order of index.
    pub(crate) remembered: Vec<Remembered>,
}

impl Content {
    pub(crate) fn take_in(&mut self, batch: &Batch) {
        for (key, row) in &batch.rows {
            match row {
                Some(row) => self.rows.insert(key.clone(), row.clone()),
                None => self.rows.remove(key),
            };
        }
        self.remembered.extend(batch.remembered());
        self.head = batch.head;
    }

    /// A page of rows, as an owner makes it.
    pub(crate) fn page(&self, scan: &Scan) -> Page {
        if scan.is_empty() {
            return Page::default();
        }
        let bounds: (Bound<&Bytes>, Bound<&Bytes>) = (scan.from.as_ref(), scan.to.as_ref());
        let mut found = self.rows.range::<Bytes, _>(bounds);
        let mut next = || match scan.reverse {
            true => found.next_back(),
            false => found.next(),
        };
        let (mut page, mut bytes) = (Page::default(), 0);
        while let Some((key, row)) = next() {
            let full = bytes >= scan.bytes_max && !page.rows.is_empty();
            if page.rows.len() >= scan.limit || full {
                page.more = true;
                break;
            }
            bytes += key.len() + row.len();
            page.rows.push((key.clone(), row.clone()));
        }
        page
    }
}
