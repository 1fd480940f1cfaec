//! The bytes of what is said about a copy of a partition. Knows nothing of what is done about it.

use bytes::{BufMut, BytesMut};
use tablestore_placement::{Epoch, Incarnation, Office, StorageId};
use tablestore_replication::{EpochStartsAt, SnapshotMeta};

use super::WireError;
use super::field::{Fields, put_bytes};
use crate::transfer::{Chunk, Ended, Totals, TransferId};

/// What one side says about a transfer.
#[derive(Debug)]
pub(crate) enum CopyStep {
    /// Sender: a copy of this content follows in chunks.
    Begin(SnapshotMeta),
    /// Sender: a piece of it.
    Chunk(Chunk),
    /// Receiver: the chunk of this number is stored.
    Ack(u64),
    /// Either: the transfer is over and its copy is nothing.
    End(Ended),
}

pub(super) fn encode_transfer(transfer: TransferId, to: &mut BytesMut) {
    to.put_u64_le(transfer.sender.member.0);
    to.put_u64_le(transfer.sender.incarnation.0);
    to.put_u64_le(transfer.epoch.0);
    to.put_u64_le(transfer.number);
}

pub(super) fn decode_transfer(from: &mut Fields) -> Result<TransferId, WireError> {
    Ok(TransferId {
        sender: Office {
            member: StorageId(from.u64()?),
            incarnation: Incarnation(from.u64()?),
        },
        epoch: Epoch(from.u64()?),
        number: from.u64()?,
    })
}

pub(super) fn encode_step(step: &CopyStep, to: &mut BytesMut) {
    match step {
        CopyStep::Begin(meta) => {
            to.put_u8(1);
            encode_meta(meta, to);
        }
        CopyStep::Chunk(chunk) => {
            to.put_u8(2);
            encode_chunk(chunk, to);
        }
        CopyStep::Ack(number) => {
            to.put_u8(3);
            to.put_u64_le(*number);
        }
        CopyStep::End(why) => {
            to.put_u8(4);
            to.put_u8(why.number());
        }
    }
}

pub(super) fn decode_step(from: &mut Fields) -> Result<CopyStep, WireError> {
    let unknown = |what, kind| WireError::Unknown { what, kind };
    Ok(match from.u8()? {
        1 => CopyStep::Begin(decode_meta(from)?),
        2 => CopyStep::Chunk(decode_chunk(from)?),
        3 => CopyStep::Ack(from.u64()?),
        4 => {
            let why = from.u8()?;
            CopyStep::End(Ended::from_number(why).ok_or_else(|| unknown("end of a copy", why))?)
        }
        kind => return Err(unknown("step of a copy", kind)),
    })
}

fn encode_chunk(chunk: &Chunk, to: &mut BytesMut) {
    to.put_u64_le(chunk.number);
    to.put_u8(u8::from(chunk.totals.is_some()));
    if let Some(totals) = chunk.totals {
        to.put_u64_le(totals.rows);
        to.put_u64_le(totals.bytes);
        to.put_u64_le(totals.checksum);
    }
    for (key, value) in &chunk.pairs {
        put_bytes(to, key);
        put_bytes(to, value);
    }
}

fn decode_chunk(from: &mut Fields) -> Result<Chunk, WireError> {
    let number = from.u64()?;
    let totals = if from.flag()? {
        Some(Totals {
            rows: from.u64()?,
            bytes: from.u64()?,
            checksum: from.u64()?,
        })
    } else {
        None
    };
    let mut pairs = Vec::new();
    while !from.0.is_empty() {
        pairs.push((from.bytes()?, from.bytes()?));
    }
    Ok(Chunk {
        number,
        pairs,
        totals,
    })
}

fn encode_meta(meta: &SnapshotMeta, to: &mut BytesMut) {
    to.put_u64_le(meta.index);
    to.put_u64_le(meta.epoch.0);
    for start in &meta.history {
        to.put_u64_le(start.epoch.0);
        to.put_u64_le(start.index);
    }
}

fn decode_meta(from: &mut Fields) -> Result<SnapshotMeta, WireError> {
    let (index, epoch) = (from.u64()?, Epoch(from.u64()?));
    let mut history = Vec::new();
    while !from.0.is_empty() {
        history.push(EpochStartsAt {
            epoch: Epoch(from.u64()?),
            index: from.u64()?,
        });
    }
    Ok(SnapshotMeta {
        index,
        epoch,
        history,
    })
}
