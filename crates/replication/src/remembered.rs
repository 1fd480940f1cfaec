//! The requests that were carried out, with their answers: part of the replicated state, so
//! that every replica keeps and evicts the same. Knows no clock: eviction goes by the own time of
//! the log alone.

mod kept;

use std::time::Duration;

use self::kept::Kept;
use crate::types::{Outcome, Remembered, RequestId};

/// Slots of the smallest index.
const SLOTS_MIN: usize = 64;
/// No entry in a slot.
const EMPTY: u64 = u64::MAX;
/// Numbers of entries wrap here, so that none makes a slot look empty.
const NUMBERS: u64 = u32::MAX as u64;
/// At most this share of the slots is used, in tenths.
const FULL_TENTHS: usize = 7;

/// A remembered request in 48 bytes. Index and stamp have 48 bits: enough for 8 900 years of
/// milliseconds and for a century of 80 000 writes a second.
#[derive(Clone, Copy, Debug)]
struct Packed {
    request: [u64; 2],
    digest: u64,
    version: u64,
    index: [u8; 6],
    log_ms: [u8; 6],
    code: u16,
}

impl Packed {
    fn pack(from: &Remembered) -> Self {
        Self {
            request: halves(from.request),
            digest: from.digest,
            version: from.outcome.version,
            index: low_48(from.index),
            log_ms: low_48(from.log_ms),
            code: from.outcome.code,
        }
    }

    fn unpack(&self) -> Remembered {
        Remembered {
            request: RequestId(u128::from(self.request[0]) | u128::from(self.request[1]) << 64),
            digest: self.digest,
            index: from_48(self.index),
            log_ms: from_48(self.log_ms),
            outcome: Outcome {
                code: self.code,
                version: self.version,
            },
        }
    }
}

/// Remembered requests by ascending log index, found by id.
#[derive(Debug)]
pub struct RememberedTable {
    kept: Kept<Packed>,
    /// Open addressing with linear probing: the hash of an id (32 bits) and the number of the
    /// entry (32 bits). With the hash at hand a probe seldom touches an entry in vain.
    slots: Vec<u64>,
    /// The number of the oldest entry in `kept`.
    oldest: u64,
    newest_ms: u64,
    remember_for_ms: u64,
    kept_min: usize,
}

impl RememberedTable {
    /// An empty table that keeps for `remember_for` of the log's time, and at least `kept_min`.
    #[must_use]
    pub fn new(remember_for: Duration, kept_min: usize) -> Self {
        Self {
            kept: Kept::default(),
            slots: vec![EMPTY; SLOTS_MIN],
            oldest: 0,
            newest_ms: 0,
            remember_for_ms: remember_for.as_millis() as u64,
            kept_min,
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The greatest time of the log; nothing before the first.
    #[must_use]
    pub fn newest_ms(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.newest_ms)
    }

    /// The log index of the oldest that is remembered.
    #[must_use]
    pub fn oldest_index(&self) -> Option<u64> {
        self.kept.get(0).map(|oldest| from_48(oldest.index))
    }

    /// What became of this request, if it is remembered.
    #[must_use]
    pub fn find(&self, request: RequestId) -> Option<Remembered> {
        self.slot_of(halves(request))
            .ok()
            .and_then(|slot| self.kept.get(self.place(self.slots[slot])))
            .map(Packed::unpack)
    }

    /// The slot of the id, or else the free one where it would go.
    fn slot_of(&self, key: [u64; 2]) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let hash = hash(key);
        let mut slot = hash as usize & mask;
        // Ends: there is always a free slot.
        while self.slots[slot] != EMPTY {
            let same_hash = self.slots[slot] >> 32 == hash;
            let is_it = |kept: &Packed| kept.request == key;
            if same_hash
                && self
                    .kept
                    .get(self.place(self.slots[slot]))
                    .is_some_and(is_it)
            {
                return Ok(slot);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }

    /// Remembers one more, behind all others by index, and evicts the oldest.
    pub fn push(&mut self, remembered: &Remembered) {
        self.newest_ms = self.newest_ms.max(remembered.log_ms);
        let packed = Packed::pack(remembered);
        if let Err(slot) = self.slot_of(packed.request) {
            let number = (self.oldest + self.kept.len() as u64) % NUMBERS;
            self.slots[slot] = hash(packed.request) << 32 | number;
            self.kept.push(packed);
            if self.kept.len() * 10 > self.slots.len() * FULL_TENTHS {
                self.grow();
            }
        }
        self.evict();
    }

    /// The log's time goes on without a request.
    pub fn pass(&mut self, log_ms: u64) {
        self.newest_ms = self.newest_ms.max(log_ms);
        self.evict();
    }

    /// The log's time from which on all but the fewest that are kept in any case may be forgotten;
    /// none if nothing else is remembered.
    #[must_use]
    pub fn forgettable_from_ms(&self) -> Option<u64> {
        let last = self.kept.get(self.kept.len().checked_sub(1)?)?;
        let surplus = self.kept.len() > self.kept_min;
        surplus.then(|| from_48(last.log_ms) + self.remember_for_ms + 1)
    }

    /// Those with a log index above `index`, in order.
    pub fn after(&self, index: u64) -> impl Iterator<Item = Remembered> + '_ {
        let from = self
            .kept
            .partition_point(|packed| from_48(packed.index) <= index);
        (from..self.kept.len()).filter_map(|at| self.kept.get(at).map(Packed::unpack))
    }

    fn evict(&mut self) {
        while self.kept.len() > self.kept_min {
            let Some(front) = self.kept.get(0) else {
                break;
            };
            if from_48(front.log_ms) + self.remember_for_ms >= self.newest_ms {
                break;
            }
            let request = front.request;
            self.remove_from_index(request);
            self.kept.pop();
            self.oldest = (self.oldest + 1) % NUMBERS;
        }
    }

    /// The place in `kept` of the entry in a slot.
    fn place(&self, slot: u64) -> usize {
        let number = slot & u64::from(u32::MAX);
        ((number + NUMBERS - self.oldest) % NUMBERS) as usize
    }

    /// Makes room for so many more at once.
    pub fn reserve(&mut self, more: usize) {
        let slots = (self.kept.len() + more) * 10 / FULL_TENTHS + 1;
        if slots > self.slots.len() {
            self.grow_to(slots.next_power_of_two());
        }
    }

    fn grow(&mut self) {
        self.grow_to(self.slots.len() * 2);
    }

    fn grow_to(&mut self, slots: usize) {
        let doubled = vec![EMPTY; slots];
        let mask = doubled.len() - 1;
        let before = std::mem::replace(&mut self.slots, doubled);
        for entry in before.into_iter().filter(|slot| *slot != EMPTY) {
            let mut slot = (entry >> 32) as usize & mask;
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = entry;
        }
    }

    /// Empties the slot of a request and moves up what probing had put behind it.
    fn remove_from_index(&mut self, request: [u64; 2]) {
        let mask = self.slots.len() - 1;
        let Ok(mut hole) = self.slot_of(request) else {
            return;
        };
        let mut slot = (hole + 1) & mask;
        while self.slots[slot] != EMPTY {
            let home = (self.slots[slot] >> 32) as usize & mask;
            // Between its home and this slot lies the hole: it may move there.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[slot];
                hole = slot;
            }
            slot = (slot + 1) & mask;
        }
        self.slots[hole] = EMPTY;
    }
}

