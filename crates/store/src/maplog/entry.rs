//! What the log holds: entries and votes, each with the form it has in the file. Knows nothing
//! of what an entry carries.

use std::fmt;
use std::io;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Which entry it is; totally ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "IdForm", into = "IdForm")]
pub struct EntryId {
    /// The term of the leader that made it.
    pub term: u64,
    /// That leader.
    pub leader: u64,
    /// Its place in the log.
    pub index: u64,
}

/// Whom a node follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "VoteForm", into = "VoteForm")]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The node that leads it or wants to.
    pub leader: u64,
    /// Whether a majority has given it that vote.
    pub committed: bool,
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing: a leader begins with it.
    Blank,
    /// A command.
    Normal,
    /// A change of raft's members.
    Membership,
}

/// An entry of the log; a cheap handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    id: EntryId,
    kind: EntryKind,
    bytes: Bytes,
    payload_at: usize,
}

/// Bytes that are no entry. Whoever wrote them is at fault, or the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnreadableEntry(String);

impl Entry {
    /// An entry with this payload, which is one value of MessagePack; a blank one has none.
    #[must_use]
    pub fn new(id: EntryId, kind: EntryKind, payload: &[u8]) -> Self {
        let mut bytes = head(id, kind);
        let payload_at = bytes.len();
        if kind != EntryKind::Blank {
            bytes.extend_from_slice(payload);
        }
        Self {
            id,
            kind,
            bytes: bytes.into(),
            payload_at,
        }
    }

    /// Reads an entry as it is in the file: a map of `log_id` and `payload`.
    ///
    /// # Errors
    /// If it is none, or something follows it.
    pub fn decode(bytes: Bytes) -> Result<Self, UnreadableEntry> {
        let mut rest = &*bytes;
        let form: EntryForm =
            rmp_serde::from_read(&mut rest).map_err(|error| UnreadableEntry(error.to_string()))?;
        let kind = match form.payload {
            PayloadForm::Blank => EntryKind::Blank,
            PayloadForm::Normal(_) => EntryKind::Normal,
            PayloadForm::Membership(_) => EntryKind::Membership,
        };
        let head = head(form.log_id, kind);
        if !rest.is_empty() || !bytes.starts_with(&head) {
            return Err(UnreadableEntry("not as an entry is written".to_owned()));
        }
        Ok(Self {
            id: form.log_id,
            kind,
            payload_at: head.len(),
            bytes,
        })
    }

    /// Which entry it is.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// The whole entry, as it is in the file.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it carries; nothing if it is blank.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at..]
    }
}

/// All of an entry before its payload.
fn head(id: EntryId, kind: EntryKind) -> Vec<u8> {
    let mut bytes = vec![MAP_OF_TWO];
    text(&mut bytes, "log_id");
    written(rmp_serde::encode::write_named(&mut bytes, &id));
    text(&mut bytes, "payload");
    match kind {
        EntryKind::Blank => text(&mut bytes, "Blank"),
        EntryKind::Normal | EntryKind::Membership => {
            bytes.push(MAP_OF_ONE);
            let is_normal = kind == EntryKind::Normal;
            text(&mut bytes, if is_normal { "Normal" } else { "Membership" });
        }
    }
    bytes
}

const MAP_OF_ONE: u8 = 0x81;
const MAP_OF_TWO: u8 = 0x82;

fn text(bytes: &mut Vec<u8>, text: &str) {
    written(rmp_serde::encode::write(bytes, text));
}

/// What is encoded into memory needs no answer.
pub(super) fn written(result: Result<(), rmp_serde::encode::Error>) {
    result.expect("numbers and names are always encoded");
}

#[derive(Deserialize)]
pub(super) struct EntryForm {
    log_id: EntryId,
    payload: PayloadForm,
}

#[derive(Deserialize)]
enum PayloadForm {
    Blank,
    Normal(IgnoredAny),
    Membership(IgnoredAny),
}

#[derive(Serialize, Deserialize)]
struct LeaderForm {
    term: u64,
    node_id: u64,
}

#[derive(Serialize, Deserialize)]
struct IdForm {
    leader_id: LeaderForm,
    index: u64,
}

#[derive(Serialize, Deserialize)]
struct VoteForm {
    leader_id: LeaderForm,
    committed: bool,
}

impl From<IdForm> for EntryId {
    fn from(form: IdForm) -> Self {
        Self {
            term: form.leader_id.term,
            leader: form.leader_id.node_id,
            index: form.index,
        }
    }
}

impl From<EntryId> for IdForm {
    fn from(id: EntryId) -> Self {
        Self {
            leader_id: LeaderForm {
                term: id.term,
                node_id: id.leader,
            },
            index: id.index,
        }
    }
}

impl From<VoteForm> for Vote {
    fn from(form: VoteForm) -> Self {
        Self {
            term: form.leader_id.term,
            leader: form.leader_id.node_id,
            committed: form.committed,
        }
    }
}

impl From<Vote> for VoteForm {
    fn from(vote: Vote) -> Self {
        Self {
            leader_id: LeaderForm {
                term: vote.term,
                node_id: vote.leader,
            },
            committed: vote.committed,
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}-N{}.{}", self.term, self.leader, self.index)
    }
}

impl From<UnreadableEntry> for io::Error {
    fn from(error: UnreadableEntry) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
