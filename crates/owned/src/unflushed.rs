//! What a database says of the bytes that it holds back: it speaks of them to a recorder of
//! metrics alone. Knows nothing of rows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use slatedb::db_stats::{BACKPRESSURE_COUNT, TOTAL_MEM_SIZE_BYTES};
use slatedb_common::metrics::{
    CounterFn, GaugeFn, HistogramFn, MetricsRecorder, NoopMetricsRecorder, UpDownCounterFn,
};

use crate::counts::Counts;

/// Takes down of one database what is counted here, and nothing else.
pub(crate) struct Recorder {
    pub(crate) counts: Arc<Counts>,
    /// With how many bytes the database holds up writes.
    pub(crate) bytes_max: usize,
}

/// The bytes of one database, until it is gone.
struct Bytes {
    counts: Arc<Counts>,
    last: AtomicI64,
    max: i64,
}

struct HeldUp(Arc<Counts>);

impl GaugeFn for Bytes {
    fn set(&self, value: i64) {
        let before = self.last.swap(value, Ordering::Relaxed);
        self.counts.unflushed(value - before);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.set(0);
        self.counts.may_be_unflushed(-self.max);
    }
}

impl CounterFn for HeldUp {
    fn increment(&self, value: u64) {
        self.0.held_up(value);
    }
}

impl MetricsRecorder for Recorder {
    fn register_counter(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
    ) -> Arc<dyn CounterFn> {
        match name {
            BACKPRESSURE_COUNT => Arc::new(HeldUp(Arc::clone(&self.counts))),
            _ => NoopMetricsRecorder::new().register_counter(name, description, labels),
        }
    }

    fn register_gauge(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
    ) -> Arc<dyn GaugeFn> {
        if name != TOTAL_MEM_SIZE_BYTES {
            return NoopMetricsRecorder::new().register_gauge(name, description, labels);
        }
        let max = i64::try_from(self.bytes_max).unwrap_or(i64::MAX);
        self.counts.may_be_unflushed(max);
        Arc::new(Bytes {
            counts: Arc::clone(&self.counts),
            last: AtomicI64::new(0),
            max,
        })
    }

    fn register_up_down_counter(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
    ) -> Arc<dyn UpDownCounterFn> {
        NoopMetricsRecorder::new().register_up_down_counter(name, description, labels)
    }

    fn register_histogram(
        &self,
        name: &str,
        description: &str,
        labels: &[(&str, &str)],
        boundaries: &[f64],
    ) -> Arc<dyn HistogramFn> {
        NoopMetricsRecorder::new().register_histogram(name, description, labels, boundaries)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}
