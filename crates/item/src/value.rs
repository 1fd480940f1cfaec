//! The value of an attribute. Knows nothing of how it is written.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::{Decimal, json};

/// The attributes of a row.
pub type Item = BTreeMap<String, Value>;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Present, without a value.
    Null,
    /// True or false.
    Bool(bool),
    /// An exact decimal number of up to 38 digits.
    Number(Decimal),
    /// UTF-8 text.
    String(String),
    /// Bytes; in JSON `{"$binary":"<base64>"}`.
    Binary(Bytes),
    /// Values in order, of any types.
    List(Vec<Value>),
    /// Named values.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// What the value is, in the words of error messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Binary(_) => "binary",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The number as an integer of 64 bits, if it is exactly one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.to_u64()
    }

    /// The same with a sign.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.to_i64()
    }
}

/// The value as JSON, every digit of its numbers included.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        json::write_value(self, &mut out);
        f.write_str(std::str::from_utf8(&out).expect("JSON is UTF-8"))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Number(i64::from(value).into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Number(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Number(u64::from(value).into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}

impl From<Decimal> for Value {
    fn from(value: Decimal) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Binary(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Self::List(value)
    }
}

impl From<Item> for Value {
    fn from(value: Item) -> Self {
        Self::Map(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn integers_of_64_bits_come_out_as_they_went_in_and_nothing_else_does() {
        for value in [0, 1, (1 << 53) + 1, u64::MAX] {
            assert_eq!(Value::from(value).as_u64(), Some(value));
        }
        for value in [i64::MIN, -1, i64::MAX] {
            assert_eq!(Value::from(value).as_i64(), Some(value));
        }
        for text in ["18446744073709551616", "-1", "0.5"] {
            let value = Value::Number(text.parse().unwrap());
            assert_eq!(value.as_u64(), None, "{text}");
        }
        assert_eq!(Value::from("1").as_u64(), None);
    }

    #[test]
    fn a_value_is_shown_as_json() {
        let list = vec![Value::from("é\n"), Value::Null, Value::from(1u64 << 63)];
        let item = Item::from([("a".to_owned(), Value::List(list))]);
        assert_eq!(
            Value::from(item).to_string(),
            r#"{"a":["é\n",null,9223372036854775808]}"#
        );
    }
}
