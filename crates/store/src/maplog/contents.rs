//! The state that follows from the records of a raft log. Knows nothing of files.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use super::entry::{Entry, EntryId, EntryKind, Vote};
use super::record::{Record, encode_entry};

/// An entry that is kept, with the bytes it takes in the file.
#[derive(Debug, Clone)]
struct Kept {
    entry: Entry,
    bytes: usize,
}

/// The log as a whole. All of it is in memory: snapshots keep it short.
#[derive(Debug, Clone, Default)]
pub struct LogContents {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<EntryId>,
    pub(super) purged: Option<EntryId>,
    entries: BTreeMap<u64, Kept>,
    entry_bytes: usize,
}

impl LogContents {
    /// Whom the node follows.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// The last entry known to be committed.
    #[must_use]
    pub fn committed(&self) -> Option<EntryId> {
        self.committed
    }

    /// The last entry that was purged.
    #[must_use]
    pub fn purged(&self) -> Option<EntryId> {
        self.purged
    }

    /// Bytes of the entries that are kept; a reason to take a snapshot.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    /// The entries with these indexes, in order; of a range that ends before it starts, none.
    pub fn entries(&self, range: impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        let found = (!is_empty(range)).then(|| self.entries.range(range));
        found.into_iter().flatten().map(|(_, kept)| &kept.entry)
    }

    /// The last entry's id, or the last purged one's.
    #[must_use]
    pub fn last(&self) -> Option<EntryId> {
        let last = self.entries.last_key_value();
        last.map(|(_, kept)| kept.entry.id()).or(self.purged)
    }

    /// The commands among the entries from `index` on that are known to be committed.
    pub fn committed_from(&self, index: u64) -> impl Iterator<Item = &Entry> {
        let beyond = self.committed.map_or(0, |committed| committed.index + 1);
        let entries = self.entries(index..beyond);
        entries.filter(|entry| entry.kind() == EntryKind::Normal)
    }

    /// The last entry that only a snapshot has, if there is one.
    #[must_use]
    pub fn begins_behind(&self) -> Option<u64> {
        let purged = self.purged.map(|purged| purged.index);
        let first = self.entries.first_key_value();
        purged.max(first.and_then(|(index, _)| index.checked_sub(1)))
    }

    /// The last entry known to be committed, if the log has not got it.
    #[must_use]
    pub fn committed_beyond(&self) -> Option<u64> {
        let committed = self.committed.map(|committed| committed.index);
        committed.filter(|committed| self.last().is_none_or(|last| last.index < *committed))
    }

    /// Takes one replayed record; an error names what makes no sense.
    pub(super) fn replay(&mut self, record: Record, bytes: usize) -> Result<(), String> {
        match record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(committed) => self.committed = committed,
            Record::TruncateAfter(last) => self.truncate_after(last),
            Record::Purge(upto) => self.purge(upto),
            Record::Entry(entry) => {
                let next = self.last().map_or(0, |last| last.index + 1);
                let index = entry.id().index;
                // The first entry of an empty log may have any index (a snapshot precedes it).
                let empty = self.entries.is_empty() && self.purged.is_none();
                if index != next && !empty {
                    return Err(format!("entry {index} where {next} was due"));
                }
                self.append(entry, bytes);
            }
        }
        Ok(())
    }

    pub(super) fn append(&mut self, entry: Entry, bytes: usize) {
        let index = entry.id().index;
        self.entry_bytes += bytes;
        if let Some(replaced) = self.entries.insert(index, Kept { entry, bytes }) {
            self.entry_bytes -= replaced.bytes;
        }
    }

    pub(super) fn truncate_after(&mut self, last: Option<EntryId>) {
        let first_gone = last.map_or(0, |last| last.index + 1);
        let gone = self.entries.split_off(&first_gone);
        self.forget(&gone);
    }

    pub(super) fn purge(&mut self, upto: EntryId) {
        let kept = self.entries.split_off(&(upto.index + 1));
        let gone = std::mem::replace(&mut self.entries, kept);
        self.forget(&gone);
        self.purged = self.purged.max(Some(upto));
    }

    fn forget(&mut self, gone: &BTreeMap<u64, Kept>) {
        self.entry_bytes -= gone.values().map(|kept| kept.bytes).sum::<usize>();
    }

    /// The shortest list of records from which the same contents follow, encoded.
    pub(super) fn encode_whole(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entry_bytes + 1024);
        if let Some(vote) = self.vote {
            Record::Vote(vote).encode(&mut bytes);
        }
        if let Some(purged) = self.purged {
            Record::Purge(purged).encode(&mut bytes);
        }
        for kept in self.entries.values() {
            encode_entry(&kept.entry, &mut bytes);
        }
        if self.committed.is_some() {
            Record::Committed(self.committed).encode(&mut bytes);
        }
        bytes
    }
}

/// A `BTreeMap` panics on a range whose start lies behind its end.
fn is_empty((start, end): (Bound<u64>, Bound<u64>)) -> bool {
    let start = match start {
        Bound::Included(start) => start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    match end {
        Bound::Included(end) => start > end,
        Bound::Excluded(end) => start >= end,
        Bound::Unbounded => false,
    }
}
