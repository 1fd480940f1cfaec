//! The bytes of a [`Message`] and of a [`ReplicaMeta`]: one byte of kind or format, then the fields
//! in order, integers variable-length. Knows nothing of frames, connections and files.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tablestore_placement::{Epoch, StorageId};

use super::codec::{DecodeError, byte, bytes, encode_row, flag, is_at_end, list, put_bytes, row};
use super::merkle::Node;
use super::message::{Message, Origin, Page, Proof, Refusal, RequestNumber, SweepHead};
use super::replica::ReplicaMeta;
use super::row::{Floor, Row};
use crate::codec::{number, put_number};

/// The format of what a replica keeps beside its rows.
pub const META_FORMAT: u8 = 1;

const WRITE: u8 = 1;
const WRITTEN: u8 = 2;
const READ: u8 = 3;
const FOUND: u8 = 4;
const REFUSED: u8 = 5;
const FENCE: u8 = 6;
const FENCED: u8 = 7;
const COMPARE: u8 = 8;
const DIFFER: u8 = 9;
const EXCHANGE: u8 = 10;
const EXCHANGED: u8 = 11;
const PROVED: u8 = 12;
const NOT_NOW: u8 = 13;

/// Appends the message to the buffer.
pub fn encode(message: &Message, to: &mut BytesMut) {
    to.put_u8(kind_of(message));
    match message {
        Message::Write {
            request,
            epoch,
            key,
            change,
            origin,
        } => {
            put_request(to, *request);
            put_number(to, epoch.0);
            put_bytes(to, key);
            to.put_u8(*origin as u8);
            encode_row(change, to);
        }
        Message::Written { request } | Message::Fenced { request } => put_request(to, *request),
        Message::Read {
            request,
            epoch,
            key,
            durable,
        } => {
            put_request(to, *request);
            put_number(to, epoch.0);
            put_bytes(to, key);
            to.put_u8(u8::from(*durable));
        }
        Message::Found {
            request,
            row,
            floor,
        } => {
            put_request(to, *request);
            put_number(to, floor.0);
            encode_row(row, to);
        }
        Message::Refused { request, why } => {
            put_request(to, *request);
            put_refusal(to, *why);
        }
        Message::Proved { epoch, proof } => {
            put_number(to, epoch.0);
            put_proof(to, proof);
        }
        Message::NotNow {
            request,
            epoch,
            proof,
        } => {
            put_request(to, *request);
            put_number(to, epoch.0);
            put_proof(to, proof);
        }
        sweep => encode_sweep(sweep, to),
    }
}

fn encode_sweep(message: &Message, to: &mut BytesMut) {
    match message {
        Message::Fence { head, floor } => {
            put_head(to, head);
            put_number(to, floor.0);
        }
        Message::Compare { head, nodes } => {
            put_head(to, head);
            put_number(to, nodes.len() as u64);
            for (node, sum) in nodes {
                put_number(to, node.0.into());
                to.put_u128_le(*sum);
            }
        }
        Message::Differ { request, nodes } => {
            put_request(to, *request);
            put_number(to, nodes.len() as u64);
            nodes.iter().for_each(|node| put_number(to, node.0.into()));
        }
        Message::Exchange { head, page } => {
            put_head(to, head);
            put_page(to, page);
        }
        Message::Exchanged {
            request,
            page,
            refused,
        } => {
            put_request(to, *request);
            to.put_u8(u8::from(*refused));
            put_page(to, page);
        }
        _ => {}
    }
}

/// Reads one message that fills the bytes. Keys, names and values share the buffer.
///
/// # Errors
/// The bytes are no message of this version; nothing else happened.
pub fn decode(mut from: Bytes) -> Result<Message, DecodeError> {
    let kind = byte(&mut from)?;
    let message = decode_fields(kind, &mut from)?;
    is_at_end(&from).map(|()| message)
}

