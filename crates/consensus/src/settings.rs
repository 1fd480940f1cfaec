//! What can be set for consensus on one node.

use std::path::PathBuf;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use tablestore_controller::{REREPLICATE_AFTER, VOTERS_MAX};
use tablestore_placement::StorageId;

/// The leader shows itself this often.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// An ordinary election begins after the second plus something between both. Voters that do not
/// hear the leader any more are sooner, see `election`.
const ELECTION: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(300));
/// How long a proposal waits for a controller and its answer.
pub(super) const PROPOSE_WITHIN: Duration = Duration::from_secs(10);

/// A snapshot is taken after this many entries, and this many are kept behind it so that a node
/// that was away for a moment needs no snapshot.
const ENTRIES_PER_SNAPSHOT: u64 = 1000;
const ENTRIES_KEPT: u64 = 500;
/// A snapshot travels as one message; time for the largest.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(10);

/// Settings of consensus on one node.
#[derive(Debug, Clone)]
pub struct ConsensusSettings {
    /// The storage id of this node; its id in the raft group.
    pub me: StorageId,
    /// Where log and snapshot lie; made if missing.
    pub directory: PathBuf,
    /// Voters of the raft group at most.
    pub voters_max: usize,
    /// The leader shows itself this often; by default every 50 ms.
    pub heartbeat: Duration,
    /// An ordinary election begins after the second plus something between both; by default
    /// 150 and 300 ms.
    pub election: (Duration, Duration),
    /// A voter that is dead for longer is replaced by a learner.
    pub rereplicate_after: Duration,
    /// No vote is given before [`release_votes`](super::Consensus::release_votes).
    pub votes_held: bool,
}

impl ConsensusSettings {
    /// The defaults for one node.
    #[must_use]
    pub fn new(me: StorageId, directory: PathBuf) -> Self {
        Self {
            me,
            directory,
            voters_max: VOTERS_MAX,
            heartbeat: HEARTBEAT,
            election: ELECTION,
            rereplicate_after: REREPLICATE_AFTER,
            votes_held: false,
        }
    }

    pub(super) fn raft_config(&self) -> Config {
        let (election_min, election_max) = self.election;
        Config {
            cluster_name: "tablestore".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(election_min),
            election_timeout_max: millis(election_max),
            // A node that cannot win does not disturb a leader, and a leader that reaches no
            // majority does not keep its followers from electing another.
            enable_pre_vote: Some(true),
            quorum_loss_probe_interval: Some(2 * millis(election_max)),
            // A restarted leader asks for votes: its silence may have been noticed.
            enable_leader_restore: Some(false),
            install_snapshot_timeout: millis(SNAPSHOT_WITHIN),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(ENTRIES_PER_SNAPSHOT),
            max_in_snapshot_log_to_keep: ENTRIES_KEPT,
            // Ends at once when the link is up again.
            backoff: "10ms 20ms 40ms ...200ms".to_owned(),
            ..Config::default()
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
