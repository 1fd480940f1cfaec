//! Leaving a connection that waits for TCP for a fresh one, as soon as the node answers there.
//!
//! Knows nothing of how connections begin otherwise, or of what they carry.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::greeting::{self, Hello, Purpose};
use super::link::Link;
use super::peers::Inner;
use super::session::Session;

/// A connection on which an answer is due for this long, and that to a ping for half of it, may be
/// waiting for TCP.
const SILENT_FOR: Duration = Duration::from_millis(200);
/// How often that is looked at.
const FRESH_LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a fresh connection beside a silent one may take: the first few times little, since an
/// attempt that began before the way was free is lost; then double each time, up to the second.
const FRESH_LIMITS: (Duration, Duration) = (Duration::from_millis(40), Duration::from_millis(640));
const FRESH_SHORT: u32 = 4;

impl Link {
    /// A connection beside one that is silent. After a loss TCP waits longer and longer before it
    /// sends again, though the way is free: its pause is not the silence of the node.
    pub(super) async fn fresh_beside(
        &self,
        session: &Session,
        peers: &Inner,
    ) -> (TcpStream, Hello) {
        let mut attempts = 0_u32;
        loop {
            sleep(FRESH_LOOK_EVERY).await;
            session.ping_if_silent_for(SILENT_FOR / 2);
            if !session.is_silent_for(SILENT_FOR) {
                attempts = 0;
                continue;
            }
            let doublings = attempts.saturating_sub(FRESH_SHORT).min(8);
            attempts = attempts.saturating_add(1);
            let limit = (FRESH_LIMITS.0 * (1 << doublings)).min(FRESH_LIMITS.1);
            let (address, ours) = (self.address(), peers.hello(Purpose::Control));
            if let Ok((stream, hello)) = greeting::dial(&address, &ours, limit).await
                && hello.identity.storage == self.storage
                && session.is_silent_for(SILENT_FOR)
            {
                return (stream, hello);
            }
        }
    }
}
