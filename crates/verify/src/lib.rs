//! Whether a cluster keeps its word: every acknowledged write is there, and no strong read goes back
//! in time.
//!
//! A [`Ledger`] keeps what was acknowledged and judges what is read. It believes nobody: what the
//! cluster says about itself decides nothing. The crate knows nothing of how nodes work.

mod ledger;

pub use ledger::{Floor, Key, Ledger, Observed, Wrong};
