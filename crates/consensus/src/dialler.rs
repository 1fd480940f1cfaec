//! Dialling a peer for a connection that is not a control connection.
//!
//! Knows nothing of what will be said on it.

use std::time::Duration;

use tokio::net::TcpStream;

use super::Peers;
use super::greeting::{GreetError, Hello, Purpose, dial};

/// A peer that does not greet within this is not there.
const GREETING_WITHIN: Duration = Duration::from_millis(500);

/// Dials with this node's greeting; works on any runtime.
#[derive(Debug, Clone)]
pub struct Dialler {
    peers: Peers,
}

impl Dialler {
    /// Dials as the node of these peers.
    #[must_use]
    pub fn new(peers: Peers) -> Self {
        Self { peers }
    }

    /// Connects and greets.
    ///
    /// # Errors
    /// See [`GreetError`].
    pub async fn dial(
        &self,
        address: &str,
        purpose: Purpose,
    ) -> Result<(TcpStream, Hello), GreetError> {
        dial(address, &self.peers.hello(purpose), GREETING_WITHIN).await
    }
}
