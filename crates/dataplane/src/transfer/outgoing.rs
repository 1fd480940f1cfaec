//! The sending side of a transfer: numbers chunks, keeps the window, counts what was sent.

use std::time::Duration;

use super::{Chunk, Ended, Pairs, Tally};
use crate::settings::Settings;

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acked {
    /// More can be sent, or more acknowledgements are to come.
    GoesOn,
    /// The receiver has all of it.
    Complete,
}

/// A copy being sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    sent: u64,
    acked: u64,
    last_sent: bool,
    tally: Tally,
    /// When the oldest chunk on the way became that.
    waits_since: Duration,
    window: u64,
    ack_within: Duration,
}

impl Outgoing {
    pub(crate) fn new(now: Duration, settings: &Settings) -> Self {
        Self {
            sent: 0,
            acked: 0,
            last_sent: false,
            tally: Tally::default(),
            waits_since: now,
            window: settings.window_chunks,
            ack_within: settings.ack_within,
        }
    }

    /// Whether the next chunk may be sent.
    pub(crate) fn has_room(&self) -> bool {
        !self.last_sent && self.sent - self.acked < self.window
    }

    /// The next chunk, with the totals if it is the last.
    pub(crate) fn chunk(&mut self, now: Duration, pairs: Pairs, last: bool) -> Chunk {
        if self.sent == self.acked {
            self.waits_since = now;
        }
        self.tally.add(&pairs);
        self.sent += 1;
        self.last_sent = last;
        Chunk {
            number: self.sent,
            pairs,
            totals: last.then(|| self.tally.totals()),
        }
    }

    /// The receiver has stored a chunk: they come in order, each once.
    ///
    /// # Errors
    /// If this one does not; the transfer is over.
    pub(crate) fn acked(&mut self, now: Duration, number: u64) -> Result<Acked, Ended> {
        if number != self.acked + 1 || number > self.sent {
            return Err(Ended::Gap);
        }
        self.acked = number;
        self.waits_since = now;
        if self.last_sent && self.acked == self.sent {
            return Ok(Acked::Complete);
        }
        Ok(Acked::GoesOn)
    }

    /// Whether the receiver has been silent for too long.
    pub(crate) fn is_late(&self, now: Duration) -> bool {
        self.sent > self.acked && now > self.waits_since + self.ack_within
    }
}
