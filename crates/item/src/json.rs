//! Items as JSON, directly from and to bytes: numbers keep 38 digits, binary is
//! `{"$binary":"<base64>"}`. Knows nothing of HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json_parse::Parser;
use crate::{DEPTH_MAX, Decimal, Item, Value};

/// The only name in an object that stands for binary.
pub const BINARY_NAME: &str = "$binary";

/// A field that is not what it must be. Nothing was changed; the caller's input is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where, as in `attributes.a[3].b`; empty for the whole input.
    pub path: String,
    /// What was expected there.
    pub expected: Cow<'static, str>,
    /// What was there instead.
    pub found: Cow<'static, str>,
}

impl FieldError {
    /// An error about the value at hand, see [`within`](Self::within).
    pub fn new(
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            path: String::new(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The same error seen from the object that has the value under `name`.
    #[must_use]
    pub fn within(mut self, name: &str) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, name);
        self
    }

    /// The same error seen from the list that has the value at `position`.
    #[must_use]
    pub fn within_list(mut self, position: usize) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, &format!("[{position}]"));
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for FieldError {}

/// Parses a JSON object into an item.
///
/// # Errors
/// If the bytes are not one JSON object, or a value in it cannot be kept exactly.
pub fn parse_object(bytes: &[u8]) -> Result<Item, FieldError> {
    match parse_value(bytes)? {
        Value::Map(item) => Ok(item),
        other => Err(FieldError::new("an object", other.kind())),
    }
}

/// Parses any JSON value, nested at most [`DEPTH_MAX`] deep.
///
/// # Errors
/// As [`parse_object`].
pub fn parse_value(bytes: &[u8]) -> Result<Value, FieldError> {
    parse_nested(bytes, DEPTH_MAX)
}

/// Parses any JSON value; for bodies that hold items some levels down.
///
/// # Errors
/// As [`parse_object`].
pub fn parse_nested(bytes: &[u8], depth_max: usize) -> Result<Value, FieldError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| FieldError::new("UTF-8", format!("byte {}", error.valid_up_to())))?;
    Parser::new(text, depth_max).document()
}

/// Appends the JSON form of an item.
pub fn write_object(item: &Item, out: &mut Vec<u8>) {
    out.push(b'{');
    for (position, (name, value)) in item.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

/// Appends the JSON form of a value.
pub fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_string(text, out),
        Value::Binary(bytes) => {
            out.extend_from_slice(b"{\"$binary\":\"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Value::List(values) => {
            out.push(b'[');
            for (position, value) in values.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(value, out);
            }
            out.push(b']');
        }
        Value::Map(map) => write_object(map, out),
    }
}

/// Appends a JSON string with its quotes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[start..at]);
        out.extend_from_slice(escape);
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        }
        start = at + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

fn write_number(number: Decimal, out: &mut Vec<u8>) {
    use std::io::Write as _;
    write!(out, "{number}").expect("writing to memory does not fail");
}

