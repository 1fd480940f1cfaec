//! Names of query parameters.
//!
//! Knows nothing of their values.

/// How fresh a read must be: see [`Consistency`](crate::Consistency).
pub const CONSISTENCY: &str = "consistency";
/// Of an active table: how many replicas a read asks.
pub const R: &str = "r";
/// Of an active table: how many replicas must have a write.
pub const W: &str = "w";
/// Attributes that a patch takes away, separated by commas.
pub const REMOVE: &str = "remove";
/// Only rows of this partition key.
pub const PK: &str = "pk";
/// First sort key, inclusive.
pub const FROM: &str = "from";
/// Last sort key, inclusive.
pub const TO: &str = "to";
/// Entries at most.
pub const LIMIT: &str = "limit";
/// Where to go on.
pub const CURSOR: &str = "cursor";
/// `true` for descending order.
pub const REVERSE: &str = "reverse";
/// The name of a table.
pub const TABLE: &str = "table";
/// Names of nodes, separated by commas.
pub const IF_FAILS: &str = "if_fails";
