//! The data thread: replication cores, the requests of clients, data connections.
//!
//! One task owns everything here and nothing is locked. It takes all events that wait, feeds
//! them to the replicas, carries out what the replicas ask, and then hands one group to the
//! journal and one frame to each peer. Knows nothing of raft or of failure detection: it follows
//! the cluster map and reports its progress.

mod apply;
mod checksum;
mod copies;
mod counters;
mod dispatch;
mod event;
mod flush;
mod flushing;
mod full;
mod hosted;
mod journal;
mod links;
mod mismatch;
mod outputs;
mod peers;
mod plane;
mod progress;
mod recover;
pub(crate) mod request;
mod sessions;
mod snapshot;
mod strays;
pub(crate) mod transfer;
mod unsynced;
mod upkeep;
mod workers;

pub(crate) use counters::Counters;
pub(crate) use event::{Event, EventSender, channel};
pub(crate) use journal::JournalQueue;
pub(crate) use plane::{Parts, run};
pub(crate) use progress::Progress;
pub(crate) use recover::{RecoveredPartition, Storage, open_storage};
pub(crate) use workers::Workers;
