//! The nodes a client knows and which of them it is asking at the moment.
//!
//! Knows nothing of what is asked, nor of why a node was left.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No address was given. Give at least one node.
    #[error("no node address was given")]
    None,
    /// The text is no address of a node. Write `host:port` or `http://host:port`.
    #[error("`{given}` is no node address: expected host:port or http://host:port")]
    Malformed {
        /// What was given.
        given: String,
    },
    /// TLS is not built in. Use `http://`.
    #[error("`{given}` asks for TLS, which this client cannot speak: use http://")]
    Tls {
        /// What was given.
        given: String,
    },
}

/// Known nodes, in the order given, and the one in use.
#[derive(Debug)]
pub(crate) struct Nodes {
    bases: Vec<String>,
    current: AtomicUsize,
}

impl Nodes {
    pub(crate) fn parse<A: AsRef<str>>(addresses: &[A]) -> Result<Self, AddressError> {
        let mut bases = Vec::with_capacity(addresses.len());
        for address in addresses {
            let base = parse_one(address.as_ref())?;
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        if bases.is_empty() {
            return Err(AddressError::None);
        }
        Ok(Self {
            bases,
            current: AtomicUsize::new(0),
        })
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.bases
    }

    /// The node in use: its number and its base address.
    pub(crate) fn current(&self) -> (usize, &str) {
        let index = self.current.load(Ordering::Relaxed) % self.bases.len();
        (index, &self.bases[index])
    }

    /// Leaves `failed` for the next one, unless another call has already left it.
    pub(crate) fn leave(&self, failed: usize) {
        let next = (failed + 1) % self.bases.len();
        let _ = self
            .current
            .compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn parse_one(given: &str) -> Result<String, AddressError> {
    let trimmed = given.trim();
    if trimmed.starts_with("https://") {
        return Err(AddressError::Tls {
            given: given.to_owned(),
        });
    }
    let malformed = || AddressError::Malformed {
        given: given.to_owned(),
    };
    let full = if trimmed.starts_with("http://") {
        trimmed.to_owned()
    } else {
        format!("http://{trimmed}")
    };
    let url = reqwest::Url::parse(&full).map_err(|_| malformed())?;
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(malformed)?;
    if url.scheme() != "http" || !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(malformed());
    }
    let port = url.port_or_known_default().ok_or_else(malformed)?;
    Ok(format!("http://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_scheme_and_once_each() {
        let nodes =
            Nodes::parse(&["127.0.0.1:7001", "http://127.0.0.1:7001/", " [::1]:7002 "]).unwrap();
        assert_eq!(
            nodes.addresses(),
            ["http://127.0.0.1:7001", "http://[::1]:7002"]
        );
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        assert_eq!(Nodes::parse::<&str>(&[]).unwrap_err(), AddressError::None);
        for bad in [
            "",
            "http://",
            "a b:1",
            "ftp://x",
            "http://x:1/v1",
            "host:99999",
        ] {
            let error = Nodes::parse(&[bad]).unwrap_err();
            assert!(
                matches!(error, AddressError::Malformed { .. }),
                "{bad}: {error:?}"
            );
        }
        assert!(matches!(
            Nodes::parse(&["https://x"]).unwrap_err(),
            AddressError::Tls { .. }
        ));
    }

    #[test]
    fn a_node_is_left_once_by_many_failures_at_the_same_time() {
        let nodes = Nodes::parse(&["a:1", "b:1", "c:1"]).unwrap();
        nodes.leave(0);
        nodes.leave(0);
        assert_eq!(nodes.current().0, 1);
        nodes.leave(1);
        nodes.leave(2);
        assert_eq!(nodes.current().0, 0);
    }
}