fn decode_fields(kind: u8, from: &mut Bytes) -> Result<Message, DecodeError> {
    Ok(match kind {
        WRITE => Message::Write {
            request: request(from)?,
            epoch: Epoch(number(from)?),
            key: bytes(from)?,
            origin: origin(from)?,
            change: row(from)?,
        },
        WRITTEN => Message::Written {
            request: request(from)?,
        },
        READ => Message::Read {
            request: request(from)?,
            epoch: Epoch(number(from)?),
            key: bytes(from)?,
            durable: flag(from)?,
        },
        FOUND => Message::Found {
            request: request(from)?,
            floor: Floor(number(from)?),
            row: row(from)?,
        },
        REFUSED => Message::Refused {
            request: request(from)?,
            why: refusal(from)?,
        },
        FENCE => Message::Fence {
            head: head(from)?,
            floor: Floor(number(from)?),
        },
        FENCED => Message::Fenced {
            request: request(from)?,
        },
        COMPARE => Message::Compare {
            head: head(from)?,
            nodes: list(from, |from| Ok((node(from)?, sum(from)?)))?,
        },
        DIFFER => Message::Differ {
            request: request(from)?,
            nodes: list(from, node)?,
        },
        EXCHANGE => Message::Exchange {
            head: head(from)?,
            page: page(from)?,
        },
        EXCHANGED => Message::Exchanged {
            request: request(from)?,
            refused: flag(from)?,
            page: page(from)?,
        },
        PROVED => Message::Proved {
            epoch: Epoch(number(from)?),
            proof: proof(from)?,
        },
        NOT_NOW => Message::NotNow {
            request: request(from)?,
            epoch: Epoch(number(from)?),
            proof: proof(from)?,
        },
        unknown => return Err(DecodeError::Kind(unknown)),
    })
}

/// Appends what a replica keeps beside its rows.
pub fn encode_meta(meta: &ReplicaMeta, to: &mut BytesMut) {
    to.put_u8(META_FORMAT);
    put_number(to, meta.epoch.0);
    put_number(to, meta.fence.0);
    put_proof(to, &meta.proof);
    to.put_u8(u8::from(meta.is_purging));
    to.put_u8(u8::from(meta.is_rebuilding));
}

/// Reads what a replica keeps beside its rows.
///
/// # Errors
/// The bytes are not that; the replica must not be started from them.
pub fn decode_meta(mut from: Bytes) -> Result<ReplicaMeta, DecodeError> {
    let from = &mut from;
    let format = byte(from)?;
    if format != META_FORMAT {
        return Err(DecodeError::Kind(format));
    }
    let meta = ReplicaMeta {
        epoch: Epoch(number(from)?),
        fence: Floor(number(from)?),
        proof: proof(from)?,
        is_purging: flag(from)?,
        is_rebuilding: flag(from)?,
    };
    is_at_end(from).map(|()| meta)
}

fn kind_of(message: &Message) -> u8 {
    match message {
        Message::Write { .. } => WRITE,
        Message::Written { .. } => WRITTEN,
        Message::Read { .. } => READ,
        Message::Found { .. } => FOUND,
        Message::Refused { .. } => REFUSED,
        Message::Fence { .. } => FENCE,
        Message::Fenced { .. } => FENCED,
        Message::Compare { .. } => COMPARE,
        Message::Differ { .. } => DIFFER,
        Message::Exchange { .. } => EXCHANGE,
        Message::Exchanged { .. } => EXCHANGED,
        Message::Proved { .. } => PROVED,
        Message::NotNow { .. } => NOT_NOW,
    }
}

fn put_request(to: &mut BytesMut, request: RequestNumber) {
    put_number(to, request.incarnation);
    put_number(to, request.number);
}

fn request(from: &mut Bytes) -> Result<RequestNumber, DecodeError> {
    Ok(RequestNumber {
        incarnation: number(from)?,
        number: number(from)?,
    })
}

fn put_proof(to: &mut BytesMut, proof: &Proof) {
    put_number(to, proof.floor.0);
    put_number(to, proof.members.len() as u64);
    for member in &proof.members {
        put_number(to, member.0);
    }
}

