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
}
