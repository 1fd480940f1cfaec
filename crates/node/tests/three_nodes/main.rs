//! What a cluster of three processes does when a copy, a disk or a data directory goes bad.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "tests"
)]

mod cluster;
mod differing;
mod dropped;
mod wiped;
