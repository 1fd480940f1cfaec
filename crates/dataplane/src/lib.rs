//! The data plane of one node as a state machine: all its replicas, the requests that pass through
//! it, what it says to other nodes, the copies it sends and takes in, and what it asks of its disk.
//!
//! A [`Plane`] is told what happened ([`PlaneEvent`]) at a time ([`Now`]) and says what follows
//! ([`Effects`]): records for the journal, frames for peers, answers for those who asked, jobs that
//! may block. **The contract of the loop:** [`Plane::begin_turn`], any number of
//! [`Plane::handle`], [`Plane::end_turn`], then carry out all effects and wait for the next event
//! or for [`Plane::next_deadline`]. The crate knows no socket, file, thread or clock, so that the
//! simulation runs the very code that a server runs.

mod active;
mod apply;
mod checksum;
mod copies;
mod counts;
mod dispatch;
mod effects;
mod event;
mod flush;
mod flushing;
mod full;
mod hosted;
mod job;
mod journal;
mod lanes;
mod links;
mod mismatch;
mod mutant;
mod outputs;
mod owned;
mod peers;
mod plane;
mod progress;
mod recover;
mod request;
mod requests;
mod seen;
mod sessions;
pub mod settings;
mod snapshot;
mod standing;
mod strays;
mod timers;
mod transfer;
mod unsynced;
mod upkeep;
mod wire;

pub use active::ActiveRequest;
pub use counts::Counts;
pub use effects::{Effects, LinkOrder, Notice, Proposal};
pub use event::{Now, PlaneEvent};
pub use job::{Done, Host, Job, Lane};
pub use journal::{Committed, GroupCommit, Record};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use owned::{OwnedAsk, OwnedOrder};
pub use plane::Plane;
pub use progress::{Remembers, ReplicaProgress};
#[cfg(feature = "mutants")]
pub use recover::recover_with;
pub use recover::{RecoverError, RecoveredPartition, Stored, recover};
pub use request::{Answer, Failure, Operation, Reply};
pub use seen::Seen;
pub use settings::{Settings, SettingsError};
pub use standing::Standing;
pub use wire::{Frame, WireError};
