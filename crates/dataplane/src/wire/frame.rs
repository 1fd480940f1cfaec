//! The messages between data threads. Knows nothing of what is done with them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tablestore_placement::{Epoch, Incarnation, PartitionId};
use tablestore_replication::{Message, active, codec};

use super::copy::{CopyStep, decode_step, decode_transfer, encode_step, encode_transfer};
use super::field::{Fields, put_bytes};
use super::reply::{decode_reply, encode_reply};
use crate::request::{Correlation, Operation, Reply};
use crate::transfer::TransferId;

/// Why bytes from a peer were refused. The connection is closed; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A message ended early.
    #[error("a message ends early")]
    Truncated,
    /// A length beyond any we send.
    #[error("a message of {0} bytes")]
    TooLong(usize),
    /// A kind of message that this version does not know.
    #[error("unknown {what} {kind}")]
    Unknown {
        /// Of what.
        what: &'static str,
        /// The number found.
        kind: u8,
    },
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text,
    /// A replication message that cannot be read.
    #[error("a replication message cannot be read")]
    Replication(#[from] codec::DecodeError),
}

/// One message between data threads.
#[derive(Debug)]
pub(crate) enum DataMessage {
    /// For the replica of a partition.
    Replication {
        partition: PartitionId,
        message: Message,
    },
    /// A request that the sender's client asked and the receiver should answer.
    Forward {
        correlation: Correlation,
        partition: PartitionId,
        epoch: Epoch,
        /// The sender's way to the primary is broken: the receiver may ask it in its stead.
        relay: bool,
        operation: Operation,
    },
    /// The answer to a forwarded request, and the digest of what was asked.
    Reply {
        correlation: Correlation,
        question: u64,
        reply: Reply,
    },
    /// A copy of a partition on its way from a primary to a replica without log.
    Copy {
        partition: PartitionId,
        transfer: TransferId,
        step: CopyStep,
    },
    /// For the coordinator or the replica of a partition of an active table.
    Active {
        partition: PartitionId,
        message: active::Message,
    },
    /// A replica's checksum at a mark.
    Checksum {
        partition: PartitionId,
        id: u64,
        index: u64,
        sums: Vec<u64>,
    },
}

