//! The log as its user sees it: each change is made in memory and answered as the records that
//! are to be written. Knows nothing of the file, but how long it is.

use std::ops::Deref;

use super::LogSettings;
use super::contents::LogContents;
use super::entry::{Entry, EntryId, Vote};
use super::record::Record;

/// A raft log in memory. The records that its methods answer are to be appended to its
/// [`LogFile`](super::LogFile) in the order of the calls.
#[derive(Debug, Clone)]
pub struct MapLog {
    contents: LogContents,
    settings: LogSettings,
    /// The file is rewritten beyond this.
    rewrite_at: u64,
}

/// A vote to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct VoteRecord {
    /// What is to be appended.
    pub records: Vec<u8>,
    /// Whether it must be durable before the vote counts. Then [`MapLog::voted`] is to be called
    /// once it is; otherwise the vote counts already.
    pub is_awaited: bool,
}

impl Deref for MapLog {
    type Target = LogContents;

    fn deref(&self) -> &LogContents {
        &self.contents
    }
}

impl MapLog {
    pub(super) fn new(contents: LogContents, settings: LogSettings) -> Self {
        Self {
            contents,
            settings,
            rewrite_at: settings.rewrite_bytes,
        }
    }

    /// Adds entries behind the last one.
    #[must_use]
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
        let mut records = Vec::new();
        for entry in entries {
            let before = records.len();
            super::record::encode_entry(&entry, &mut records);
            self.contents.append(entry, records.len() - before);
        }
        records
    }

    /// The record of a vote. It need not be awaited in one case: a committed vote of a leader whose
    /// uncommitted vote is durable already. What a vote promises is to follow nobody lower, and
    /// the uncommitted vote of the same leader promises that as well: the only vote between the
    /// two is that very one. So the committed one may ride on the next sync, which comes before
    /// any entry of this leader is acknowledged. It saves a sync on the way to a new leader.
    pub fn vote_record(&mut self, vote: Vote) -> VoteRecord {
        let same_leader = |before: Vote| (before.term, before.leader) == (vote.term, vote.leader);
        let rides = vote.committed && self.contents.vote.is_some_and(same_leader);
        if rides {
            self.voted(vote);
        }
        VoteRecord {
            records: Record::Vote(vote).encoded(),
            is_awaited: !rides,
        }
    }

    /// The vote is durable.
    pub fn voted(&mut self, vote: Vote) {
        self.contents.vote = Some(vote);
    }

    /// Notes up to where entries are known to be committed.
    #[must_use]
    pub fn commit(&mut self, committed: Option<EntryId>) -> Vec<u8> {
        self.contents.committed = committed;
        Record::Committed(committed).encoded()
    }

    /// Drops the entries behind this one; all of them if none is named.
    #[must_use]
    pub fn truncate_after(&mut self, last: Option<EntryId>) -> Vec<u8> {
        self.contents.truncate_after(last);
        Record::TruncateAfter(last).encoded()
    }

    /// Drops the entries up to and with this one: a snapshot has them.
    #[must_use]
    pub fn purge(&mut self, upto: EntryId) -> Vec<u8> {
        self.contents.purge(upto);
        Record::Purge(upto).encoded()
    }

    /// After an append or a purge: the records with which the file is to be rewritten, if it is
    /// long (`file_bytes`) and mostly stale.
    #[must_use]
    pub fn rewrite_if_long(&mut self, file_bytes: u64) -> Option<Vec<u8>> {
        self.settle_rewrite(file_bytes);
        if file_bytes < self.rewrite_at {
            return None;
        }
        let records = self.contents.encode_whole();
        // Twice what is alive: otherwise a log that cannot shrink would be rewritten for ever.
        let alive = 2 * records.len() as u64;
        self.rewrite_at = self.settings.rewrite_bytes.max(alive) + file_bytes;
        Some(records)
    }

    /// Once the rewritten file is in place, the limit counts from it.
    fn settle_rewrite(&mut self, file_bytes: u64) {
        let alive = 2 * self.contents.entry_bytes() as u64;
        let calm = self.settings.rewrite_bytes.max(alive);
        if file_bytes < calm {
            self.rewrite_at = calm;
        }
    }
}
