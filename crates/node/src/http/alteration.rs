//! What of a table is to become different, as JSON: parsed strictly.
//!
//! Knows nothing of what a table is, nor of how it is altered.

use serde_json::Value;
use tablestore_contract::TableAlteration;
use tablestore_placement::{Alteration, REPLICAS_MAX};

use super::problem::{Kind, Problem};

/// Parses the body of a request that alters a table.
///
/// # Errors
/// Names the field and what is expected of it.
pub(crate) fn parse(body: &[u8]) -> Result<Alteration, Problem> {
    const EXPECTED: &str = "a JSON object with replicas, min_in_sync or both";
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Problem::invalid("body", EXPECTED, error))?;
    let Value::Object(fields) = value else {
        return Err(Problem::invalid("body", EXPECTED, value));
    };
    let mut alteration = Alteration::default();
    for (name, value) in &fields {
        let field = match name.as_str() {
            "replicas" => &mut alteration.replicas,
            "min_in_sync" => &mut alteration.min_in_sync,
            _ => {
                let known = &TableAlteration::FIELDS;
                return Err(Problem::unknown(Kind::UnknownField, name, known));
            }
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (1..=REPLICAS_MAX).contains(number));
        if number.is_none() {
            let expected = format!("a whole number from 1 to {REPLICAS_MAX}");
            return Err(Problem::invalid(name, expected, value));
        }
        *field = number;
    }
    if fields.is_empty() {
        return Err(Problem::invalid("body", EXPECTED, "an empty one"));
    }
    Ok(alteration)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_is_named_becomes_different() {
        let both = parse(br#"{"replicas":5,"min_in_sync":3}"#).unwrap();
        assert_eq!((both.replicas, both.min_in_sync), (Some(5), Some(3)));
        let one = parse(br#"{"min_in_sync":1}"#).unwrap();
        assert_eq!((one.replicas, one.min_in_sync), (None, Some(1)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "invalid_request", "body"),
            ("[]", "invalid_request", "body"),
            ("{}", "invalid_request", "body"),
            (r#"{"replicas":0}"#, "invalid_request", "replicas"),
            (r#"{"replicas":8}"#, "invalid_request", "replicas"),
            (r#"{"replicas":null}"#, "invalid_request", "replicas"),
            (r#"{"replicas":"3"}"#, "invalid_request", "replicas"),
            (r#"{"min_in_sync":-1}"#, "invalid_request", "min_in_sync"),
            (r#"{"partitions":64}"#, "unknown_field", "partitions"),
            (r#"{"strategy":"active"}"#, "unknown_field", "strategy"),
        ];
        for (text, code, field) in cases {
            let problem = parse(text.as_bytes()).unwrap_err();
            let found = (problem.kind.entry().code, problem.field.as_deref());
            assert_eq!(found, (code, Some(field)), "{text}");
            assert!(problem.expected.is_some(), "{text}");
        }
    }
}
