//! The `active` strategy as state machines without I/O: every replica takes reads and writes, any
//! node coordinates, and what two of them wrote at once is merged by version, attribute by
//! attribute.
//!
//! A node has one [`Coordinator`] and for each partition of which it has a copy one [`Replica`].
//! **The contract of the loop** is that of the primary/backup core: hand in one input with the
//! present time, drain all outputs in order, then wait for the next input or the deadline.
//!
//! Acknowledged means synced on W replicas. The guarantee is weaker than that of primary/backup:
//! of two writes to one attribute the one with the newer version stays, also where the other was
//! acknowledged later, as clocks differ. Knows no sockets, files, clocks or random numbers.

mod clock;
pub mod codec;
pub mod coordinator;
mod hints;
pub mod merkle;
mod message;
mod mutant;
pub mod replica;
mod row;
pub mod settings;
mod view;
pub mod wire;

pub use clock::{Clock, ClockError, Moment, Version};
pub use coordinator::Coordinator;
pub use hints::HintStatus;
pub use message::{Message, Origin, Page, Proof, Refusal, RequestNumber, SweepHead};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use replica::{Place, Replica, ReplicaMeta, ReplicaStatus, Rows, Tally};
pub use row::{Cell, Floor, Mark, Row};
pub use settings::Settings;
pub use view::{Quorum, View};
