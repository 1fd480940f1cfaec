//! The limits of the HTTP surface, with every default as a named constant and its reason.
//!
//! Knows nothing of sockets.

use std::time::Duration;

use tablestore_owned::OwnedSettings;

use tablestore_contract::limits;
pub use tablestore_contract::limits::{
    BATCH_ITEMS_MAX, DECISIONS_LIMIT, REQUEST_ID_BYTES_MAX, SCAN_LIMIT, SCAN_LIMIT_MAX,
};

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
/// Time a request has when it does not say.
pub const TIMEOUT: Duration = Duration::from_millis(limits::TIMEOUT_MS);
/// Time a request may ask for.
pub const TIMEOUT_MAX: Duration = Duration::from_millis(limits::TIMEOUT_MS_MAX);
/// How often an idle event stream shows that it lives.
pub const EVENTS_KEEPALIVE: Duration = Duration::from_secs(15);

/// What a connection reads ahead at most, and the longest head of a request.
pub const READ_BYTES_MAX: usize = 128 << 10;
/// Time for a client to take the next [`TAKEN_BYTES_MIN`] of an answer, or the rest of it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Less than this in [`WRITE_TIMEOUT`] is as good as nothing.
pub const TAKEN_BYTES_MIN: usize = 64 << 10;
/// Bytes of large bodies and answers that are held for all clients together: sixteen batches of
/// the largest size, and a fraction of the memory of the smallest machine that serves many.
pub const MEMORY_BYTES_MAX: usize = 256 << 20;

/// What can be set about the HTTP surface of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Names under which the node may be asked, beside its addresses and names without a dot.
    pub allowed_hosts: Vec<String>,
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`HEADER_READ_TIMEOUT`].
    pub header_read_timeout: Duration,
    /// See [`BODY_READ_TIMEOUT`].
    pub body_read_timeout: Duration,
    /// See [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// See [`MEMORY_BYTES_MAX`].
    pub memory_bytes_max: usize,
    /// See [`SHUTDOWN_GRACE`].
    pub shutdown_grace: Duration,
    /// What one partition on shared storage asks of it in a day on which nobody uses it: shown
    /// with such tables.
    pub requests_per_idle_day: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            connections_max: CONNECTIONS_MAX,
            header_read_timeout: HEADER_READ_TIMEOUT,
            body_read_timeout: BODY_READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            memory_bytes_max: MEMORY_BYTES_MAX,
            shutdown_grace: SHUTDOWN_GRACE,
            requests_per_idle_day: OwnedSettings::default().requests_per_idle_day(),
        }
    }
}
