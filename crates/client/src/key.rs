//! The primary key of a row as it travels in a path.

use std::fmt::Write as _;

use tablestore_item::Value;

/// A key part that cannot be addressed. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key part must not be empty.
    #[error("a key part must not be empty")]
    Empty,
    /// `.` and `..` would be taken for steps in a path. Write such a row by a batch.
    #[error("the key `{0}` cannot travel in a path: use a batch")]
    DotSegment(String),
    /// A key is a string or a number; binary keys are given as the text that the server expects.
    #[error("a key is a string or a number, got {0}")]
    Type(String),
}

/// Partition key and, where the table has one, sort key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Decides the partition. Numbers as decimal text.
    pub partition: String,
    /// Orders the rows of one partition key.
    pub sort: Option<String>,
}

impl RowKey {
    /// The key of a row in a table without sort key.
    pub fn new(partition: impl Into<String>) -> Self {
        Self {
            partition: partition.into(),
            sort: None,
        }
    }

    /// The same with a sort key.
    #[must_use]
    pub fn sorted_by(mut self, sort: impl Into<String>) -> Self {
        self.sort = Some(sort.into());
        self
    }

    /// The key part that this value stands for; a number with all its digits.
    ///
    /// # Errors
    /// When it is neither a string nor a number.
    pub fn part_of(value: &Value) -> Result<String, KeyError> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(KeyError::Type(other.to_string())),
        }
    }

    /// `{pk}[/{sk}]`, percent-encoded.
    pub(crate) fn to_path(&self) -> Result<String, KeyError> {
        let mut path = segment(&self.partition)?;
        if let Some(sort) = &self.sort {
            path.push('/');
            path.push_str(&segment(sort)?);
        }
        Ok(path)
    }
}

/// One path segment: everything but the unreserved characters of RFC 3986 is encoded.
pub(crate) fn segment(text: &str) -> Result<String, KeyError> {
    match text {
        "" => return Err(KeyError::Empty),
        "." | ".." => return Err(KeyError::DotSegment(text.to_owned())),
        _ => {}
    }
    Ok(encode(text))
}

/// Percent-encodes for a path segment or a query value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn every_character_survives_the_path() {
        let key = RowKey::new("a/b c?#%é").sorted_by("2013-01-01T10:00:00Z");
        assert_eq!(
            key.to_path().unwrap(),
            "a%2Fb%20c%3F%23%25%C3%A9/2013-01-01T10%3A00%3A00Z"
        );
    }

    #[test]
    fn what_a_path_would_swallow_is_refused() {
        assert_eq!(RowKey::new("").to_path().unwrap_err(), KeyError::Empty);
        for dots in [".", ".."] {
            assert!(matches!(
                RowKey::new(dots).to_path(),
                Err(KeyError::DotSegment(_))
            ));
        }
        assert!(RowKey::new("...").to_path().is_ok());
    }
}
