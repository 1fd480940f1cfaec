//! The end of the log that stays in memory. Knows nothing of durability, commit or followers.

use std::collections::VecDeque;

use crate::entry::Entry;

/// Consecutive entries up to the log end; older ones are read back from the journal.
#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The index behind the last entry.
    next: u64,
}

impl Tail {
    /// Nothing in memory of a log that ends at `end`.
    pub(crate) fn new(end: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            next: end + 1,
        }
    }

    /// The first index in memory; behind the log end if there is none.
    pub(crate) fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    /// The log end.
    pub(crate) fn end(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(entry.index, self.next, "entries are consecutive");
        self.bytes += entry.cost();
        self.next += 1;
        self.entries.push_back(entry);
    }

    /// Cuts the log behind `end`.
    pub(crate) fn truncate(&mut self, end: u64) {
        while self.next > end + 1 {
            match self.entries.pop_back() {
                Some(entry) => {
                    self.bytes -= entry.cost();
                    self.next -= 1;
                }
                None => self.next = end + 1,
            }
        }
    }

    /// Drops the oldest entries up to `durable` while more than `bytes_max` are in memory.
    pub(crate) fn evict(&mut self, bytes_max: usize, durable: u64) {
        while self.bytes > bytes_max && self.first() <= durable {
            let Some(entry) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= entry.cost();
        }
    }

    /// Entries from `from` to `to`, as many as fit into the limits but at least one; none if
    /// `from` is not in memory.
    pub(crate) fn range(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
        count_max: usize,
    ) -> Vec<Entry> {
        let Some(at) = from.checked_sub(self.first()) else {
            return Vec::new();
        };
        let wanted = (to + 1).saturating_sub(from).min(count_max as u64) as usize;
        let mut taken = Vec::with_capacity(wanted.min(self.entries.len()));
        let mut bytes = 0;
        for entry in self.entries.iter().skip(at as usize).take(wanted) {
            if bytes >= bytes_max {
                break;
            }
            bytes += entry.cost();
            taken.push(entry.clone());
        }
        taken
    }

    /// Bytes from `from` to the end, if all of that is in memory and not more than `bytes_max`.
    pub(crate) fn suffix(&self, from: u64, bytes_max: usize) -> Vec<Entry> {
        if from < self.first() || from > self.end() {
            return Vec::new();
        }
        let taken = self.range(from, self.end(), bytes_max, usize::MAX);
        if taken.last().is_some_and(|last| last.index == self.end()) {
            taken
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tablestore_placement::Epoch;

    use super::*;

    fn entry(index: u64) -> Entry {
        Entry {
            epoch: Epoch(1),
            index,
            data: Bytes::from(vec![0; 100]),
        }
    }

    fn tail(from: u64, to: u64) -> Tail {
        let mut tail = Tail::new(from - 1);
        (from..=to).for_each(|index| tail.push(entry(index)));
        tail
    }

    #[test]
    fn what_is_not_durable_is_never_evicted() {
        let mut tail = tail(1, 10);
        tail.evict(0, 4);
        assert_eq!((tail.first(), tail.end()), (5, 10));
        tail.evict(0, 10);
        assert_eq!((tail.first(), tail.end()), (11, 10));
        tail.push(entry(11));
        assert_eq!((tail.first(), tail.end()), (11, 11));
    }

    #[test]
    fn a_cut_below_what_is_in_memory_leaves_an_empty_tail_there() {
        let mut tail = tail(6, 10);
        tail.truncate(8);
        assert_eq!((tail.first(), tail.end()), (6, 8));
        tail.truncate(3);
        assert_eq!((tail.first(), tail.end()), (4, 3));
        assert_eq!(tail.bytes, 0);
    }

    #[test]
    fn a_range_is_bounded_and_has_at_least_one_entry() {
        let tail = tail(6, 10);
        assert_eq!(tail.range(5, 10, 1 << 20, 9), []);
        assert_eq!(tail.range(6, 10, 1, 9).len(), 1);
        assert_eq!(tail.range(7, 9, 1 << 20, 9).len(), 3);
        assert_eq!(tail.range(7, 9, 1 << 20, 2).len(), 2);
        assert_eq!(tail.suffix(8, 1 << 20).len(), 3);
        assert_eq!(tail.suffix(8, 10), []);
        assert_eq!(tail.suffix(11, 10), []);
    }
}
