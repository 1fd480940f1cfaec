//! Keys of rows: typed key values and their encoding, whose byte order is the order of the
//! values. Knows nothing of how tables name their keys.
//!
//! A part is a tag, then its content. A partition key ends in itself (text and binary escape
//! 0x00 as 0x00 0xFF and end with 0x00 0x01), so that all rows of one partition key share a
//! prefix that no other partition key has. A sort key comes last and needs no escape.
//! Numbers: sign, exponent, two digits a byte, a terminator; all inverted when negative.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use tablestore_item::EXPONENT_MIN;
use thiserror::Error;

use super::{Decimal, FieldError, Value};

const STRING: u8 = 0x10;
const NUMBER: u8 = 0x11;
const BINARY: u8 = 0x12;

const NEGATIVE: u8 = 0x01;
const ZERO: u8 = 0x02;
const POSITIVE: u8 = 0x03;

/// The type of a key part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// UTF-8 text, ordered by its bytes.
    String,
    /// A decimal number, ordered by value.
    Number,
    /// Bytes, ordered as bytes.
    Binary,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Binary => "binary",
        })
    }
}

/// The value of a key part. Values of one type are ordered as their encodings are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyValue {
    /// UTF-8 text.
    String(String),
    /// A decimal number.
    Number(Decimal),
    /// Bytes.
    Binary(Bytes),
}

impl KeyValue {
    /// The type of the value.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        match self {
            Self::String(_) => KeyType::String,
            Self::Number(_) => KeyType::Number,
            Self::Binary(_) => KeyType::Binary,
        }
    }

    /// A key part given as text in a URL (already percent-decoded): a number in decimal
    /// notation, binary as base64url with or without padding.
    ///
    /// # Errors
    /// If the text is not of the type, or empty; the path is left for the caller to prefix.
    pub fn from_text(key_type: KeyType, text: &str) -> Result<Self, FieldError> {
        if text.is_empty() {
            return Err(FieldError::new("a key that is not empty", "an empty one"));
        }
        match key_type {
            KeyType::String => Ok(Self::String(text.to_owned())),
            KeyType::Number => match text.parse::<Decimal>() {
                Ok(number) => Ok(Self::Number(number)),
                Err(error) => Err(FieldError::new("a number", format!("{error}: {text:?}"))),
            },
            KeyType::Binary => URL_SAFE_NO_PAD
                .decode(text)
                .or_else(|_| URL_SAFE.decode(text))
                .map(|bytes| Self::Binary(bytes.into()))
                .map_err(|_| FieldError::new("base64url", format!("{text:?}"))),
        }
    }

    /// The inverse of [`from_text`](Self::from_text).
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Binary(bytes) => URL_SAFE_NO_PAD.encode(bytes),
        }
    }

    /// A key part from an attribute value.
    ///
    /// # Errors
    /// If the value has another type or is empty.
    pub fn from_value(key_type: KeyType, value: Value) -> Result<Self, FieldError> {
        let key = match (key_type, value) {
            (KeyType::String, Value::String(text)) => Self::String(text),
            (KeyType::Number, Value::Number(number)) => Self::Number(number),
            (KeyType::Binary, Value::Binary(bytes)) => Self::Binary(bytes),
            (key_type, value) => {
                return Err(FieldError::new(key_type.to_string(), value.kind()));
            }
        };
        if key.size_bytes() == 0 {
            return Err(FieldError::new("a key that is not empty", "an empty one"));
        }
        Ok(key)
    }

    /// The key part as an attribute value.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Self::String(text) => Value::String(text),
            Self::Number(number) => Value::Number(number),
            Self::Binary(bytes) => Value::Binary(bytes),
        }
    }

    /// The size that [`limits`](crate::limits) are about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Number(number) => number.size_bytes(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// The bytes are not an encoded row key: damaged or written by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an encoded row key")]
#[non_exhaustive]
pub struct KeyDecodeError;

/// The bytes of a partition key that are hashed onto the ring: text and binary as they are,
/// a number in its canonical text. A client computes the same without this crate.
#[must_use]
pub fn partition_key_bytes(partition_key: &KeyValue) -> Cow<'_, [u8]> {
    match partition_key {
        KeyValue::String(text) => Cow::Borrowed(text.as_bytes()),
        KeyValue::Number(number) => Cow::Owned(number.to_string().into_bytes()),
        KeyValue::Binary(bytes) => Cow::Borrowed(bytes),
    }
}

/// The key under which a row is stored.
#[must_use]
pub fn encode_row_key(partition_key: &KeyValue, sort_key: Option<&KeyValue>) -> Vec<u8> {
    let sort_bytes = sort_key.map_or(0, |key| key.size_bytes() + 4);
    let mut out = Vec::with_capacity(partition_key.size_bytes() + 4 + sort_bytes);
    encode_partition_key(partition_key, &mut out);
    if let Some(sort_key) = sort_key {
        encode_sort_key(sort_key, &mut out);
    }
    out
}

