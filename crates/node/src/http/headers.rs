//! What requests say in headers: deadline, request id, conditions; and the names of the headers
//! that answers carry.
//!
//! Knows nothing of paths and bodies.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};
use tablestore_contract::headers as names;
use tablestore_store::Condition;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::problem::Problem;
use super::settings::{REQUEST_ID_BYTES_MAX, TIMEOUT, TIMEOUT_MAX};
use crate::api::RequestContext;

/// How long the client will wait, in milliseconds.
pub const TIMEOUT_MS: HeaderName = HeaderName::from_static(names::TIMEOUT_MS);
/// The node that answered.
pub const SERVED_BY: HeaderName = HeaderName::from_static(names::SERVED_BY);
/// The partition of the row, `table/partition`.
pub const PARTITION: HeaderName = HeaderName::from_static(names::PARTITION);
/// The epoch under which it was answered.
pub const EPOCH: HeaderName = HeaderName::from_static(names::EPOCH);
/// `true` when the answer is the remembered one of an earlier request with the same id.
pub const REPEATED: HeaderName = HeaderName::from_static(names::REPEATED);
/// Where a page of NDJSON goes on; absent at the end.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static(names::NEXT_CURSOR);
/// The request id.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(names::IDEMPOTENCY_KEY);

/// Deadline and request id.
///
/// # Errors
/// Names the header.
pub(crate) fn context(headers: &HeaderMap) -> Result<RequestContext, Problem> {
    Ok(RequestContext {
        deadline: deadline(headers)?,
        request: request_id(headers)?,
        quorum: None,
    })
}

/// When the request must be answered.
///
/// # Errors
/// Names the header.
pub(crate) fn deadline(headers: &HeaderMap) -> Result<Instant, Problem> {
    let Some(value) = headers.get(TIMEOUT_MS) else {
        return Ok(Instant::now() + TIMEOUT);
    };
    let text = value.to_str().unwrap_or("other bytes");
    let max = u64::try_from(TIMEOUT_MAX.as_millis()).expect("a minute of milliseconds fits");
    match text.parse::<u64>() {
        Ok(ms) if (1..=max).contains(&ms) => Ok(Instant::now() + Duration::from_millis(ms)),
        _ => {
            let expected = format!("a whole number of milliseconds from 1 to {max}");
            Err(Problem::invalid(
                TIMEOUT_MS.as_str(),
                expected,
                format!("{text:?}"),
            ))
        }
    }
}

/// The request id as 128 bits: a UUID's own, or the hash of anything else.
fn request_id(headers: &HeaderMap) -> Result<Option<u128>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    // The drafts of the header write it as a quoted string; the id is what is in it.
    let id = match bytes {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    };
    if id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX {
        let expected = format!("1 to {REQUEST_ID_BYTES_MAX} characters, best a UUID");
        let got = format!("{} characters", id.len());
        return Err(Problem::invalid("Idempotency-Key", expected, got));
    }
    Ok(Some(uuid(id).unwrap_or_else(|| xxh3_128(id))))
}

fn uuid(text: &[u8]) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let mut bits = 0u128;
    for (position, byte) in text.iter().enumerate() {
        if matches!(position, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        bits = bits << 4 | u128::from(char::from(*byte).to_digit(16)?);
    }
    Some(bits)
}

/// What must hold for a write.
///
/// # Errors
/// Names the header.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let if_match = headers.get(header::IF_MATCH);
    let if_none_match = headers.get(header::IF_NONE_MATCH);
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (Some(_), Some(_)) => {
            let expected = "only one of If-Match and If-None-Match";
            Err(Problem::invalid("If-None-Match", expected, "both"))
        }
        (Some(value), None) if value.as_bytes() == b"*" => Ok(Condition::IfPresent),
        (Some(value), None) => match version(value) {
            Some(version) => Ok(Condition::IfVersion(version)),
            None => {
                let expected = "a version in double quotes as ETag gave it, or *";
                Err(Problem::invalid("If-Match", expected, format!("{value:?}")))
            }
        },
        (None, Some(value)) if value.as_bytes() == b"*" => Ok(Condition::IfAbsent),
        (None, Some(value)) => Err(Problem::invalid("If-None-Match", "*", format!("{value:?}"))),
    }
}

/// The versions of which a read wants one by `If-Match`; `None` if any will do.
///
/// # Errors
/// Names the header.
pub(crate) fn wanted(headers: &HeaderMap) -> Result<Option<Vec<u64>>, Problem> {
    let value = match headers.get(header::IF_MATCH) {
        None => return Ok(None),
        Some(value) if value.as_bytes() == b"*" => return Ok(None),
        Some(value) => value,
    };
    let tags = value.to_str().unwrap_or_default().split(',');
    let versions: Option<Vec<u64>> = tags.map(|tag| parse_version(tag.trim())).collect();
    if versions.is_none() {
        let expected = "versions in double quotes as ETag gave them, or *";
        return Err(Problem::invalid("If-Match", expected, format!("{value:?}")));
    }
    Ok(versions)
}

