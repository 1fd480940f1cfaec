//! What clients make the node hold in memory, under one limit: bodies that are read, and answers
//! that are not taken yet.
//!
//! Small pieces are not counted, so that a node that holds all it may still serves them; the limit
//! of connections bounds their sum. Knows nothing of what is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::problem::{Kind, Problem};
use crate::metrics::{Counter, Gauge, Metrics};

/// A piece up to this size is not counted: there is about one for each connection.
pub(crate) const SMALL_BYTES: usize = 64 << 10;

/// The limit and what is held.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes_max: usize,
    held: AtomicUsize,
    shown: Arc<Gauge>,
    refused: Arc<Counter>,
}

impl Memory {
    pub(crate) fn new(bytes_max: usize, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            held: AtomicUsize::new(0),
            shown: metrics.gauge(
                "tablestore_http_memory_bytes",
                "Bytes of large bodies and answers that are held for clients.",
                &[],
            ),
            refused: metrics.counter(
                "tablestore_http_memory_refused_total",
                "Bodies and answers refused because too much was held for clients.",
                &[],
            ),
        })
    }

    /// So many bytes, until the share is dropped.
    ///
    /// # Errors
    /// `too_much_at_once`; nothing is held.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, Problem> {
        let mut share = Share {
            memory: Arc::clone(self),
            bytes: 0,
        };
        share.grow(bytes)?;
        Ok(share)
    }

    /// The same bytes, counted until the last of them is dropped.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn hold(self: &Arc<Self>, bytes: Bytes) -> Result<Bytes, Problem> {
        if bytes.len() <= SMALL_BYTES {
            return Ok(bytes);
        }
        let share = self.take(bytes.len())?;
        Ok(share.around(bytes))
    }

    fn show(&self) {
        let held = self.held.load(Ordering::Relaxed);
        self.shown.assign(i64::try_from(held).unwrap_or(i64::MAX));
    }
}

/// A part of what may be held.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Share {
    /// So many bytes more.
    ///
    /// # Errors
    /// As [`Memory::take`]; the share stays as it was.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let memory = &self.memory;
        let fits = |held: usize| {
            let held = held.checked_add(bytes)?;
            (held <= memory.bytes_max).then_some(held)
        };
        let (set, fetched) = (Ordering::Relaxed, Ordering::Relaxed);
        if memory.held.fetch_update(set, fetched, fits).is_err() {
            memory.refused.increment();
            let detail = format!(
                "clients may make this node hold {} MiB at once",
                memory.bytes_max >> 20
            );
            return Err(Problem::new(Kind::TooMuchAtOnce, detail));
        }
        self.bytes += bytes;
        memory.show();
        Ok(())
    }

    /// How much it is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// `bytes` with this share, which goes with the last of them.
    pub(crate) fn around(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held {
            bytes,
            _share: self,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.memory.show();
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_held_again_and_small_pieces_always() {
        let memory = Memory::new(3 * SMALL_BYTES, &Metrics::new());
        let large = || Bytes::from(vec![0; 2 * SMALL_BYTES]);
        let held = memory.hold(large()).expect("there is room");
        let part = held.slice(..1);
        drop(held);
        assert!(memory.hold(large()).is_err());
        assert!(memory.hold(Bytes::from(vec![0; SMALL_BYTES])).is_ok());
        let mut share = memory.take(SMALL_BYTES).expect("there is room");
        assert!(share.grow(1).is_err());
        assert_eq!(share.bytes(), SMALL_BYTES);
        drop((part, share));
        assert_eq!(memory.shown.value(), 0);
        assert_eq!(memory.refused.value(), 2);
        assert!(memory.hold(large()).is_ok());
    }
}
