//! What a data plane counts. Knows nothing of how it is shown.

/// How often each has happened since the plane began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes that this node committed.
    pub writes: u64,
    /// Reads that this node answered.
    pub reads: u64,
    /// Connections to peers that were closed because a peer did not take what was sent.
    pub connections_overrun: u64,
    /// Messages of a session that had ended, or answers to another question; dropped.
    pub foreign_answers: u64,
    /// Copies of partitions, sent or received, that ended before they were complete.
    pub copies_ended: u64,
    /// Comparisons in which replicas of a partition differed.
    pub mismatches: u64,
    /// Replicas of this node that caught up by a snapshot.
    pub snapshots: u64,
    /// Partitions on disk of which the cluster map knows nothing, moved aside.
    pub put_aside: u64,
    /// Writes to active tables that this node coordinated, and enough replicas have.
    pub active_writes: u64,
    /// Reads of active tables that this node coordinated, and enough replicas answered.
    pub active_reads: u64,
    /// Requests for active tables that this node answered with a failure.
    pub active_failed: u64,
    /// Comparisons of active replicas with others that were completed.
    pub sweeps: u64,
    /// Comparisons that ended early.
    pub sweeps_failed: u64,
    /// Rows that active replicas here had missed and got by a comparison.
    pub sweep_rows: u64,
    /// Partitions on shared storage that were opened here.
    pub owned_opened: u64,
    /// Partitions on shared storage that could not be opened here, or ended, by a fault.
    pub owned_faults: u64,
}
