//! The one source of chance of a run. Knows nothing of what is decided with it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded generator.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// True `per_mille` times out of a thousand.
    pub(crate) fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// From 0 up to and without `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0.random_range(0..limit)
    }

    /// From `low` up to and with `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// One of them; `None` if there are none.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = self.below(from.len() as u64) as usize;
        from.get(at).copied()
    }
}

/// The one that a number out of a larger range hits.
pub(crate) fn one_of<T: Copy>(from: &[T], number: u64) -> Option<T> {
    let at = number % (from.len() as u64).max(1);
    from.get(at as usize).copied()
}
