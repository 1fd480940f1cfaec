//! The clock that a database stamps its writes with: the wall clock, but never before the newest
//! stamp of a former owner. Knows nothing of databases.
//!
//! The database refuses a write, and stops for good, if the wall clock is more than ten seconds
//! behind the newest stamp. On a member whose clock is behind that of the dead owner no write
//! would ever succeed. No clock may refuse a write, so here time stands still instead.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slatedb_common::clock::{DefaultSystemClock, SystemClock, SystemClockTicker};

/// A wall clock that is never before a given time.
#[derive(Debug)]
pub(crate) struct StampClock {
    wall: Arc<dyn SystemClock>,
    not_before_ms: AtomicI64,
}

impl StampClock {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(DefaultSystemClock::new()))
    }

    pub(crate) fn over(wall: Arc<dyn SystemClock>) -> Self {
        Self {
            wall,
            not_before_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// From now on the time is at least `stamp_ms`.
    pub(crate) fn not_before(&self, stamp_ms: i64) {
        self.not_before_ms.fetch_max(stamp_ms, Ordering::SeqCst);
    }
}

impl SystemClock for StampClock {
    fn now(&self) -> DateTime<Utc> {
        let wall = self.wall.now();
        let not_before = self.not_before_ms.load(Ordering::SeqCst);
        match DateTime::from_timestamp_millis(not_before) {
            Some(not_before) => wall.max(not_before),
            None => wall,
        }
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.wall.sleep(duration)
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}
