//! The receiving side of a transfer: takes chunks in order and proves that the copy is complete.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Chunk, Ended, Pairs, Tally};
use crate::mutant::{Mutant, Sabotage};
use crate::settings::Settings;

/// What became of a chunk that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// To be acknowledged.
    pub(crate) number: u64,
    /// It was the last, and the copy is complete.
    pub(crate) complete: bool,
}

/// A copy being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Chunks that came.
    came: u64,
    /// Chunks that are stored.
    stored: u64,
    waiting: VecDeque<Pairs>,
    storing: bool,
    /// All came, and they are what was sent.
    proven: bool,
    tally: Tally,
    heard: Duration,
    window: u64,
    chunk_within: Duration,
    sabotage: Sabotage,
}

impl Incoming {
    pub(crate) fn new(now: Duration, settings: &Settings) -> Self {
        Self {
            came: 0,
            stored: 0,
            waiting: VecDeque::new(),
            storing: false,
            proven: false,
            tally: Tally::default(),
            heard: now,
            window: settings.window_chunks,
            chunk_within: settings.chunk_within,
            sabotage: settings.sabotage(),
        }
    }

    /// A chunk came.
    ///
    /// # Errors
    /// If it is not the next one, is beyond the window, or the totals are others: the transfer is
    /// over and nothing of it may be used.
    pub(crate) fn came(&mut self, now: Duration, chunk: Chunk) -> Result<(), Ended> {
        let takes_all = self.sabotage.has(Mutant::ChunkLostUnnoticed);
        let fits = (chunk.number == self.came + 1 || takes_all) && !self.proven;
        if !fits || self.came - self.stored >= self.window {
            return Err(Ended::Gap);
        }
        self.tally.add(&chunk.pairs);
        if let Some(totals) = chunk.totals {
            if totals != self.tally.totals() && !takes_all {
                return Err(Ended::Differs);
            }
            self.proven = true;
        }
        self.heard = now;
        self.came += 1;
        self.waiting.push_back(chunk.pairs);
        Ok(())
    }

    /// The rows to store next, unless some are being stored.
    pub(crate) fn next_to_store(&mut self) -> Option<Pairs> {
        if self.storing {
            return None;
        }
        let pairs = self.waiting.pop_front()?;
        self.storing = true;
        Some(pairs)
    }

    /// The rows that were to be stored are.
    pub(crate) fn stored(&mut self, now: Duration) -> Taken {
        self.storing = false;
        self.stored += 1;
        self.heard = now;
        Taken {
            number: self.stored,
            complete: self.proven && (self.stored == self.came || self.is_all_stored_but_lost()),
        }
    }

    /// With the deliberate fault nobody misses what was lost.
    fn is_all_stored_but_lost(&self) -> bool {
        self.sabotage.has(Mutant::ChunkLostUnnoticed) && self.waiting.is_empty()
    }

    /// Whether the sender has been silent for too long.
    pub(crate) fn is_late(&self, now: Duration) -> bool {
        !self.storing && !self.proven && now > self.heard + self.chunk_within
    }
}
