//! Limits that a client may know before it asks, and what a node takes for granted.

/// Rows and keys of one batch.
pub const BATCH_ITEMS_MAX: usize = 100;
/// Rows of a page when the client does not say.
pub const SCAN_LIMIT: usize = 100;
/// Rows of a page at most.
pub const SCAN_LIMIT_MAX: usize = 1_000;
/// Decisions listed when the client does not say.
pub const DECISIONS_LIMIT: usize = 50;
/// Decisions listed at most: as many as the map keeps.
pub const DECISIONS_LIMIT_MAX: usize = 200;
/// Milliseconds that a request has when it does not say.
pub const TIMEOUT_MS: u64 = 10_000;
/// Milliseconds that a request may ask for.
pub const TIMEOUT_MS_MAX: u64 = 60_000;
/// The longest request id.
pub const REQUEST_ID_BYTES_MAX: usize = 255;
/// Copies of every row, unless said otherwise.
pub const REPLICAS: u32 = 3;
/// Copies on disk before a write is acknowledged, unless said otherwise (or fewer replicas).
pub const MIN_IN_SYNC: u32 = 2;
/// Partitions of a table, unless said otherwise.
pub const PARTITIONS: u32 = 32;
