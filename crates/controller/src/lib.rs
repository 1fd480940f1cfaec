//! What to do about members and partitions: who is gone, and what follows, as pure code.
//!
//! Knows nothing of sockets, raft, clocks and threads, nor of how what it decides is sent and
//! agreed on.

mod hearing;
mod sign;

pub use hearing::{HEARD_WITHIN, Hearing};
pub use sign::{Gone, Look, Sign};