/// Appends the prefix that all rows of a partition key share.
pub fn encode_partition_key(key: &KeyValue, out: &mut Vec<u8>) {
    match key {
        KeyValue::String(text) => put_escaped(STRING, text.as_bytes(), out),
        KeyValue::Number(number) => put_number(*number, out),
        KeyValue::Binary(bytes) => put_escaped(BINARY, bytes, out),
    }
}

/// Appends a sort key, which ends the row key.
pub fn encode_sort_key(key: &KeyValue, out: &mut Vec<u8>) {
    match key {
        KeyValue::String(text) => {
            out.push(STRING);
            out.extend_from_slice(text.as_bytes());
        }
        KeyValue::Number(number) => put_number(*number, out),
        KeyValue::Binary(bytes) => {
            out.push(BINARY);
            out.extend_from_slice(bytes);
        }
    }
}

/// The least key that is greater than every key with this prefix; `None` if there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The partition key and sort key of a row key.
///
/// # Errors
/// If the bytes are not a row key.
pub fn decode_row_key(bytes: &[u8]) -> Result<(KeyValue, Option<KeyValue>), KeyDecodeError> {
    let (&tag, rest) = bytes.split_first().ok_or(KeyDecodeError)?;
    let (partition_key, rest) = match tag {
        STRING => {
            let (content, rest) = take_escaped(rest)?;
            (
                KeyValue::String(String::from_utf8(content).map_err(|_| KeyDecodeError)?),
                rest,
            )
        }
        NUMBER => take_number(rest)?,
        BINARY => {
            let (content, rest) = take_escaped(rest)?;
            (KeyValue::Binary(content.into()), rest)
        }
        _ => return Err(KeyDecodeError),
    };
    let Some((&tag, rest)) = rest.split_first() else {
        return Ok((partition_key, None));
    };
    let sort_key = match tag {
        STRING => KeyValue::String(
            std::str::from_utf8(rest)
                .map_err(|_| KeyDecodeError)?
                .to_owned(),
        ),
        NUMBER => match take_number(rest)? {
            (key, []) => key,
            _ => return Err(KeyDecodeError),
        },
        BINARY => KeyValue::Binary(Bytes::copy_from_slice(rest)),
        _ => return Err(KeyDecodeError),
    };
    Ok((partition_key, Some(sort_key)))
}

fn put_escaped(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[0x00, 0xFF]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0x00, 0x01]);
}

fn take_escaped(mut bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), KeyDecodeError> {
    let mut content = Vec::with_capacity(bytes.len());
    loop {
        let at = bytes
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(KeyDecodeError)?;
        content.extend_from_slice(&bytes[..at]);
        match bytes.get(at + 1) {
            Some(0xFF) => content.push(0),
            Some(0x01) => return Ok((content, &bytes[at + 2..])),
            _ => return Err(KeyDecodeError),
        }
        bytes = &bytes[at + 2..];
    }
}

