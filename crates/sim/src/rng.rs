//! The sources of chance of a run, one for each purpose. Knows nothing of what is decided with
//! them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded generator.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The stream of a purpose: what is drawn for one purpose changes nothing of another.
    fn of(seed: u64, purpose: u64) -> Self {
        Self::new(mix(seed, purpose))
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

/// Spreads a seed and a purpose over all bits (the finalizer of SplitMix64).
fn mix(seed: u64, purpose: u64) -> u64 {
    let mut mixed = seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The streams of a run.
#[derive(Debug)]
pub(crate) struct Chances {
    /// Sizes, limits and times.
    pub(crate) sizes: Chance,
    /// Which faults are planned.
    pub(crate) faults: Chance,
    /// How long things take on the network.
    pub(crate) network: Chance,
    /// How long disks take, and what they tear.
    pub(crate) disks: Chance,
    /// What clients do, and when.
    pub(crate) clients: Chance,
    /// What operators choose, and when machines are started.
    pub(crate) operators: Chance,
    /// The agreement has its own generator, made of this.
    pub(crate) agreement: Chance,
    /// How the run ends.
    pub(crate) ending: Chance,
    /// What the run is made for.
    pub(crate) themes: Chance,
    /// How fast clocks go.
    pub(crate) clocks: Chance,
    /// What a run is made for that was made for nothing so far.
    pub(crate) more_themes: Chance,
    /// Which disks do not hold what was written.
    pub(crate) decay: Chance,
    /// Whether there is a shared storage, and what goes wrong with it.
    pub(crate) shared: Chance,
    /// All that a run has of an active table.
    pub(crate) active: Chance,
    /// Which tables become others.
    pub(crate) alterations: Chance,
}

impl Chances {
    pub(crate) fn new(seed: u64) -> Self {
        let of = |purpose| Chance::of(seed, purpose);
        Self {
            sizes: of(1),
            faults: of(2),
            network: of(3),
            disks: of(4),
            clients: of(5),
            operators: of(6),
            agreement: of(7),
            ending: of(8),
            themes: of(9),
            clocks: of(10),
            more_themes: of(11),
            decay: of(12),
            shared: of(20),
            active: of(21),
            alterations: of(22),
        }
    }
}
