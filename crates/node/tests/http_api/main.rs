//! The contract of the HTTP surface, over real connections, against a node in memory.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod bad_input;
mod batch;
mod cluster;
mod connections;
mod described;
mod docs;
mod encoding;
mod fake;
mod heads;
mod memory;
mod openapi;
mod rows;
mod scan;
mod site;
mod tables;
mod wire;
