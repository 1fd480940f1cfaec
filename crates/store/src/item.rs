//! Typed items: the values of a row's attributes and of its keys. Knows nothing of tables or
//! of where rows are kept.

pub mod codec;
mod decimal;
pub mod json;
mod json_parse;
pub mod key;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use decimal::{Decimal, NumberError};
pub use json::FieldError;
pub use key::{KeyType, KeyValue};

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
}

/// The attributes of a row.
pub type Item = BTreeMap<String, Value>;
