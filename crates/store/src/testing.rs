//! What tests of this crate and of implementers share: a conformance suite for engines and
//! generators of items. Knows nothing of a particular engine.

mod engine_suite;
#[cfg(test)]
pub(crate) mod items;

pub use engine_suite::{EngineFactory, engine_suite};
