//! The binary form of items and row values. Compact, one form for one item. Knows nothing of
//! keys and of what stores it.
//!
//! Item: count, then for each attribute in ascending order of name: name length, name, value.
//! Value: a tag byte, then by tag; lengths and counts are LEB128. Row value: the row's version
//! (8 bytes, little-endian), then the item.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::{Decimal, Item, Value};
use crate::limits::DEPTH_MAX;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const NUMBER_NEGATIVE: u8 = 4;
const STRING: u8 = 5;
const BINARY: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;

/// The bytes of a row's version in front of its item.
pub const VERSION_BYTES: usize = 8;

/// The bytes are not an item. They were damaged or written by something else; nothing was
/// changed, and reading them again will not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an encoded item: {what} at byte {offset}")]
#[non_exhaustive]
pub struct CodecError {
    /// What was wrong.
    pub what: &'static str,
    /// How far from the end of the input it was noticed.
    pub offset: usize,
}

/// Appends the binary form of `item`.
pub fn encode_item(item: &Item, out: &mut Vec<u8>) {
    encode_map(item, out);
}

/// Reads an item that fills `bytes`.
///
/// # Errors
/// If the bytes are not exactly one encoded item.
pub fn decode_item(bytes: &[u8]) -> Result<Item, CodecError> {
    let mut input = Input { bytes };
    let item = decode_map(&mut input, 0)?;
    if input.bytes.is_empty() {
        Ok(item)
    } else {
        Err(input.error("bytes after the item"))
    }
}

/// Appends a row value: the version and the item.
pub fn encode_row(version: u64, item: &Item, out: &mut Vec<u8>) {
    out.extend_from_slice(&version.to_le_bytes());
    encode_item(item, out);
}

/// Reads a row value.
///
/// # Errors
/// If the bytes are not a row value.
pub fn decode_row(bytes: &[u8]) -> Result<(u64, Item), CodecError> {
    let (version, item) = split_row(bytes)?;
    Ok((version, decode_item(item)?))
}

/// The version of a row value and the encoded item after it.
///
/// # Errors
/// If there are too few bytes for a version.
pub fn split_row(bytes: &[u8]) -> Result<(u64, &[u8]), CodecError> {
    let (version, item) = bytes
        .split_first_chunk::<VERSION_BYTES>()
        .ok_or(CodecError {
            what: "a version cut short",
            offset: bytes.len(),
        })?;
    Ok((u64::from_le_bytes(*version), item))
}

fn encode_map(map: &BTreeMap<String, Value>, out: &mut Vec<u8>) {
    put_varint(map.len() as u128, out);
    for (name, value) in map {
        put_bytes(name.as_bytes(), out);
        encode_value(value, out);
    }
}

fn encode_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Number(number) => {
            out.push(if number.is_negative() {
                NUMBER_NEGATIVE
            } else {
                NUMBER
            });
            put_varint(zigzag(number.exponent()), out);
            put_varint(number.digits(), out);
        }
        Value::String(text) => {
            out.push(STRING);
            put_bytes(text.as_bytes(), out);
        }
        Value::Binary(bytes) => {
            out.push(BINARY);
            put_bytes(bytes, out);
        }
        Value::List(values) => {
            out.push(LIST);
            put_varint(values.len() as u128, out);
            for value in values {
                encode_value(value, out);
            }
        }
        Value::Map(map) => {
            out.push(MAP);
            encode_map(map, out);
        }
    }
}

fn decode_map(input: &mut Input<'_>, depth: usize) -> Result<BTreeMap<String, Value>, CodecError> {
    let count = input.length()?;
    let mut map = BTreeMap::new();
    for _ in 0..count {
        let name = input.text()?.to_owned();
        let value = decode_value(input, depth)?;
        map.insert(name, value);
    }
    if map.len() == count {
        Ok(map)
    } else {
        Err(input.error("a repeated name"))
    }
}

fn decode_value(input: &mut Input<'_>, depth: usize) -> Result<Value, CodecError> {
    if depth > DEPTH_MAX {
        return Err(input.error("nesting too deep"));
    }
    let tag = input.byte()?;
    Ok(match tag {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        NUMBER | NUMBER_NEGATIVE => {
            let exponent = unzigzag(input.varint()?).ok_or_else(|| input.error("an exponent"))?;
            let digits = input.varint()?;
            let number = Decimal::from_parts(tag == NUMBER_NEGATIVE, digits, exponent);
            Value::Number(number.map_err(|_| input.error("a number out of range"))?)
        }
        STRING => Value::String(input.text()?.to_owned()),
        BINARY => {
            let length = input.length()?;
            Value::Binary(Bytes::copy_from_slice(input.take(length)?))
        }
        LIST => {
            let count = input.length()?;
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                values.push(decode_value(input, depth + 1)?);
            }
            Value::List(values)
        }
        MAP => Value::Map(decode_map(input, depth + 1)?),
        _ => return Err(input.error("an unknown tag")),
    })
}

pub(crate) fn put_varint(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u128, out);
    out.extend_from_slice(bytes);
}

fn zigzag(value: i16) -> u128 {
    u128::from(((value << 1) ^ (value >> 15)) as u16)
}

fn unzigzag(value: u128) -> Option<i32> {
    let value = i32::from(u16::try_from(value).ok()?);
    Some((value >> 1) ^ -(value & 1))
}

/// What is left of the bytes to decode.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn error(&self, what: &'static str) -> CodecError {
        CodecError {
            what,
            offset: self.bytes.len(),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self
            .bytes
            .split_first()
            .ok_or_else(|| self.error("an early end"))?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| self.error("an early end"))?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        let (head, rest) = self
            .bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| self.error("an early end"))?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*head))
    }

    pub(crate) fn varint(&mut self) -> Result<u128, CodecError> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("an endless number"))
    }

    /// A length or count; never more than the bytes that are left, so that it bounds memory.
    pub(crate) fn length(&mut self) -> Result<usize, CodecError> {
        let length = self.varint()?;
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.bytes.len())
            .ok_or_else(|| self.error("a length beyond the end"))
    }

    pub(crate) fn sized(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, CodecError> {
        let bytes = self.sized()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text that is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::testing::golden::{Golden, hex};
    use crate::testing::items::{any_item, sample_item};
    use proptest::prelude::*;

    #[test]
    fn the_encoding_of_an_item_does_not_change() {
        let mut out = Vec::new();
        encode_row(7, &sample_item(), &mut out);
        let golden = Golden {
            format: "rows",
            number: "DIRECTORY_FORMAT",
            file: "items.txt",
            text: include_str!("../../testdata/items.txt"),
        };
        golden.check(&hex(&out));
    }

    #[test]
    fn cut_short_bytes_are_an_error_and_never_a_panic() {
        let mut out = Vec::new();
        encode_item(&sample_item(), &mut out);
        for length in 0..out.len() {
            assert!(decode_item(&out[..length]).is_err(), "{length}");
        }
        out.push(0);
        assert!(decode_item(&out).is_err());
    }

    proptest! {
        #[test]
        fn items_round_trip(item in any_item(), version: u64) {
            let mut out = Vec::new();
            encode_row(version, &item, &mut out);
            prop_assert_eq!(decode_row(&out), Ok((version, item)));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_item(&bytes);
        }
    }
}
