//! Tests of consensus as a whole: real sockets and files, a thread and a runtime a node.
#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

mod cluster;
mod failover;
mod golden;
mod harness;
mod links;
mod storage;