/// What an object stands for: binary if its only name says so, otherwise a map.
pub(crate) fn object(map: BTreeMap<String, Value>) -> Result<Value, FieldError> {
    if !map.contains_key(BINARY_NAME) {
        return Ok(Value::Map(map));
    }
    let expected = "an object with the one name $binary and base64 text";
    if map.len() > 1 {
        return Err(FieldError::new(expected, "other names beside $binary"));
    }
    match map.get(BINARY_NAME) {
        Some(Value::String(text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok(Value::Binary(bytes.into())),
            Err(_) => Err(FieldError::new("base64", "other text").within(BINARY_NAME)),
        },
        Some(other) => Err(FieldError::new("base64 text", other.kind()).within(BINARY_NAME)),
        None => Ok(Value::Map(map)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::testing::{any_item, sample_item};
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        parse_object(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_json_form_of_an_item_does_not_change() {
        let mut out = Vec::new();
        write_object(&sample_item(), &mut out);
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn numbers_keep_38_digits_and_their_canonical_form() {
        let text = r#"{"n":-1.2345678901234567890123456789012345678,"z":1e2,"zero":-0.0}"#;
        let item = parse_object(text.as_bytes()).unwrap();
        let mut out = Vec::new();
        write_object(&item, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"n":-1.2345678901234567890123456789012345678,"z":100,"zero":0}"#
        );
    }

    #[test]
    fn errors_name_the_path_and_what_was_expected() {
        let cases = [
            (r#"[1]"#, "expected an object, found a list"),
            (
                r#"{"a":[1,2,3,{"b":tru}]}"#,
                "a[3].b: expected a JSON value, found 't' at byte 17",
            ),
            (
                r#"{"a":{"b":1e400}}"#,
                "a.b: expected a number of at most 38 digits, found \
              magnitude above 9.9999999999999999999999999999999999999E+125",
            ),
            (
                r#"{"a":01}"#,
                "a: expected a number, found not a decimal number at byte 5",
            ),
            (
                r#"{"a":1,"a":2}"#,
                "a: expected a name only once, found it again",
            ),
            (
                r#"{"a":1,}"#,
                "expected a name in quotes, found '}' at byte 7",
            ),
            (
                r#"{"a":1"#,
                "expected ',' or '}', found the end of the input",
            ),
            (
                r#"{"a":1} x"#,
                "expected the end of the input, found 'x' at byte 8",
            ),
            (
                r#"{"a":"x"#,
                "a: expected a closing quote, found the end of the input",
            ),
            (
                r#"{"a":"\x"}"#,
                "a: expected an escape sequence, found 'x' at byte 7",
            ),
            (
                r#"{"a":"\ud800"}"#,
                "a: expected a low surrogate, found '\"' at byte 12",
            ),
            (
                r#"{"a":[{"$binary":"%%"}]}"#,
                "a[0].$binary: expected base64, found other text",
            ),
            (
                r#"{"a":{"$binary":1}}"#,
                "a.$binary: expected base64 text, found a number",
            ),
            (
                r#"{"a":{"$binary":"","x":1}}"#,
                "a: expected an object with the one name $binary \
              and base64 text, found other names beside $binary",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), expected, "{text}");
        }
        assert_eq!(
            error("{\"a\":\"\n\"}"),
            "a: expected an escaped control character, found '\\n' at byte 6"
        );
        assert!(parse_object(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(error(&nested(DEPTH_MAX)).ends_with("found deeper nesting"));
        assert!(error(&nested(100_000)).ends_with("found deeper nesting"));
    }

    #[test]
    fn escapes_mean_what_json_says() {
        let text = r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀"}"#;
        let item = parse_object(text.as_bytes()).unwrap();
        let expected = "\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}\u{e9}\u{1f600}";
        assert_eq!(item["a"], Value::String(expected.into()));
    }

    proptest! {
        #[test]
        fn items_round_trip_through_json(item in any_item()) {
            let mut out = Vec::new();
            write_object(&item, &mut out);
            prop_assert_eq!(parse_object(&out), Ok(item));
        }

        #[test]
        fn the_parser_agrees_with_serde_json(text in r#"[\[\]{}:,"a-c0-9.eE+ \\ntrulfs-]{0,24}"#) {
            let reference = serde_json::from_str::<serde_json::Value>(&text);
            match (parse_value(text.as_bytes()), reference) {
                (Ok(value), Ok(reference)) => {
                    let mut out = Vec::new();
                    write_value(&value, &mut out);
                    let mut ours: serde_json::Value = serde_json::from_slice(&out).unwrap();
                    let mut theirs = reference;
                    round(&mut ours);
                    round(&mut theirs);
                    prop_assert_eq!(ours, theirs);
                }
                // It takes the last of repeated names and rounds what we refuse.
                (Err(error), Ok(_)) => prop_assert!(
                    error.found == "it again" || error.expected.contains("38 digits"),
                    "{error}"
                ),
                // It refuses what does not fit an f64; 1E+125 always fits.
                (Ok(_), Err(error)) => prop_assert!(false, "{error}"),
                (Err(_), Err(_)) => {}
            }
        }
    }

    /// All numbers as `f64`, since `serde_json` tells 1 from 1.0.
    fn round(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Number(number) => *value = (number.as_f64().unwrap() + 0.0).into(),
            serde_json::Value::Array(values) => values.iter_mut().for_each(round),
            serde_json::Value::Object(map) => map.values_mut().for_each(round),
            _ => {}
        }
    }
}
