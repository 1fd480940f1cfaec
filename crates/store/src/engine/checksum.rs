//! Checksums of a partition's rows by key ranges, so that replicas can be compared and a
//! difference located. Knows nothing of who compares them.
//!
//! Ranges begin at the keys with the smallest hashes. So replicas that differ in a few rows
//! still agree on the ranges, unless one of those rows is itself a border. One pass: the sum
//! of row hashes is order-free, so that two neighbouring ranges can be merged.

use std::collections::BTreeSet;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{EngineError, Scan, Snapshot};

/// The greatest number of ranges.
pub const CHECKSUM_RANGES_MAX: usize = 16;

/// How much of a snapshot is in memory at a time.
const PAGE_BYTES: usize = 256 * 1024;

/// The checksum of one range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeChecksum {
    /// The first key of the range.
    pub first: Bytes,
    /// The last key of the range.
    pub last: Bytes,
    /// The number of rows.
    pub rows: u64,
    /// The sum of the rows' 128-bit xxh3 hashes.
    pub hash: u128,
}

/// The checksums of a partition at one applied index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// The applied index.
    pub index: u64,
    /// The number of rows.
    pub rows: u64,
    /// The ranges, in ascending order of keys; at most [`CHECKSUM_RANGES_MAX`].
    pub ranges: Vec<RangeChecksum>,
}

/// Reads a snapshot through and answers its checksums.
///
/// # Errors
/// If the snapshot cannot be read.
pub fn checksum_of(snapshot: &dyn Snapshot) -> Result<Checksums, EngineError> {
    let mut ranges = Ranges::default();
    let mut scan = Scan::all(usize::MAX, PAGE_BYTES);
    loop {
        let page = snapshot.scan(&scan)?;
        for (key, value) in &page.rows {
            ranges.add(key, value);
        }
        match page.rows.into_iter().next_back() {
            Some((key, _)) if page.more => scan.from = std::ops::Bound::Excluded(key),
            _ => return Ok(ranges.finish(snapshot.index())),
        }
    }
}

/// The checksums of rows that come in ascending order.
#[must_use]
pub fn checksum_of_rows<'a>(
    index: u64,
    rows: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
) -> Checksums {
    let mut ranges = Ranges::default();
    for (key, value) in rows {
        ranges.add(key, value);
    }
    ranges.finish(index)
}

impl Checksums {
    /// The checksums as numbers, to be sent and compared: the count of rows, then for each
    /// range a hash of its first key, its count and the two halves of its hash.
    #[must_use]
    pub fn to_words(&self) -> Vec<u64> {
        let mut words = vec![self.rows];
        for range in &self.ranges {
            let (high, low) = ((range.hash >> 64) as u64, range.hash as u64);
            words.extend([xxh3_64(&range.first), range.rows, high, low]);
        }
        words
    }

    /// The positions of the ranges in which the partition differs from the one with these words.
    /// None is named if the words have only ranges that are not here.
    #[must_use]
    pub fn differing(&self, words: &[u64]) -> Vec<usize> {
        let theirs: BTreeSet<&[u64]> = words.get(1..).unwrap_or(&[]).chunks_exact(4).collect();
        let ours = self.to_words();
        (0..self.ranges.len())
            .filter(|at| !theirs.contains(&ours[1 + at * 4..5 + at * 4]))
            .collect()
    }
}

#[derive(Default)]
struct Ranges {
    /// Each with the hash of its first key; that of the very first range does not count.
    ranges: Vec<(u64, RangeChecksum)>,
}

impl Ranges {
    fn add(&mut self, key: &Bytes, value: &Bytes) {
        let border = xxh3_64(key);
        let begins = self.ranges.len() < CHECKSUM_RANGES_MAX
            || self.ranges.iter().skip(1).any(|(hash, _)| border < *hash);
        if begins {
            self.ranges.push((
                border,
                RangeChecksum {
                    first: key.clone(),
                    last: key.clone(),
                    rows: 0,
                    hash: 0,
                },
            ));
            if self.ranges.len() > CHECKSUM_RANGES_MAX {
                self.merge_weakest();
            }
        }
        if let Some((_, range)) = self.ranges.last_mut() {
            range.last.clone_from(key);
            range.rows += 1;
            range.hash = range.hash.wrapping_add(row_hash(key, value));
        }
    }

    /// Merges the range that begins with the greatest hash into the one before it.
    fn merge_weakest(&mut self) {
        let weakest = (1..self.ranges.len()).max_by_key(|at| self.ranges[*at].0);
        let Some(at) = weakest else { return };
        let (_, merged) = self.ranges.remove(at);
        let (_, range) = &mut self.ranges[at - 1];
        range.last = merged.last;
        range.rows += merged.rows;
        range.hash = range.hash.wrapping_add(merged.hash);
    }

    fn finish(self, index: u64) -> Checksums {
        let ranges: Vec<_> = self.ranges.into_iter().map(|(_, range)| range).collect();
        Checksums {
            index,
            rows: ranges.iter().map(|range| range.rows).sum(),
            ranges,
        }
    }
}

fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rows(count: u32) -> BTreeMap<Bytes, Bytes> {
        (0..count)
            .map(|row| {
                (
                    Bytes::from(format!("key-{row:05}")),
                    Bytes::from(format!("value-{row}")),
                )
            })
            .collect()
    }

    #[test]
    fn equal_rows_have_equal_checksums_in_at_most_16_ranges() {
        for count in [0, 1, 15, 16, 17, 1000] {
            let checksums = checksum_of_rows(9, rows(count).iter());
            assert_eq!(checksums.rows, u64::from(count));
            assert_eq!(
                checksums.ranges.len(),
                CHECKSUM_RANGES_MAX.min(count as usize)
            );
            assert_eq!(checksums, checksum_of_rows(9, rows(count).iter()));
            assert!(
                checksums
                    .ranges
                    .windows(2)
                    .all(|pair| pair[0].last < pair[1].first)
            );
        }
    }

    #[test]
    fn l06_a_row_that_differs_shows_in_its_range_alone() {
        let expected = checksum_of_rows(9, rows(1000).iter());
        for changed in [0u32, 17, 500, 999] {
            let mut other = rows(1000);
            let key = Bytes::from(format!("key-{changed:05}"));
            other.insert(key.clone(), Bytes::from_static(b"other"));
            let found = checksum_of_rows(9, other.iter());
            let different: Vec<_> = expected
                .ranges
                .iter()
                .zip(&found.ranges)
                .filter(|(a, b)| a != b)
                .collect();
            assert_eq!(different.len(), 1);
            assert!(different[0].0.first <= key && key <= different[0].0.last);
        }
    }

    #[test]
    fn l06_a_row_that_is_missing_moves_few_borders() {
        let expected = checksum_of_rows(9, rows(1000).iter());
        let mut worst = 0;
        for missing in 0u32..1000 {
            let mut other = rows(1000);
            other.remove(&Bytes::from(format!("key-{missing:05}")));
            let found = checksum_of_rows(9, other.iter());
            let equal = expected
                .ranges
                .iter()
                .filter(|range| found.ranges.contains(range))
                .count();
            worst = worst.max(CHECKSUM_RANGES_MAX - equal);
        }
        assert!(worst <= 3, "{worst} of 16 ranges differ");
    }
}
