//! A queue in pieces: it grows without a copy and without slack, and gives memory back as it
//! shrinks. Knows nothing of what it holds.

use std::collections::VecDeque;

/// Entries in one piece.
const PIECE: usize = 256;

/// First in, first out, with access by place.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// All but the last are full.
    pieces: VecDeque<Vec<T>>,
    /// Entries of the first piece that are gone.
    gone: usize,
    len: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            gone: 0,
            len: 0,
        }
    }
}

impl<T> Kept<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry at a place, counted from the oldest.
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        let at = place + self.gone;
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    pub(super) fn push(&mut self, entry: T) {
        match self.pieces.back_mut() {
            Some(last) if last.len() < PIECE => last.push(entry),
            // Few queues are longer than one piece, so only the others are made in full.
            Some(_) => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(entry);
                self.pieces.push_back(piece);
            }
            None => self.pieces.push_back(vec![entry]),
        }
        self.len += 1;
    }

    /// Drops the oldest.
    pub(super) fn pop(&mut self) {
        if self.len == 0 {
            return;
        }
        self.gone += 1;
        self.len -= 1;
        if self.gone == PIECE || self.len == 0 {
            self.pieces.pop_front();
            self.gone = 0;
        }
    }

    /// The first place for which `before` does not hold, in a queue in which it holds for the first
    /// ones only.
    pub(super) fn partition_point(&self, before: impl Fn(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(&before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out_in_order_and_memory_goes_with_it() {
        let mut kept = Kept::default();
        for round in 0..3_u64 {
            (0..1_000).for_each(|entry| kept.push(round * 1_000 + entry));
            (0..700).for_each(|_| kept.pop());
        }
        assert_eq!(kept.len(), 900);
        assert_eq!(kept.get(0), Some(&2_100));
        assert_eq!(kept.get(899), Some(&2_999));
        assert_eq!(kept.get(900), None);
        assert_eq!(kept.partition_point(|entry| *entry < 2_500), 400);
        assert!(kept.pieces.len() <= 900 / PIECE + 2);
        (0..1_000).for_each(|_| kept.pop());
        assert!(kept.is_empty() && kept.pieces.is_empty());
        kept.push(5);
        assert_eq!(kept.get(0), Some(&5));
    }
}
