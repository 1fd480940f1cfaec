//! What to do about members and partitions: who is gone, and what follows, as a state machine
//! over `tablestore-health` and `tablestore-placement`.
//!
//! Knows nothing of sockets, raft, clocks and threads, nor of how what it decides is sent and
//! agreed on. It turns a belief about a node into a member's state; a wrong belief costs a
//! failover, never data: every change is checked and compared when it is applied.
//!
//! **The loop around it:** one [`Controller::handle`] with what happened and the time, then all of
//! [`Controller::poll_output`], then wait for the next input or until
//! [`Controller::next_deadline`], at which [`Input::Tick`] is due. Whatever has arrived is handled
//! before a tick, the newest map and the voters before anything that is decided.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use tablestore_controller::{Controller, ControllerSettings, Input, Now, Output};
//! use tablestore_placement::{Incarnation, Office, StorageId, Strategies};
//!
//! let (member, incarnation) = (StorageId(1), Incarnation(1));
//! let me = Office { member, incarnation };
//! let settings = ControllerSettings {
//!     heartbeat_every: Duration::from_millis(100),
//!     cold_start_wait: Duration::from_secs(3),
//!     rereplicate_after: Duration::from_secs(600),
//! };
//! let strategies = Arc::new(Strategies::built_in());
//! let mut controller = Controller::new(me, &settings, strategies);
//! let now = Now { since_start: Duration::ZERO, wall_ms: 1_000 };
//! controller.handle(now, Input::Voters([member].into()));
//! assert!(controller.poll_output().is_none(), "it does not lead");
//! controller.handle(now, Input::Leadership { term: Some(1) });
//! assert!(matches!(controller.poll_output(), Some(Output::Heartbeat { to }) if to == member));
//! ```

mod calm;
mod clocks;
mod controller;
mod group;
mod hearing;
mod heartbeat;
mod input;
mod looked;
mod output;
mod planned;
mod reach;
mod review;
mod room;
mod rounds;
mod sign;
mod stopped;
#[cfg(test)]
mod tests;
mod timer;

pub use controller::{Controller, ControllerSettings, REREPLICATE_AFTER};
pub use group::{Group, GroupStep, VOTERS_MAX, has_caught_up, next_step};
pub use hearing::{HEARD_WITHIN, Hearing};
pub use input::{Input, LinkNews, Now, ReplicaProgress, SignOfWork};
pub use output::{Job, Notice, NoticeKind, Output, Proposal};
pub use planned::Planned;
pub use sign::{Gone, Look, Sign};
