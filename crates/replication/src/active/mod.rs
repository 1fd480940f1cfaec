//! The `active` strategy as state machines without I/O: every replica takes reads and writes, any
//! node coordinates, and what two of them wrote at once is merged by version, attribute by
//! attribute.
//!
//! Acknowledged means synced on W replicas. The guarantee is weaker than that of primary/backup:
//! of two writes to one attribute the one with the newer version stays, also where the other was
//! acknowledged later, as clocks differ. Knows no sockets, files, clocks or random numbers.

mod clock;
pub mod codec;
mod row;

pub use clock::{Clock, ClockError, Moment, Version};
pub use row::{Cell, Floor, Mark, Row};
