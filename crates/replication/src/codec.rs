//! The bytes of a [`Message`]: one byte of kind, then the fields in order. Integers are
//! variable-length (LEB128, low groups first), so that an append of one entry costs about
//! fifteen bytes beside the body. Knows nothing of frames and connections.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tablestore_placement::Epoch;

use crate::entry::Entry;
use crate::history::EpochStartsAt;
use crate::message::{LogPoint, Message};

const SYNC: u8 = 1;
const SYNCED: u8 = 2;
const APPEND: u8 = 3;
const ACK: u8 = 4;
const GAP: u8 = 5;
const NO_SESSION: u8 = 6;
const COMMIT: u8 = 7;
const CONFIRM: u8 = 8;
const CONFIRMED: u8 = 9;
const STALE: u8 = 10;

/// Entries that one message may hold: far more than fit into `append_bytes_max`.
const ENTRIES_MAX: u64 = 1 << 20;
/// Epochs that one history may hold.
const HISTORY_MAX: u64 = 1 << 20;

/// Why bytes are no message. The sender is at fault; the connection should be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("the message ends early")]
    Short,
    /// A kind that this version does not know.
    #[error("unknown kind of message {0}")]
    Kind(u8),
    /// A number does not fit.
    #[error("a number is out of range")]
    Range,
    /// Bytes follow behind the message.
    #[error("bytes follow behind the message")]
    Surplus,
}

/// Appends the message to the buffer.
pub fn encode(message: &Message, to: &mut BytesMut) {
    match message {
        Message::Sync {
            epoch,
            nonce,
            history,
            end,
            commit,
            first,
            entries,
        } => {
            put_head(to, SYNC, &[epoch.0, *nonce, *end, *commit, *first]);
            put_number(to, history.len() as u64);
            for start in history {
                put_number(to, start.epoch.0);
                put_number(to, start.index);
            }
            put_entries(to, entries);
        }
        Message::Synced {
            epoch,
            nonce,
            end,
            commit,
            needs_snapshot,
        } => {
            let needs = u64::from(*needs_snapshot);
            put_head(to, SYNCED, &[epoch.0, *nonce, *end, *commit, needs]);
        }
        Message::Append {
            epoch,
            prev,
            commit,
            entries,
        } => {
            put_head(to, APPEND, &[epoch.0, prev.epoch.0, prev.index, *commit]);
            put_entries(to, entries);
        }
        Message::Ack {
            epoch,
            end,
            received,
            commit,
        } => put_head(to, ACK, &[epoch.0, *end, *received, *commit]),
        Message::Gap { epoch, end } => put_head(to, GAP, &[epoch.0, *end]),
        Message::NoSession { epoch } => put_head(to, NO_SESSION, &[epoch.0]),
        Message::Commit { epoch, commit } => put_head(to, COMMIT, &[epoch.0, *commit]),
        Message::Confirm { epoch, round } => put_head(to, CONFIRM, &[epoch.0, *round]),
        Message::Confirmed { epoch, round } => put_head(to, CONFIRMED, &[epoch.0, *round]),
        Message::Stale { epoch, refused } => put_head(to, STALE, &[epoch.0, refused.0]),
    }
}

/// Reads one message that fills the bytes. Bodies of entries share the buffer.
///
/// # Errors
/// The bytes are no message of this version; nothing else happened.
pub fn decode(mut from: Bytes) -> Result<Message, DecodeError> {
    if from.is_empty() {
        return Err(DecodeError::Short);
    }
    let kind = from.get_u8();
    let message = decode_fields(kind, &mut from)?;
    if from.is_empty() {
        Ok(message)
    } else {
        Err(DecodeError::Surplus)
    }
}

fn decode_fields(kind: u8, from: &mut Bytes) -> Result<Message, DecodeError> {
    let known = (SYNC..=STALE).contains(&kind);
    if !known {
        return Err(DecodeError::Kind(kind));
    }
    let epoch = Epoch(number(from)?);
    Ok(match kind {
        SYNC => Message::Sync {
            epoch,
            nonce: number(from)?,
            end: number(from)?,
            commit: number(from)?,
            first: number(from)?,
            history: history(from)?,
            entries: entries(from)?,
        },
        SYNCED => Message::Synced {
            epoch,
            nonce: number(from)?,
            end: number(from)?,
            commit: number(from)?,
            needs_snapshot: number(from)? != 0,
        },
        APPEND => Message::Append {
            epoch,
            prev: LogPoint {
                epoch: Epoch(number(from)?),
                index: number(from)?,
            },
            commit: number(from)?,
            entries: entries(from)?,
        },
        ACK => Message::Ack {
            epoch,
            end: number(from)?,
            received: number(from)?,
            commit: number(from)?,
        },
        GAP => Message::Gap {
            epoch,
            end: number(from)?,
        },
        NO_SESSION => Message::NoSession { epoch },
        COMMIT => Message::Commit {
            epoch,
            commit: number(from)?,
        },
        CONFIRM => Message::Confirm {
            epoch,
            round: number(from)?,
        },
        CONFIRMED => Message::Confirmed {
            epoch,
            round: number(from)?,
        },
        _ => Message::Stale {
            epoch,
            refused: Epoch(number(from)?),
        },
    })
}

fn put_head(to: &mut BytesMut, kind: u8, numbers: &[u64]) {
    to.put_u8(kind);
    for number in numbers {
        put_number(to, *number);
    }
}

/// Consecutive entries: count, first index, then epoch, length and body of each.
fn put_entries(to: &mut BytesMut, entries: &[Entry]) {
    put_number(to, entries.len() as u64);
    let Some(first) = entries.first() else { return };
    put_number(to, first.index);
    for entry in entries {
        put_number(to, entry.epoch.0);
        put_number(to, entry.data.len() as u64);
        to.put_slice(&entry.data);
    }
}

fn entries(from: &mut Bytes) -> Result<Vec<Entry>, DecodeError> {
    let count = number(from)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    // Each entry takes at least two bytes, so a lie about the count allocates nothing.
    if count > ENTRIES_MAX || count > from.len() as u64 {
        return Err(DecodeError::Range);
    }
    let first = number(from)?;
    let mut entries = Vec::with_capacity(count as usize);
    for at in 0..count {
        let epoch = Epoch(number(from)?);
        let length = number(from)?;
        if length > from.len() as u64 {
            return Err(DecodeError::Short);
        }
        entries.push(Entry {
            epoch,
            index: first.checked_add(at).ok_or(DecodeError::Range)?,
            data: from.split_to(length as usize),
        });
    }
    Ok(entries)
}

fn history(from: &mut Bytes) -> Result<Vec<EpochStartsAt>, DecodeError> {
    let count = number(from)?;
    if count > HISTORY_MAX || count > from.len() as u64 {
        return Err(DecodeError::Range);
    }
    let mut starts = Vec::with_capacity(count as usize);
    for _ in 0..count {
        starts.push(EpochStartsAt {
            epoch: Epoch(number(from)?),
            index: number(from)?,
        });
    }
    Ok(starts)
}

pub(crate) fn put_number(to: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        to.put_u8((number as u8) | 0x80);
        number >>= 7;
    }
    to.put_u8(number as u8);
}

pub(crate) fn number(from: &mut Bytes) -> Result<u64, DecodeError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        if from.is_empty() {
            return Err(DecodeError::Short);
        }
        let byte = from.get_u8();
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(DecodeError::Range);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DecodeError::Range)
}