fn put_number(number: Decimal, out: &mut Vec<u8>) {
    out.push(NUMBER);
    match number.cmp(&Decimal::ZERO) {
        Ordering::Equal => return out.push(ZERO),
        Ordering::Less => out.push(NEGATIVE),
        Ordering::Greater => out.push(POSITIVE),
    }
    let start = out.len();
    out.push(u8::try_from(number.leading_exponent() - EXPONENT_MIN).expect("range is 256 wide"));
    let mut digits = number.digits();
    let length = digits.ilog10() + 1;
    if !length.is_multiple_of(2) {
        digits *= 10;
    }
    // Pairs from the most significant; each is 1..=100, so that the terminator 0 sorts first.
    for pair in (0..length.div_ceil(2)).rev() {
        out.push((digits / 100u128.pow(pair) % 100) as u8 + 1);
    }
    out.push(0);
    if number.is_negative() {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
}

fn take_number(bytes: &[u8]) -> Result<(KeyValue, &[u8]), KeyDecodeError> {
    let (&sign, rest) = bytes.split_first().ok_or(KeyDecodeError)?;
    if sign == ZERO {
        return Ok((KeyValue::Number(Decimal::ZERO), rest));
    }
    let negative = sign == NEGATIVE;
    if !negative && sign != POSITIVE {
        return Err(KeyDecodeError);
    }
    let flip = |byte: u8| if negative { !byte } else { byte };
    let (&exponent, rest) = rest.split_first().ok_or(KeyDecodeError)?;
    let end = rest
        .iter()
        .position(|byte| flip(*byte) == 0)
        .ok_or(KeyDecodeError)?;
    if end == 0 || end > 19 {
        return Err(KeyDecodeError);
    }
    let mut digits = 0u128;
    for byte in &rest[..end] {
        let pair = flip(*byte) - 1;
        if pair > 99 {
            return Err(KeyDecodeError);
        }
        digits = digits * 100 + u128::from(pair);
    }
    // The first pair holds two digits unless it has a leading zero, which it never has.
    let leading = i32::from(flip(exponent)) + EXPONENT_MIN;
    let length = 2 * end as i32;
    let number = Decimal::from_parts(negative, digits, leading - (length - 1))
        .map_err(|_| KeyDecodeError)?;
    if number.leading_exponent() != leading {
        return Err(KeyDecodeError);
    }
    Ok((KeyValue::Number(number), &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::testing::golden::{Golden, hex};
    use crate::testing::items::{any_decimal, any_key};
    use proptest::prelude::*;

    fn text(key: &str) -> KeyValue {
        KeyValue::String(key.into())
    }

    fn number(key: &str) -> KeyValue {
        KeyValue::Number(key.parse().unwrap())
    }

    #[test]
    fn the_encoding_of_keys_does_not_change() {
        let keys = [
            encode_row_key(&text("user-1"), None),
            encode_row_key(&text("a\0b"), Some(&number("42"))),
            encode_row_key(&number("-12.5"), Some(&text("x"))),
            encode_row_key(&number("0"), Some(&KeyValue::Binary(vec![0, 255].into()))),
            encode_row_key(&KeyValue::Binary(vec![0, 1].into()), None),
        ];
        let golden = Golden {
            format: "row keys",
            number: "DIRECTORY_FORMAT",
            file: "keys.txt",
            text: include_str!("../../testdata/keys.txt"),
        };
        let hex: Vec<String> = keys.iter().map(|key| hex(key)).collect();
        golden.check(&hex.join("\n"));
    }

    #[test]
    fn the_hashed_bytes_of_a_partition_key_do_not_change() {
        assert_eq!(&*partition_key_bytes(&text("user-1")), b"user-1");
        assert_eq!(&*partition_key_bytes(&number("1.50e1")), b"15");
        assert_eq!(
            &*partition_key_bytes(&KeyValue::Binary(vec![0, 7].into())),
            &[0, 7]
        );
    }

    #[test]
    fn keys_as_text_are_parsed_by_their_type() {
        assert_eq!(
            KeyValue::from_text(KeyType::String, "7").unwrap(),
            text("7")
        );
        assert_eq!(
            KeyValue::from_text(KeyType::Number, "7.0").unwrap(),
            number("7")
        );
        let binary = KeyValue::Binary(vec![0xfb, 0xff].into());
        assert_eq!(KeyValue::from_text(KeyType::Binary, "-_8").unwrap(), binary);
        assert_eq!(
            KeyValue::from_text(KeyType::Binary, "-_8=").unwrap(),
            binary
        );
        assert_eq!(binary.to_text(), "-_8");
        let error = KeyValue::from_text(KeyType::Number, "seven")
            .unwrap_err()
            .within("id");
        assert_eq!(
            error.to_string(),
            "id: expected a number, found not a decimal number: \"seven\""
        );
        assert!(KeyValue::from_text(KeyType::String, "").is_err());
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_without_it() {
        assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(prefix_end(&[1, 0xFF]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xFF]), None);
    }

    proptest! {
        #[test]
        fn row_keys_round_trip(pk in any_key(), sk in proptest::option::of(any_key())) {
            let encoded = encode_row_key(&pk, sk.as_ref());
            prop_assert_eq!(decode_row_key(&encoded), Ok((pk, sk)));
        }

        #[test]
        fn numbers_keep_their_order(a in any_decimal(), b in any_decimal(), c in any_decimal()) {
            let encode = |pk, sk| {
                encode_row_key(&KeyValue::Number(pk), Some(&KeyValue::Number(sk)))
            };
            prop_assert_eq!(encode(a, c).cmp(&encode(b, c)), a.cmp(&b));
            prop_assert_eq!(encode(c, a).cmp(&encode(c, b)), a.cmp(&b));
        }

        #[test]
        fn bytes_keep_their_order(
            a in proptest::collection::vec(0u8..3, 0..6),
            b in proptest::collection::vec(0u8..3, 0..6),
            c in proptest::collection::vec(0u8..3, 0..6),
            d in proptest::collection::vec(0u8..3, 0..6),
        ) {
            let encode = |pk: &[u8], sk: &[u8]| encode_row_key(
                &KeyValue::Binary(pk.to_vec().into()), Some(&KeyValue::Binary(sk.to_vec().into())));
            prop_assert_eq!(encode(&a, &c).cmp(&encode(&b, &d)), (&a, &c).cmp(&(&b, &d)));
        }

        #[test]
        fn a_prefix_holds_the_rows_of_one_partition_key(
            a in any_key(),
            b in any_key(),
            sk in any_key(),
        ) {
            let mut prefix = Vec::new();
            encode_partition_key(&a, &mut prefix);
            prop_assert!(encode_row_key(&a, Some(&sk)).starts_with(&prefix));
            prop_assert_eq!(encode_row_key(&b, Some(&sk)).starts_with(&prefix), a == b);
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode_row_key(&bytes);
        }
    }
}