fn halves(request: RequestId) -> [u64; 2] {
    [request.0 as u64, (request.0 >> 64) as u64]
}

/// 32 bits by a multiplication and folds (as in wyhash): ids of clients are mostly random already.
fn hash(key: [u64; 2]) -> u64 {
    let a = u128::from(key[0] ^ 0x9e37_79b9_7f4a_7c15);
    let b = u128::from(key[1] ^ 0xd1b5_4a32_d192_ed03);
    let product = a.wrapping_mul(b);
    let folded = (product as u64) ^ ((product >> 64) as u64) ^ key[0].rotate_left(32);
    (folded ^ (folded >> 32)) & u64::from(u32::MAX)
}

fn low_48(number: u64) -> [u8; 6] {
    let mut low = [0; 6];
    low.copy_from_slice(&number.to_le_bytes()[..6]);
    low
}

fn from_48(low: [u8; 6]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&low);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn remembered(request: u128, index: u64, log_ms: u64) -> Remembered {
        Remembered {
            request: RequestId(request),
            digest: index * 3,
            index,
            log_ms,
            outcome: Outcome {
                code: 200,
                version: index + 7,
            },
        }
    }

    #[test]
    fn an_entry_takes_48_bytes() {
        assert_eq!(size_of::<Packed>(), 48);
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_naive_one(
            steps in prop::collection::vec((0u128..400, 0u64..3000), 1..600),
            kept_min in 0usize..50,
        ) {
            let mut table =
                RememberedTable::new(Duration::from_secs(11), kept_min);
            // Start near the wrap-around of the numbers.
            table.oldest = NUMBERS - 100;
            let mut naive: Vec<Remembered> = Vec::new();
            let (mut stamp, mut newest) = (0, 0);
            for (at, (id, step)) in steps.iter().enumerate() {
                stamp += step / 3;
                let request = (id << 64) | (id * 7);
                let entry = remembered(request, at as u64 + 1, stamp);
                newest = newest.max(stamp);
                table.push(&entry);
                if !naive.iter().any(|kept| kept.request == entry.request) {
                    naive.push(entry);
                }
                while naive.len() > kept_min && naive[0].log_ms + 11_000 < newest {
                    naive.remove(0);
                }
            }
            let by_id: BTreeMap<_, _> = naive.iter().map(|kept| (kept.request, *kept)).collect();
            for id in 0u128..400 {
                let request = RequestId((id << 64) | (id * 7));
                prop_assert_eq!(table.find(request), by_id.get(&request).copied());
            }
            prop_assert_eq!(table.after(0).collect::<Vec<_>>(), naive);
        }
    }
}
