//! What the data thread counts. Knows nothing of how it is shown.

use std::sync::Arc;

use tablestore_dataplane::Counts;

use crate::metrics::{Counter, Metrics};

/// A name, what it means, and where the plane counts it.
type Followed = (&'static str, &'static str, fn(&Counts) -> u64);

const FOLLOWED: [Followed; 16] = [
    (
        "tablestore_writes_total",
        "Writes that this node committed.",
        |counts| counts.writes,
    ),
    (
        "tablestore_reads_total",
        "Reads that this node answered.",
        |counts| counts.reads,
    ),
    (
        "tablestore_peer_connections_overrun_total",
        "Connections to peers that were closed because a peer did not take what was sent.",
        |counts| counts.connections_overrun,
    ),
    (
        "tablestore_foreign_answers_total",
        "Messages of a session that had ended, or answers to another question; dropped.",
        |counts| counts.foreign_answers,
    ),
    (
        "tablestore_copies_ended_total",
        "Copies of partitions, sent or received, that ended before they were complete.",
        |counts| counts.copies_ended,
    ),
    (
        "tablestore_checksum_mismatches_total",
        "Comparisons in which replicas of a partition differed.",
        |counts| counts.mismatches,
    ),
    (
        "tablestore_snapshots_installed_total",
        "Replicas of this node that caught up by a snapshot.",
        |counts| counts.snapshots,
    ),
    (
        "tablestore_partitions_put_aside_total",
        "Partitions on disk of which the cluster map knows nothing, moved to rows-aside.",
        |counts| counts.put_aside,
    ),
    (
        "tablestore_active_writes_total",
        "Writes to active tables that this node coordinated and enough replicas have.",
        |counts| counts.active_writes,
    ),
    (
        "tablestore_active_reads_total",
        "Reads of active tables that this node coordinated and enough replicas answered.",
        |counts| counts.active_reads,
    ),
    (
        "tablestore_active_failed_total",
        "Requests for active tables that this node answered with a failure.",
        |counts| counts.active_failed,
    ),
    (
        "tablestore_active_comparisons_total",
        "Comparisons of active replicas here with others that were completed.",
        |counts| counts.sweeps,
    ),
    (
        "tablestore_active_comparisons_failed_total",
        "Comparisons of active replicas here with others that ended early.",
        |counts| counts.sweeps_failed,
    ),
    (
        "tablestore_active_rows_repaired_total",
        "Rows that active replicas here had missed and got by a comparison.",
        |counts| counts.sweep_rows,
    ),
    (
        "tablestore_owned_opened_total",
        "Partitions on shared storage that this node has opened.",
        |counts| counts.owned_opened,
    ),
    (
        "tablestore_owned_faults_total",
        "Times that a partition on shared storage could not be opened here, or ended, by a fault.",
        |counts| counts.owned_faults,
    ),
];

/// Handles to the counters of the data thread.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    /// What the plane had counted when it was last asked.
    seen: Counts,
    /// As in [`FOLLOWED`].
    followed: Vec<Arc<Counter>>,
    pub(crate) bad_frames: Arc<Counter>,
}

impl Counters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help, &[]);
        let followed = FOLLOWED.iter().map(|(name, help, _)| counter(name, help));
        Self {
            seen: Counts::default(),
            followed: followed.collect(),
            bad_frames: counter(
                "tablestore_bad_frames_total",
                "Frames of peers that were refused; each closes its connection.",
            ),
        }
    }

    /// Adds what the plane has counted since this was last called.
    pub(crate) fn follow(&mut self, counts: Counts) {
        let seen = std::mem::replace(&mut self.seen, counts);
        if seen == counts {
            return;
        }
        for ((.., of), counter) in FOLLOWED.iter().zip(&self.followed) {
            counter.add(of(&counts) - of(&seen));
        }
    }
}
