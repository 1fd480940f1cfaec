//! The built binary as an operator meets it: real processes, real files, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod account;
mod active;
mod active_moves;
mod altered;
mod bad_input;
mod broken;
mod catch_up;
mod cli;
mod damage;
mod digits;
mod drained;
mod flush;
mod harness;
mod joining;
mod log;
mod majority;
mod metrics;
mod moved;
mod partition;
mod readme;
mod recovered;
mod refusals;
mod restart;
mod restored;
mod rolling;
mod shared_dir;
mod strays;
mod verified;
mod zones;
