//! Paths of rows and query strings, taken apart by hand: a key may hold any character, so it
//! must be split before it is decoded, and what cannot be decoded is named.
//!
//! Knows nothing of tables: what a segment means is the caller's business.

use std::borrow::Cow;

use super::problem::{Kind, Problem};

const TABLES: &str = "/v1/tables/";

/// A path below a table that is about rows. All parts are still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsPath<'a> {
    /// `/v1/tables/{table}/rows/{partition}[/{sort}]`
    Row {
        table: &'a str,
        partition: &'a str,
        sort: Option<&'a str>,
    },
    /// `/v1/tables/{table}/rows`
    Rows { table: &'a str },
    /// `/v1/tables/{table}/rows:batch`
    Batch { table: &'a str },
}

impl<'a> RowsPath<'a> {
    /// The table.
    pub(crate) fn table(self) -> &'a str {
        match self {
            Self::Row { table, .. } | Self::Rows { table } | Self::Batch { table } => table,
        }
    }

    /// `None` if the path is about something else.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let (table, rest) = path.strip_prefix(TABLES)?.split_once('/')?;
        match rest {
            "rows" => return Some(Self::Rows { table }),
            "rows:batch" => return Some(Self::Batch { table }),
            _ => {}
        }
        let key = rest.strip_prefix("rows/")?;
        match key.split_once('/') {
            None => Some(Self::Row {
                table,
                partition: key,
                sort: None,
            }),
            Some((_, sort)) if sort.contains('/') => None,
            Some((partition, sort)) => Some(Self::Row {
                table,
                partition,
                sort: Some(sort),
            }),
        }
    }
}

/// A path segment as text.
///
/// # Errors
/// Names `field` when the encoding is broken.
pub(crate) fn decode_segment<'a>(field: &str, text: &'a str) -> Result<Cow<'a, str>, Problem> {
    decode(text, false).ok_or_else(|| broken(field, text))
}

/// A query value as text: as a segment, and `+` is a space.
///
/// # Errors
/// Names `field` when the encoding is broken.
pub(crate) fn decode_value<'a>(field: &str, text: &'a str) -> Result<Cow<'a, str>, Problem> {
    decode(text, true).ok_or_else(|| broken(field, text))
}

fn broken(field: &str, text: &str) -> Problem {
    Problem::invalid(field, "percent-encoded UTF-8", format!("{text:?}"))
}

fn decode(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !text
        .bytes()
        .any(|byte| byte == b'%' || (plus_is_space && byte == b'+'))
    {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The parameters of a query string, still encoded, by the position of their name in `known`.
///
/// # Errors
/// `unknown_parameter` for a name that is not in `known`; `invalid_request` for one given twice.
pub(crate) fn parameters<'a, const N: usize>(
    query: Option<&'a str>,
    known: &[&'static str; N],
) -> Result<[Option<&'a str>; N], Problem> {
    let mut found = [None; N];
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, true).unwrap_or(Cow::Borrowed(name));
        let Some(position) = known.iter().position(|known| *known == name) else {
            return Err(Problem::unknown(Kind::UnknownParameter, name, known));
        };
        if found[position].replace(value).is_some() {
            return Err(Problem::invalid(
                name,
                "this parameter only once",
                "it again",
            ));
        }
    }
    Ok(found)
}

/// A list separated by commas, each entry encoded by itself.
///
/// # Errors
/// Names `field` when an encoding is broken or an entry is empty.
pub(crate) fn decode_list(field: &str, text: &str) -> Result<Vec<String>, Problem> {
    let entry = |entry| match decode_value(field, entry) {
        Ok(entry) if entry.is_empty() => Err(Problem::invalid(
            field,
            "names separated by commas",
            "an empty one",
        )),
        Ok(entry) => Ok(entry.into_owned()),
        Err(problem) => Err(problem),
    };
    text.split(',').map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_rows_are_split_before_they_are_decoded() {
        let row = |table, partition, sort| {
            Some(RowsPath::Row {
                table,
                partition,
                sort,
            })
        };
        let cases = [
            ("/v1/tables/t/rows/a", row("t", "a", None)),
            ("/v1/tables/t/rows/a%2Fb/c", row("t", "a%2Fb", Some("c"))),
            ("/v1/tables/t/rows/", row("t", "", None)),
            ("/v1/tables/t/rows/a/", row("t", "a", Some(""))),
            ("/v1/tables/t/rows/a/b/c", None),
            ("/v1/tables/t/rows", Some(RowsPath::Rows { table: "t" })),
            (
                "/v1/tables/t/rows:batch",
                Some(RowsPath::Batch { table: "t" }),
            ),
            ("/v1/tables/t", None),
            ("/v1/tables/t/columns", None),
            ("/v1/tables/t/rowsx/a", None),
            ("/v1/cluster", None),
        ];
        for (path, expected) in cases {
            assert_eq!(RowsPath::parse(path), expected, "{path}");
        }
    }

    #[test]
    fn encodings_are_decoded_or_refused() {
        assert_eq!(decode("a+b%20%c3%A9", false).as_deref(), Some("a+b é"));
        assert_eq!(decode("a+b%2B", true).as_deref(), Some("a b+"));
        for broken in ["%", "%1", "%zz", "%ff", "a%+1"] {
            assert_eq!(decode(broken, true), None, "{broken}");
        }
    }

    #[test]
    fn parameters_are_known_and_given_once() {
        let known = ["a", "b"];
        assert_eq!(
            parameters(Some("b=1&&a="), &known),
            Ok([Some(""), Some("1")])
        );
        assert_eq!(parameters(None, &known), Ok([None, None]));
        assert_eq!(parameters(Some("a"), &known), Ok([Some(""), None]));
        let kind = |query| parameters(Some(query), &known).map_err(|p| (p.kind, p.field.clone()));
        assert_eq!(
            kind("c=1"),
            Err((Kind::UnknownParameter, Some("c".to_owned())))
        );
        assert_eq!(
            kind("a=1&a=1"),
            Err((Kind::InvalidRequest, Some("a".to_owned())))
        );
    }

    #[test]
    fn a_list_is_split_before_it_is_decoded() {
        let list = decode_list("remove", "a%2Cb,c+d").ok();
        assert_eq!(list, Some(vec!["a,b".to_owned(), "c d".to_owned()]));
        assert!(decode_list("remove", "a,,b").is_err());
    }
}
