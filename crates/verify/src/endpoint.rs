//! Where a cluster is reached, and the rows of a table as paths.
//!
//! Knows nothing of who serves which row: any node takes any request.

use tablestore_client::{Row, RowKey, Value};

use crate::http::{Answer, encode_segment};
use crate::ledger::Observed;

/// The attribute that writers count up. No loaded row may have one of this name.
pub const SEQUENCE: &str = "sequence";

/// Nodes of one cluster and a table in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    addresses: Vec<String>,
    table: String,
}

/// Why an endpoint cannot be one. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// No address was given. Give at least one.
    #[error("no address was given")]
    NoAddress,
    /// Not of the form `http://host:port` or `host:port`. Correct it.
    #[error("expected http://host:port, got `{0}`")]
    Malformed(String),
}

impl Endpoint {
    /// Nodes by their base addresses, `http://host:port` or `host:port`. Nothing is sent yet.
    ///
    /// # Errors
    /// When there is no address, or one is malformed.
    pub fn new<A: AsRef<str>>(
        addresses: &[A],
        table: impl Into<String>,
    ) -> Result<Self, EndpointError> {
        if addresses.is_empty() {
            return Err(EndpointError::NoAddress);
        }
        let addresses = addresses.iter().map(|address| authority(address.as_ref()));
        Ok(Self {
            addresses: addresses.collect::<Result<_, _>>()?,
            table: table.into(),
        })
    }

    /// The nodes as `host:port`, in the order given.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The name of the table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// A row of the table that a writer is to own. `attributes` are those that it always has,
    /// without its key and without [`SEQUENCE`].
    #[must_use]
    pub fn target(&self, key: &RowKey, attributes: Row) -> Target {
        let mut path = format!("/v1/tables/{}/rows", encode_segment(&self.table));
        for part in std::iter::once(&key.partition).chain(&key.sort) {
            path.push('/');
            path.push_str(&encode_segment(part));
        }
        let comma = if attributes.is_empty() { "" } else { "," };
        let mut body_start = Value::from(attributes).to_string();
        body_start.pop();
        body_start.push_str(&format!("{comma}\"{SEQUENCE}\":"));
        Target { path, body_start }
    }
}

fn authority(address: &str) -> Result<String, EndpointError> {
    let malformed = || EndpointError::Malformed(address.to_owned());
    let rest = address.strip_prefix("http://").unwrap_or(address);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(malformed)?;
    let is_plain = !host.is_empty() && !host.contains(['/', '@', ' ']);
    if !is_plain || port.parse::<u16>().is_err() {
        return Err(malformed());
    }
    Ok(rest.to_owned())
}

/// A row that a writer owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: String,
    /// Its attributes as JSON, up to where the sequence number goes.
    body_start: String,
}

impl Target {
    /// The path of the row.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of a strong read of it.
    #[must_use]
    pub fn strong_path(&self) -> String {
        format!("{}?consistency=strong", self.path)
    }

    /// The row of this write, as JSON.
    #[must_use]
    pub fn body(&self, sequence: u64) -> String {
        format!("{}{sequence}}}", self.body_start)
    }
}

/// What the answer to a read of a row shows.
///
/// # Errors
/// What is wrong, in words, when it is neither a row nor says that there is none.
pub fn observed(answer: &Answer) -> Result<Observed, &'static str> {
    match answer.status {
        404 => Ok(None),
        200 => match serde_json::from_slice::<serde_json::Value>(&answer.body) {
            Ok(row) => Ok(Some(
                row.get(SEQUENCE)
                    .and_then(serde_json::Value::as_u64)
                    .unwrap_or(0),
            )),
            Err(_) => Err("a read cannot be understood"),
        },
        _ => Err("a read was refused"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn addresses_are_taken_with_and_without_scheme_and_nothing_else_is() {
        let endpoint = Endpoint::new(&["http://127.0.0.1:7001/", "[::1]:7", "n3:80"], "t").unwrap();
        assert_eq!(endpoint.addresses(), ["127.0.0.1:7001", "[::1]:7", "n3:80"]);
        for wrong in ["", "n1", "https://n1:7", "http://n1:x", "n1:7/v1", ":7"] {
            let error = Endpoint::new(&[wrong], "t").unwrap_err();
            assert_eq!(error, EndpointError::Malformed(wrong.to_owned()));
        }
        let none: [&str; 0] = [];
        assert_eq!(
            Endpoint::new(&none, "t").unwrap_err(),
            EndpointError::NoAddress
        );
    }

    #[test]
    fn a_writer_writes_the_row_as_it_was_loaded_with_a_count() {
        let flights = Endpoint::new(&["n1:7"], "flights").unwrap();
        let key = RowKey::new("UA1545").sorted_by("2013-01-01T10:00:00Z");
        let attributes = Row::from([("dep_time".to_owned(), 517.into())]);
        let target = flights.target(&key, attributes);
        assert_eq!(
            target.path(),
            "/v1/tables/flights/rows/UA1545/2013-01-01T10:00:00Z"
        );
        assert_eq!(target.body(3), "{\"dep_time\":517,\"sequence\":3}");
        let bare = flights.target(&RowKey::new("a/b c"), Row::new());
        assert_eq!(bare.path(), "/v1/tables/flights/rows/a%2Fb%20c");
        assert_eq!(bare.body(1), "{\"sequence\":1}");
    }
}
