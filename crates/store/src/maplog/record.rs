//! The steps in the life of a raft log, as they are in the file. Knows nothing of what follows
//! from them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, EntryForm, EntryId, Vote, written};

/// What stands before an entry: a map of one, and its name.
const ENTRY_PREFIX: &[u8] = b"\x81\xa5Entry";

/// One step in the life of a raft log.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// The node's vote.
    Vote(Vote),
    /// An entry behind the last one.
    Entry(Entry),
    /// Entries behind this one are gone; all of them if none is named.
    TruncateAfter(Option<EntryId>),
    /// Entries up to and with this one are in a snapshot and gone.
    Purge(EntryId),
    /// Entries up to this one are known to be committed.
    Committed(Option<EntryId>),
}

/// The form of a record that is no entry.
#[derive(Serialize)]
enum Written {
    Vote(Vote),
    TruncateAfter(Option<EntryId>),
    Purge(EntryId),
    Committed(Option<EntryId>),
}

/// The form of any record; of an entry only what is needed to find its end.
#[derive(Deserialize)]
enum Read {
    Vote(Vote),
    Entry(#[expect(dead_code, reason = "read for where it ends")] EntryForm),
    TruncateAfter(Option<EntryId>),
    Purge(EntryId),
    Committed(Option<EntryId>),
}

impl Record {
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let form = match self {
            Self::Entry(entry) => return encode_entry(entry, into),
            Self::Vote(vote) => Written::Vote(*vote),
            Self::TruncateAfter(last) => Written::TruncateAfter(*last),
            Self::Purge(upto) => Written::Purge(*upto),
            Self::Committed(committed) => Written::Committed(*committed),
        };
        written(rmp_serde::encode::write_named(into, &form));
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }
}

pub(super) fn encode_entry(entry: &Entry, into: &mut Vec<u8>) {
    into.extend_from_slice(ENTRY_PREFIX);
    into.extend_from_slice(entry.bytes());
}

/// Decodes the records of one frame.
pub(super) fn decode_all(payload: &[u8]) -> Result<Vec<Record>, String> {
    let mut rest = payload;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let before = rest;
        let form: Read = rmp_serde::from_read(&mut rest).map_err(|error| error.to_string())?;
        records.push(match form {
            Read::Vote(vote) => Record::Vote(vote),
            Read::TruncateAfter(last) => Record::TruncateAfter(last),
            Read::Purge(upto) => Record::Purge(upto),
            Read::Committed(committed) => Record::Committed(committed),
            Read::Entry(_) => {
                let bytes = &before[..before.len() - rest.len()];
                let bytes = bytes
                    .strip_prefix(ENTRY_PREFIX)
                    .ok_or("not as an entry is written")?;
                let entry = Entry::decode(Bytes::copy_from_slice(bytes));
                Record::Entry(entry.map_err(|error| error.to_string())?)
            }
        });
    }
    Ok(records)
}
