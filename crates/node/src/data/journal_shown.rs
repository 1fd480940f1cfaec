//! The journal as metrics: how long its syncs take, how much is written, how large it is. Knows
//! nothing of what is in it.

use std::sync::Arc;
use std::time::Duration;

use tablestore_store::journal::JournalStats;

use crate::metrics::{Counter, Gauge, Histogram, Metrics};

/// Handles to the metrics of the journal.
#[derive(Debug)]
pub(super) struct JournalShown {
    syncs: Arc<Histogram>,
    records: Arc<Counter>,
    bytes_written: Arc<Counter>,
    rolls_waited: Arc<Counter>,
    bytes: Arc<Gauge>,
    segments_used: Arc<Gauge>,
    segments_free: Arc<Gauge>,
}

impl JournalShown {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help, &[]);
        let segments = |state| {
            let help = "Files of the journal, in use or ready for use.";
            metrics.gauge("tablestore_journal_segments", help, &[("state", state)])
        };
        Self {
            syncs: metrics.histogram(
                "tablestore_journal_sync_seconds",
                "Time in which a group of records was written to the journal and synced.",
                &[],
            ),
            records: counter(
                "tablestore_journal_records_total",
                "Records that are durable in the journal.",
            ),
            bytes_written: counter(
                "tablestore_journal_written_bytes_total",
                "Bytes written to the journal, padding included.",
            ),
            rolls_waited: counter(
                "tablestore_journal_segments_waited_total",
                "Files of the journal that were not ready when they were needed.",
            ),
            bytes: metrics.gauge(
                "tablestore_journal_bytes",
                "Size of the files of the journal that are in use.",
                &[],
            ),
            segments_used: segments("used"),
            segments_free: segments("free"),
        }
    }

    /// So many records became durable, and how the journal is now.
    pub(super) fn synced(&self, records: u64, took: Duration, now: &JournalStats) {
        if records > 0 {
            self.syncs.observe(took);
        }
        self.show(now);
    }

    /// How the journal is now.
    pub(super) fn show(&self, now: &JournalStats) {
        self.records.raise(now.records);
        self.bytes_written.raise(now.bytes);
        self.rolls_waited.raise(now.rolls_waited);
        let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.bytes.assign(number(now.bytes_live));
        self.segments_used.assign(now.segments_live as i64);
        self.segments_free.assign(now.segments_free as i64);
    }
}
