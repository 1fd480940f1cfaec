//! What the data thread counts. Knows nothing of how it is shown.

use std::sync::Arc;

use tablestore_dataplane::Counts;

use crate::metrics::{Counter, Metrics};

/// Handles to the counters of the data thread.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    /// What the plane had counted when it was last asked.
    seen: Counts,
    pub(crate) writes: Arc<Counter>,
    pub(crate) reads: Arc<Counter>,
    pub(crate) bad_frames: Arc<Counter>,
    pub(crate) connections_overrun: Arc<Counter>,
    pub(crate) foreign_answers: Arc<Counter>,
    pub(crate) copies_ended: Arc<Counter>,
    pub(crate) mismatches: Arc<Counter>,
    pub(crate) snapshots: Arc<Counter>,
    pub(crate) put_aside: Arc<Counter>,
}

impl Counters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help, &[]);
        Self {
            seen: Counts::default(),
            writes: counter(
                "tablestore_writes_total",
                "Writes that this node committed.",
            ),
            reads: counter("tablestore_reads_total", "Reads that this node answered."),
            bad_frames: counter(
                "tablestore_bad_frames_total",
                "Frames of peers that were refused; each closes its connection.",
            ),
            connections_overrun: counter(
                "tablestore_peer_connections_overrun_total",
                "Connections to peers that were closed because a peer did not take what was sent.",
            ),
            foreign_answers: counter(
                "tablestore_foreign_answers_total",
                "Messages of a session that had ended, or answers to another question; dropped.",
            ),
            copies_ended: counter(
                "tablestore_copies_ended_total",
                "Copies of partitions, sent or received, that ended before they were complete.",
            ),
            mismatches: counter(
                "tablestore_checksum_mismatches_total",
                "Comparisons in which replicas of a partition differed.",
            ),
            snapshots: counter(
                "tablestore_snapshots_installed_total",
                "Replicas of this node that caught up by a snapshot.",
            ),
            put_aside: counter(
                "tablestore_partitions_put_aside_total",
                "Partitions on disk of which the cluster map knows nothing, moved to rows-aside.",
            ),
        }
    }

    /// Adds what the plane has counted since this was last called.
    pub(crate) fn follow(&mut self, counts: Counts) {
        let seen = std::mem::replace(&mut self.seen, counts);
        if seen == counts {
            return;
        }
        for (counter, before, now) in [
            (&self.writes, seen.writes, counts.writes),
            (&self.reads, seen.reads, counts.reads),
            (
                &self.connections_overrun,
                seen.connections_overrun,
                counts.connections_overrun,
            ),
            (
                &self.foreign_answers,
                seen.foreign_answers,
                counts.foreign_answers,
            ),
            (&self.copies_ended, seen.copies_ended, counts.copies_ended),
            (&self.mismatches, seen.mismatches, counts.mismatches),
            (&self.snapshots, seen.snapshots, counts.snapshots),
            (&self.put_aside, seen.put_aside, counts.put_aside),
        ] {
            counter.add(now - before);
        }
    }
}