/// Appends one message to a frame.
pub(crate) fn encode_message(message: &DataMessage, to: &mut BytesMut) {
    let start = to.len();
    to.put_u32_le(0);
    match message {
        DataMessage::Replication { partition, message } => {
            to.put_u8(1);
            to.put_u64_le(partition.to_u64());
            codec::encode(message, to);
        }
        DataMessage::Forward {
            correlation,
            partition,
            epoch,
            relay,
            operation,
        } => {
            to.put_u8(if *relay { 6 } else { 2 });
            encode_correlation(*correlation, to);
            to.put_u64_le(partition.to_u64());
            to.put_u64_le(epoch.0);
            encode_operation(operation, to);
        }
        DataMessage::Reply {
            correlation,
            question,
            reply,
        } => {
            to.put_u8(3);
            encode_correlation(*correlation, to);
            to.put_u64_le(*question);
            encode_reply(reply, to);
        }
        DataMessage::Copy {
            partition,
            transfer,
            step,
        } => {
            to.put_u8(4);
            to.put_u64_le(partition.to_u64());
            encode_transfer(*transfer, to);
            encode_step(step, to);
        }
        DataMessage::Active { partition, message } => {
            to.put_u8(7);
            to.put_u64_le(partition.to_u64());
            active::wire::encode(message, to);
        }
        DataMessage::Checksum {
            partition,
            id,
            index,
            sums,
        } => {
            to.put_u8(5);
            to.put_u64_le(partition.to_u64());
            to.put_u64_le(*id);
            to.put_u64_le(*index);
            sums.iter().for_each(|sum| to.put_u64_le(*sum));
        }
    }
    let length = u32::try_from(to.len() - start - 4).expect("a message is far below 4 GiB");
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// What one turn of a peer says, or a part of it.
#[derive(Debug)]
pub struct Frame(pub(crate) Vec<DataMessage>);

impl Frame {
    /// Takes the bytes of a frame apart, none of whose messages may be longer than
    /// `message_bytes_max`.
    ///
    /// # Errors
    /// At the first message that cannot be read: whoever sent it is broken.
    pub fn decode(mut bytes: Bytes, message_bytes_max: usize) -> Result<Self, WireError> {
        let mut messages = Vec::new();
        while bytes.has_remaining() {
            if bytes.remaining() < 5 {
                return Err(WireError::Truncated);
            }
            let length = bytes.get_u32_le() as usize;
            if length > message_bytes_max {
                return Err(WireError::TooLong(length));
            }
            if length == 0 || bytes.remaining() < length {
                return Err(WireError::Truncated);
            }
            messages.push(decode_message(Fields(bytes.split_to(length)))?);
        }
        Ok(Self(messages))
    }
}

fn encode_correlation(correlation: Correlation, to: &mut BytesMut) {
    to.put_u64_le(correlation.incarnation.0);
    to.put_u64_le(correlation.ticket);
}

fn decode_correlation(from: &mut Fields) -> Result<Correlation, WireError> {
    Ok(Correlation {
        incarnation: Incarnation(from.u64()?),
        ticket: from.u64()?,
    })
}

fn decode_message(mut from: Fields) -> Result<DataMessage, WireError> {
    Ok(match from.u8()? {
        1 => DataMessage::Replication {
            partition: PartitionId::from_u64(from.u64()?),
            message: codec::decode(from.rest())?,
        },
        kind @ (2 | 6) => DataMessage::Forward {
            correlation: decode_correlation(&mut from)?,
            partition: PartitionId::from_u64(from.u64()?),
            epoch: Epoch(from.u64()?),
            relay: kind == 6,
            operation: decode_operation(&mut from)?,
        },
        3 => DataMessage::Reply {
            correlation: decode_correlation(&mut from)?,
            question: from.u64()?,
            reply: decode_reply(&mut from)?,
        },
        4 => DataMessage::Copy {
            partition: PartitionId::from_u64(from.u64()?),
            transfer: decode_transfer(&mut from)?,
            step: decode_step(&mut from)?,
        },
        5 => {
            let partition = PartitionId::from_u64(from.u64()?);
            let (id, index) = (from.u64()?, from.u64()?);
            let mut sums = Vec::new();
            while !from.0.is_empty() {
                sums.push(from.u64()?);
            }
            DataMessage::Checksum {
                partition,
                id,
                index,
                sums,
            }
        }
        7 => DataMessage::Active {
            partition: PartitionId::from_u64(from.u64()?),
            message: active::wire::decode(from.rest())?,
        },
        kind => {
            return Err(WireError::Unknown {
                what: "message",
                kind,
            });
        }
    })
}

fn encode_operation(operation: &Operation, to: &mut BytesMut) {
    match operation {
        Operation::Write {
            request,
            digest,
            payload,
        } => {
            to.put_u8(1);
            to.put_u128_le(*request);
            to.put_u64_le(*digest);
            put_bytes(to, payload);
        }
        Operation::Get { key, strong } => {
            to.put_u8(2);
            to.put_u8(u8::from(*strong));
            put_bytes(to, key);
        }
        Operation::Scan {
            from,
            until,
            limit,
            reverse,
            strong,
        } => {
            to.put_u8(3);
            to.put_u8(u8::from(*reverse));
            to.put_u8(u8::from(*strong));
            to.put_u32_le(*limit);
            put_bytes(to, from);
            put_bytes(to, until);
        }
        Operation::Checksum => to.put_u8(4),
    }
}

fn decode_operation(from: &mut Fields) -> Result<Operation, WireError> {
    Ok(match from.u8()? {
        1 => Operation::Write {
            request: from.u128()?,
            digest: from.u64()?,
            payload: from.bytes()?,
        },
        2 => {
            let strong = from.flag()?;
            Operation::Get {
                key: from.bytes()?,
                strong,
            }
        }
        3 => {
            let (reverse, strong) = (from.flag()?, from.flag()?);
            let limit = from.u32()?;
            Operation::Scan {
                from: from.bytes()?,
                until: from.bytes()?,
                limit,
                reverse,
                strong,
            }
        }
        4 => Operation::Checksum,
        kind => {
            return Err(WireError::Unknown {
                what: "operation",
                kind,
            });
        }
    })
}

#[cfg(test)]
mod tests;
