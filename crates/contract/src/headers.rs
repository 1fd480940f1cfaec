//! Names of headers, in the lower case that HTTP libraries want.
//!
//! Knows nothing of their values; those of HTTP itself are not here.

/// The request id: a write repeated with the same one takes effect once.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long the client will wait, in milliseconds.
pub const TIMEOUT_MS: &str = "x-tablestore-timeout-ms";
/// The node that answered.
pub const SERVED_BY: &str = "x-tablestore-served-by";
/// The partition of the row, `table/partition`.
pub const PARTITION: &str = "x-tablestore-partition";
/// The epoch under which it was answered.
pub const EPOCH: &str = "x-tablestore-epoch";
/// `true` when the answer is the remembered one of an earlier request with the same id.
pub const REPEATED: &str = "x-tablestore-repeated";
/// Where a page of NDJSON goes on; absent at the end.
pub const NEXT_CURSOR: &str = "x-tablestore-next-cursor";
/// The last event that a reader of the event stream has seen.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// The media type of rows one a line.
pub const NDJSON: &str = "application/x-ndjson";
/// The media type of the event stream.
pub const EVENT_STREAM: &str = "text/event-stream";
