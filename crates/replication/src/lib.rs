//! The primary/backup protocol as a state machine without I/O.
//!
//! One [`Replica`] stands for one partition on one node. **The contract of the loop:** hand in
//! one [`Input`] with the present time, drain every [`Output`] with [`Replica::poll_output`] in
//! order, then wait for the next input or for [`Replica::next_deadline`]. An [`Output::Apply`] is
//! carried out at once and answered by [`Input::Applied`] before any other input.
//!
//! Nothing that must be true rests on time: clocks only decide when something is repeated or
//! given up. The crate knows no sockets, files, clocks or random numbers.

pub mod active;
pub mod codec;
mod entry;
mod history;
mod input;
mod log_clock;
mod message;
mod mutant;
mod output;
mod persist;
mod remembered;
mod replica;
pub mod settings;
mod tail;
mod types;

pub use entry::{Entry, EntryBody};
pub use history::{CommonPoint, EpochHistory, EpochStartsAt};
pub use input::Input;
pub use message::{LogPoint, Message};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use output::{Output, PersistRecord, ReadRefused, WriteRefused, Written};
pub use remembered::RememberedTable;
pub use replica::{FollowerState, FollowerStatus, Replica, Role, Status};
pub use settings::{Settings, SettingsError};
pub use types::{
    Now, Outcome, PartitionMeta, Recovered, Remembered, RequestId, SnapshotMeta, Ticket, View,
};
