//! The rows that are written and read: the same keys and values for either system.
//!
//! Everything follows from a number, so two runs send the same. Knows nothing about how it is sent.

/// The table of ours that is loaded.
pub(crate) const TABLE: &str = "bench";
/// About the size of a row in practice, and of the values that etcd's own benchmark is shown with.
pub(crate) const VALUE_BYTES: usize = 100;
/// Values differ, so that nothing gains by compressing them; so many different ones are enough.
const VALUES: usize = 1024;
/// Operations that follow each other are on keys far apart. A prime, so it shares no factor with
/// the number of keys unless it is a multiple.
const STRIDE: u64 = 7919;

/// Keys and values by number.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    keys: u64,
    values: std::rc::Rc<[String]>,
}

impl Rows {
    pub(crate) fn new(keys: u64) -> Self {
        let mut noise = Noise(1);
        let values = (0..VALUES).map(|_| noise.text(VALUE_BYTES)).collect();
        Self { keys, values }
    }

    /// The key of the operation with this number: all of them in turn, then again.
    pub(crate) fn key(&self, number: u64) -> String {
        let key = number.wrapping_mul(STRIDE) % self.keys;
        format!("row-{key:08}")
    }

    pub(crate) fn value(&self, number: u64) -> &str {
        // The remainder is below the number of values.
        &self.values[(number % VALUES as u64) as usize]
    }
}

/// SplitMix64: a seeded generator in four lines.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let letter = |_| char::from(LETTERS[(self.next() % 32) as usize]);
        (0..length).map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_comes_once_before_any_comes_again() {
        let rows = Rows::new(1000);
        let keys: BTreeSet<String> = (0..1000).map(|number| rows.key(number)).collect();
        assert_eq!(keys.len(), 1000);
        assert_eq!(rows.key(1000), rows.key(0));
    }

    #[test]
    fn values_have_the_size_asked_for_and_differ() {
        let rows = Rows::new(10);
        let values: BTreeSet<&str> = (0..VALUES as u64)
            .map(|number| rows.value(number))
            .collect();
        assert_eq!(values.len(), VALUES);
        assert!(values.iter().all(|value| value.len() == VALUE_BYTES));
    }
}