fn proof(from: &mut Bytes) -> Result<Proof, DecodeError> {
    Ok(Proof {
        floor: Floor(number(from)?),
        members: list(from, |from| Ok(StorageId(number(from)?)))?,
    })
}

fn put_head(to: &mut BytesMut, head: &SweepHead) {
    put_request(to, head.request);
    put_number(to, head.epoch.0);
    put_proof(to, &head.proof);
}

fn head(from: &mut Bytes) -> Result<SweepHead, DecodeError> {
    Ok(SweepHead {
        request: request(from)?,
        epoch: Epoch(number(from)?),
        proof: proof(from)?,
    })
}

fn put_page(to: &mut BytesMut, page: &Page) {
    put_number(to, page.leaf.into());
    for end in [&page.after, &page.until] {
        to.put_u8(u8::from(end.is_some()));
        if let Some(key) = end {
            put_bytes(to, key);
        }
    }
    put_number(to, page.rows.len() as u64);
    for (key, row) in &page.rows {
        put_bytes(to, key);
        encode_row(row, to);
    }
}

fn page(from: &mut Bytes) -> Result<Page, DecodeError> {
    let leaf = u32::try_from(number(from)?).map_err(|_| DecodeError::Range)?;
    let (after, until) = (end(from)?, end(from)?);
    let rows: Vec<(Bytes, Row)> = list(from, |from| Ok((bytes(from)?, row(from)?)))?;
    // A key that occurs twice would be merged into the same row twice, and once be lost.
    if rows.is_sorted_by(|one, next| one.0 < next.0) {
        Ok(Page {
            leaf,
            after,
            until,
            rows,
        })
    } else {
        Err(DecodeError::Range)
    }
}

fn end(from: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
    flag(from)?.then(|| bytes(from)).transpose()
}

fn node(from: &mut Bytes) -> Result<Node, DecodeError> {
    let node = u32::try_from(number(from)?).map(Node);
    node.ok()
        .filter(|node| node.is_known())
        .ok_or(DecodeError::Range)
}

fn sum(from: &mut Bytes) -> Result<u128, DecodeError> {
    if from.len() < size_of::<u128>() {
        return Err(DecodeError::Short);
    }
    Ok(from.get_u128_le())
}

fn origin(from: &mut Bytes) -> Result<Origin, DecodeError> {
    let all = [
        Origin::Client,
        Origin::Hint,
        Origin::Repair,
        Origin::DurableRepair,
    ];
    let code = byte(from)?;
    all.into_iter()
        .find(|origin| *origin as u8 == code)
        .ok_or(DecodeError::Kind(code))
}

fn put_refusal(to: &mut BytesMut, why: Refusal) {
    let (code, ahead_ms) = match why {
        Refusal::OlderEpoch => (1, 0),
        Refusal::EpochUnknown => (2, 0),
        Refusal::NotAReplica => (3, 0),
        Refusal::BelowFloor => (4, 0),
        Refusal::TooFarAhead { ahead_ms } => (5, ahead_ms),
        Refusal::Rebuilding => (6, 0),
        Refusal::Busy => (7, 0),
        Refusal::NoRoom => (8, 0),
    };
    to.put_u8(code);
    put_number(to, ahead_ms);
}

fn refusal(from: &mut Bytes) -> Result<Refusal, DecodeError> {
    let code = byte(from)?;
    let ahead_ms = number(from)?;
    Ok(match code {
        1 => Refusal::OlderEpoch,
        2 => Refusal::EpochUnknown,
        3 => Refusal::NotAReplica,
        4 => Refusal::BelowFloor,
        5 => Refusal::TooFarAhead { ahead_ms },
        6 => Refusal::Rebuilding,
        7 => Refusal::Busy,
        8 => Refusal::NoRoom,
        unknown => return Err(DecodeError::Kind(unknown)),
    })
}
