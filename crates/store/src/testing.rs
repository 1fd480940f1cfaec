//! What tests of this crate, of implementers and of the simulation share: a conformance suite for
//! engines, generators of items, a disk that fails. Knows nothing of a particular engine.

mod engine_suite;
pub mod golden;
#[cfg(test)]
pub(crate) mod items;
mod sim_disk;

pub use crate::journal::disk::{Disk, SegmentFile};
pub use engine_suite::{EngineFactory, engine_suite};
pub use sim_disk::{Failing, SimDisk, SimImage, SimMark};
