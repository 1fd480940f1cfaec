//! Between the types of the raft library and those of the log file. An entry is in the file as
//! the library's types are serialised. Knows nothing of when anything is written.

use std::io;

use openraft::vote::RaftLeaderId;
use tablestore_placement::Command;
use tablestore_store::maplog::{self, EntryId, LogContents};

use crate::types::{Entry, LogId, Proposal, Vote};

type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;

pub(super) fn entry_id(id: LogId) -> EntryId {
    EntryId {
        term: id.leader_id.term,
        leader: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn log_id(id: EntryId) -> LogId {
    LogId::new(LeaderId::new(id.term, id.leader), id.index)
}

pub(super) fn stored_vote(vote: &Vote) -> maplog::Vote {
    maplog::Vote {
        term: vote.leader_id.term,
        leader: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(super) fn vote(vote: maplog::Vote) -> Vote {
    Vote {
        leader_id: LeaderId::new(vote.term, vote.leader),
        committed: vote.committed,
    }
}

pub(super) fn stored_entry(entry: &Entry) -> io::Result<maplog::Entry> {
    let bytes = rmp_serde::to_vec_named(entry).map_err(io::Error::other)?;
    Ok(maplog::Entry::decode(bytes.into())?)
}

pub(super) fn entry(stored: &maplog::Entry) -> Result<Entry, rmp_serde::decode::Error> {
    rmp_serde::from_slice(stored.bytes())
}

/// Why an entry of the file cannot be used.
pub(super) fn readable(stored: &maplog::Entry) -> Result<(), String> {
    entry(stored).map(drop).map_err(|error| error.to_string())
}

/// The commands among the entries from `index` on that are known to be committed, each with the
/// term of its entry.
pub(crate) fn committed_from(log: &LogContents, index: u64) -> Vec<(u64, Command)> {
    // Each was readable when it was taken into the log.
    let command = |entry: &maplog::Entry| {
        let Proposal(command) = rmp_serde::from_slice(entry.payload()).ok()?;
        Some((entry.id().term, command))
    };
    log.committed_from(index).filter_map(command).collect()
}
