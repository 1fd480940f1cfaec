//! The little of protobuf that etcd's key-value messages need, by hand.
//!
//! Knows nothing about connections. Message and field numbers are those of etcd's `rpc.proto` and
//! `kv.proto`.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The fields of `PutRequest` and, for the key, of `RangeRequest`.
const KEY: u64 = 1;
const VALUE: u64 = 2;
/// `RangeResponse.kvs`.
const PAIRS: u64 = 2;
/// `KeyValue.value`.
const PAIR_VALUE: u64 = 5;

/// Wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// A message of gRPC is preceded by a flag, which says "not compressed", and by its length.
const PREFIX_BYTES: usize = 5;
/// Tags and lengths of the two fields, at most.
const OVERHEAD_BYTES: usize = 2 * (1 + 5);

/// `PutRequest` as a gRPC message: no lease, no previous value asked for.
pub(crate) fn put(key: &str, value: &str) -> Bytes {
    message(&[(KEY, key), (VALUE, value)])
}

/// `RangeRequest` for one key as a gRPC message; linearizable, which is its default.
pub(crate) fn range(key: &str) -> Bytes {
    message(&[(KEY, key)])
}

/// The message inside of an answer's body, if all of it is there.
pub(crate) fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = body.split_at_checked(PREFIX_BYTES)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    let whole = prefix[0] == 0 && rest.len() == usize::try_from(length).ok()?;
    whole.then_some(rest)
}

/// The value of the first pair of a `RangeResponse`.
pub(crate) fn first_value(message: &[u8]) -> Option<&[u8]> {
    bytes_field(bytes_field(message, PAIRS)?, PAIR_VALUE)
}

fn message(fields: &[(u64, &str)]) -> Bytes {
    let content: usize = fields.iter().map(|(_, text)| text.len()).sum();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + OVERHEAD_BYTES + content);
    bytes.put_bytes(0, PREFIX_BYTES);
    for (number, text) in fields {
        put_varint(&mut bytes, number << 3 | BYTES);
        put_varint(&mut bytes, text.len() as u64);
        bytes.put_slice(text.as_bytes());
    }
    let length = u32::try_from(bytes.len() - PREFIX_BYTES).expect("a row is small");
    bytes[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    bytes.freeze()
}

fn put_varint(bytes: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

/// The first field with this number and of type bytes.
fn bytes_field(mut message: &[u8], number: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let content = match tag & 7 {
            VARINT => {
                take_varint(&mut message)?;
                continue;
            }
            FIXED_64 => take(&mut message, 8)?,
            FIXED_32 => take(&mut message, 4)?,
            BYTES => {
                let length = take_varint(&mut message)?;
                take(&mut message, usize::try_from(length).ok()?)?
            }
            _ => return None,
        };
        if tag == number << 3 | BYTES {
            return Some(content);
        }
    }
    None
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(message, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn requests_are_what_protoc_would_write() {
        assert_eq!(put("k", "vw")[..], *b"\0\0\0\0\x07\x0a\x01k\x12\x02vw");
        assert_eq!(range("key")[..], *b"\0\0\0\0\x05\x0a\x03key");
        let long = "x".repeat(300);
        let put = put("k", &long);
        assert_eq!(put[..11], *b"\0\0\0\x01\x32\x0a\x01k\x12\xac\x02");
        assert_eq!(unframed(&put).unwrap().len(), 306);
        assert_eq!(
            bytes_field(unframed(&put).unwrap(), VALUE).unwrap(),
            long.as_bytes()
        );
    }

    #[test]
    fn the_value_is_found_behind_fields_of_all_types() {
        // header { cluster_id: 300 }, kvs { key, create_revision, version, value }, count: 1
        let pair = b"\x0a\x01k\x10\xac\x02\x20\x01\x2a\x03abc";
        let mut answer = b"\x0a\x03\x08\xac\x02\x12".to_vec();
        answer.push(u8::try_from(pair.len()).unwrap());
        answer.extend_from_slice(pair);
        answer.extend_from_slice(b"\x20\x01");
        assert_eq!(first_value(&answer).unwrap(), b"abc");
        let fixed = [b"\x09abcdefgh\x0dabcd".as_slice(), &answer].concat();
        assert_eq!(first_value(&fixed).unwrap(), b"abc");
    }

    #[test]
    fn what_is_cut_off_or_missing_has_no_value() {
        assert_eq!(first_value(b"\x0a\x03\x08\xac\x02\x20\x01"), None);
        let answer = b"\x12\x05\x2a\x03abc";
        for cut in 0..answer.len() {
            assert_eq!(first_value(&answer[..cut]), None, "{cut}");
        }
        assert_eq!(unframed(b"\0\0\0\0\x02a"), None);
        assert_eq!(unframed(b"\x01\0\0\0\x01a"), None, "compressed");
        assert_eq!(unframed(b"\0\0"), None);
    }
}
