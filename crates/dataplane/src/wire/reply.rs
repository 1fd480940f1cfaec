//! The bytes of answers to forwarded requests. Knows nothing of who waits for one.

use bytes::{BufMut, BytesMut};
use tablestore_placement::Epoch;

use super::field::{Fields, put_bytes};
use super::frame::WireError;
use crate::request::{Answer, Failure, Reply};

pub(super) fn encode_reply(reply: &Reply, to: &mut BytesMut) {
    to.put_u64_le(reply.epoch.0);
    match &reply.result {
        Ok(Answer::Written {
            code,
            version,
            repeated,
        }) => {
            to.put_u8(1);
            to.put_u16_le(*code);
            to.put_u64_le(*version);
            to.put_u8(u8::from(*repeated));
        }
        Ok(Answer::Row(None)) => to.put_u8(2),
        Ok(Answer::Row(Some(row))) => {
            to.put_u8(3);
            put_bytes(to, row);
        }
        Ok(Answer::Page { rows, more }) => {
            to.put_u8(4);
            to.put_u8(u8::from(*more));
            for (key, value) in rows {
                put_bytes(to, key);
                put_bytes(to, value);
            }
        }
        Ok(Answer::Checksums { index, replicas }) => {
            to.put_u8(5);
            to.put_u64_le(*index);
            for (node, sum) in replicas {
                to.put_u64_le(*node);
                match sum {
                    Ok(sum) => {
                        to.put_u8(1);
                        to.put_u64_le(*sum);
                    }
                    Err(reason) => {
                        to.put_u8(0);
                        put_bytes(to, reason.as_bytes());
                    }
                }
            }
        }
        Err(failure) => {
            to.put_u8(0);
            to.put_u8(failure.number());
        }
    }
}

pub(super) fn decode_reply(from: &mut Fields) -> Result<Reply, WireError> {
    let epoch = Epoch(from.u64()?);
    let result = match from.u8()? {
        0 => {
            let kind = from.u8()?;
            Err(Failure::from_number(kind).ok_or(WireError::Unknown {
                what: "failure",
                kind,
            })?)
        }
        1 => Ok(Answer::Written {
            code: from.u16()?,
            version: from.u64()?,
            repeated: from.flag()?,
        }),
        2 => Ok(Answer::Row(None)),
        3 => Ok(Answer::Row(Some(from.bytes()?))),
        4 => {
            let more = from.flag()?;
            let mut rows = Vec::new();
            while !from.0.is_empty() {
                rows.push((from.bytes()?, from.bytes()?));
            }
            Ok(Answer::Page { rows, more })
        }
        5 => {
            let index = from.u64()?;
            let mut replicas = Vec::new();
            while !from.0.is_empty() {
                let node = from.u64()?;
                let sum = if from.flag()? {
                    Ok(from.u64()?)
                } else {
                    Err(from.text()?)
                };
                replicas.push((node, sum));
            }
            Ok(Answer::Checksums { index, replicas })
        }
        kind => {
            return Err(WireError::Unknown {
                what: "reply",
                kind,
            });
        }
    };
    Ok(Reply { epoch, result })
}