/// Whether the client has this version of a row already.
pub(crate) fn has_version(headers: &HeaderMap, version_now: u64) -> bool {
    let Some(value) = headers.get(header::IF_NONE_MATCH) else {
        return false;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    text.split(',').any(|tag| {
        let tag = tag.trim();
        tag == "*" || parse_version(tag.strip_prefix("W/").unwrap_or(tag)) == Some(version_now)
    })
}

fn version(value: &HeaderValue) -> Option<u64> {
    parse_version(value.to_str().ok()?)
}

fn parse_version(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('"')?.strip_suffix('"')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A version as the value of `ETag`.
pub(crate) fn etag(version: u64) -> HeaderValue {
    let mut text = [b'"'; 22];
    let mut start = text.len() - 1;
    let mut rest = version;
    loop {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&text[start - 1..]).expect("digits in quotes are visible ASCII")
}

/// Whether the client asks for NDJSON.
pub(crate) fn wants_ndjson(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value.split(',').any(|range| {
                let media = range.split(';').next().unwrap_or_default().trim();
                [
                    "application/x-ndjson",
                    "application/ndjson",
                    "application/jsonl",
                ]
                .iter()
                .any(|known| media.eq_ignore_ascii_case(known))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &str)| {
            (
                name.clone(),
                HeaderValue::from_str(value).expect("the test's values are ASCII"),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn an_etag_is_the_version_in_quotes() {
        for version in [0, 7, 10, 1234567890, u64::MAX] {
            assert_eq!(etag(version), format!("\"{version}\"").as_str());
            assert_eq!(parse_version(&format!("\"{version}\"")), Some(version));
        }
    }

    #[test]
    fn a_uuid_keeps_its_bits_and_other_ids_are_hashed() {
        let id =
            |text| request_id(&headers(&[(IDEMPOTENCY_KEY, text)])).map_err(|p| p.field.clone());
        let bits = 0x018f_3c1e_8e4a_7c3b_9d2f_0123_4567_89ab;
        assert_eq!(id("018f3c1e-8e4a-7c3b-9d2f-0123456789ab"), Ok(Some(bits)));
        assert_eq!(
            id("\"018F3C1E-8e4a-7c3b-9d2f-0123456789ab\""),
            Ok(Some(bits))
        );
        assert_eq!(id("order-17"), Ok(Some(xxh3_128(b"order-17"))));
        assert_eq!(
            id("018f3c1e-8e4a-7c3b-9d2f-0123456789aX").map(|id| id == Some(bits)),
            Ok(false)
        );
        for bad in ["", "\"\"", &"x".repeat(256)] {
            assert_eq!(id(bad), Err(Some("Idempotency-Key".to_owned())), "{bad}");
        }
    }

    #[test]
    fn conditions_are_parsed_strictly() {
        let of =
            |pairs: &[(HeaderName, &str)]| condition(&headers(pairs)).map_err(|p| p.field.clone());
        let (yes, no) = (header::IF_MATCH, header::IF_NONE_MATCH);
        assert_eq!(of(&[]), Ok(Condition::None));
        assert_eq!(of(&[(yes.clone(), "\"17\"")]), Ok(Condition::IfVersion(17)));
        assert_eq!(of(&[(yes.clone(), "*")]), Ok(Condition::IfPresent));
        assert_eq!(of(&[(no.clone(), "*")]), Ok(Condition::IfAbsent));
        for bad in [
            "17",
            "\"x\"",
            "W/\"17\"",
            "\"17\", \"18\"",
            "\"-1\"",
            "\"\"",
            "",
        ] {
            assert_eq!(
                of(&[(yes.clone(), bad)]),
                Err(Some("If-Match".to_owned())),
                "{bad}"
            );
        }
        assert_eq!(
            of(&[(no.clone(), "\"17\"")]),
            Err(Some("If-None-Match".to_owned()))
        );
        assert_eq!(
            of(&[(yes, "*"), (no, "*")]),
            Err(Some("If-None-Match".to_owned()))
        );
    }

    #[test]
    fn ndjson_is_asked_for_by_accept() {
        for (accept, wanted) in [
            ("application/x-ndjson", true),
            ("text/html, application/X-NDJSON;q=0.9", true),
            ("application/json", false),
            ("*/*", false),
        ] {
            assert_eq!(
                wants_ndjson(&headers(&[(header::ACCEPT, accept)])),
                wanted,
                "{accept}"
            );
        }
    }
}
