//! The data thread: the host of the data plane, which gives it what happens and carries out what
//! follows.
//!
//! One task takes all events that wait, hands them to the plane in one turn, and then gives one
//! group to the journal, one frame to each peer, and jobs to the lanes. It decides nothing.

mod counters;
mod event;
mod host;
mod journal;
mod journal_shown;
mod links;
mod opening;
mod owned;
mod progress;
mod shared;
mod standing;
mod storage;
mod workers;

pub(crate) use counters::Counters;
pub(crate) use event::{Asked, DataEvent, EventSender, channel};
pub(crate) use host::{Parts, run};
pub(crate) use journal::JournalQueue;
pub(crate) use progress::Progress;
pub(crate) use shared::SharedStorage;
pub(crate) use standing::{measure, show_storage};
pub use storage::StorageError;
pub(crate) use storage::{Storage, open_shared, open_storage};
