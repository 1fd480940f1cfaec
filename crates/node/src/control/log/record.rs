//! What the raft log file says: the records, and the state that follows from replaying them.
//! Knows nothing of files.

use std::collections::BTreeMap;
use std::io;

use openraft::EntryPayload;
use serde::{Deserialize, Serialize};
use tablestore_placement::Command;

use crate::control::types::{Entry, LogId, Vote};

/// One step in the life of a raft log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Record {
    /// The node's vote.
    Vote(Vote),
    /// An entry behind the last one.
    Entry(Entry),
    /// Entries behind this one are gone; all of them if none is named.
    TruncateAfter(Option<LogId>),
    /// Entries up to and with this one are in a snapshot and gone.
    Purge(LogId),
    /// Entries up to this one are known to be committed.
    Committed(Option<LogId>),
}

impl Record {
    pub(super) fn encode(&self, into: &mut Vec<u8>) -> io::Result<()> {
        rmp_serde::encode::write_named(into, self).map_err(io::Error::other)
    }
}

/// Decodes the records of one frame.
pub(super) fn decode_all(payload: &[u8]) -> Result<Vec<Record>, rmp_serde::decode::Error> {
    let mut rest = payload;
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(rmp_serde::from_read(&mut rest)?);
    }
    Ok(records)
}

/// An entry that is kept, with the bytes it takes in the file.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    pub(super) bytes: usize,
}

/// The log as a whole. All of it is in memory: snapshots keep it short.
#[derive(Debug, Clone, Default)]
pub(in crate::control) struct LogContents {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) entries: BTreeMap<u64, Kept>,
    pub(super) entry_bytes: usize,
}

impl LogContents {
    /// The last entry's id, or the last purged one's.
    pub(super) fn last(&self) -> Option<LogId> {
        let last = self.entries.last_key_value();
        last.map(|(_, kept)| kept.entry.log_id).or(self.purged)
    }

    /// The commands among the entries from `index` on that are known to be committed.
    pub(in crate::control) fn committed_from(&self, index: u64) -> Vec<Command> {
        let Some(committed) = self.committed.filter(|last| last.index >= index) else {
            return Vec::new();
        };
        let entries = self.entries.range(index..=committed.index);
        let command = |entry: &Entry| match &entry.payload {
            EntryPayload::Normal(proposal) => Some(proposal.0.clone()),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        };
        entries
            .filter_map(|(_, kept)| command(&kept.entry))
            .collect()
    }

    /// The last entry that only a snapshot has, if there is one.
    pub(in crate::control) fn begins_behind(&self) -> Option<u64> {
        let purged = self.purged.map(|purged| purged.index);
        let first = self.entries.first_key_value();
        purged.max(first.and_then(|(index, _)| index.checked_sub(1)))
    }

    /// The last entry known to be committed, if the log has not got it.
    pub(in crate::control) fn committed_beyond(&self) -> Option<u64> {
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
                let index = entry.log_id.index;
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
        let index = entry.log_id.index;
        self.entry_bytes += bytes;
        if let Some(replaced) = self.entries.insert(index, Kept { entry, bytes }) {
            self.entry_bytes -= replaced.bytes;
        }
    }

    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let first_gone = last.map_or(0, |last| last.index + 1);
        let gone = self.entries.split_off(&first_gone);
        self.forget(&gone);
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        let kept = self.entries.split_off(&(upto.index + 1));
        let gone = std::mem::replace(&mut self.entries, kept);
        self.forget(&gone);
        self.purged = self.purged.max(Some(upto));
    }

    fn forget(&mut self, gone: &BTreeMap<u64, Kept>) {
        self.entry_bytes -= gone.values().map(|kept| kept.bytes).sum::<usize>();
    }

    /// The shortest list of records from which the same contents follow, encoded.
    pub(super) fn encode_whole(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.entry_bytes + 1024);
        if let Some(vote) = self.vote {
            Record::Vote(vote).encode(&mut bytes)?;
        }
        if let Some(purged) = self.purged {
            Record::Purge(purged).encode(&mut bytes)?;
        }
        for kept in self.entries.values() {
            Record::Entry(kept.entry.clone()).encode(&mut bytes)?;
        }
        if self.committed.is_some() {
            Record::Committed(self.committed).encode(&mut bytes)?;
        }
        Ok(bytes)
    }
}
