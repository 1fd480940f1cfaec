//! The limits of the HTTP surface, with every default as a named constant and its reason.
//!
//! Knows nothing of sockets.

use std::time::Duration;

/// Connections at most: each costs some 30 KiB while a request is under way.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Time for the next request's head; also how long an idle connection is kept.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for a whole body.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that requests under way get when the node stops; the longest deadline is not waited for.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// The body of one row: its 400 KB grow by escapes and base64.
pub const ROW_BODY_BYTES_MAX: usize = 1 << 20;
/// The body of a batch.
pub const BATCH_BODY_BYTES_MAX: usize = 16 << 20;
/// Any other body.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Rows and keys of one batch.
pub const BATCH_ITEMS_MAX: usize = 100;
/// Rows of a page when the client does not say.
pub const SCAN_LIMIT: usize = 100;
/// Rows of a page at most.
pub const SCAN_LIMIT_MAX: usize = 1_000;
/// Decisions listed when the client does not say.
pub const DECISIONS_LIMIT: usize = 50;
/// Time a request has when it does not say.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Time a request may ask for.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// The longest `Idempotency-Key`.
pub const REQUEST_ID_BYTES_MAX: usize = 255;
/// How often an idle event stream shows that it lives.
pub const EVENTS_KEEPALIVE: Duration = Duration::from_secs(15);

/// What can be set about the HTTP surface of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`HEADER_READ_TIMEOUT`].
    pub header_read_timeout: Duration,
    /// See [`BODY_READ_TIMEOUT`].
    pub body_read_timeout: Duration,
    /// See [`SHUTDOWN_GRACE`].
    pub shutdown_grace: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            header_read_timeout: HEADER_READ_TIMEOUT,
            body_read_timeout: BODY_READ_TIMEOUT,
            shutdown_grace: SHUTDOWN_GRACE,
        }
    }
}
