//! Linearizable reads of the map. Callers share rounds: a round serves everyone who arrived before
//! it began.

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use tablestore_placement::ClusterMap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::core::Core;
use super::message::{PeerReply, PeerRequest};

/// Callers that wait for a round.
pub(super) const READERS_MAX: usize = 16_384;
/// A round gives up after this; a strong read that waits for it has other means.
const ROUND_MAX: Duration = Duration::from_secs(2);
/// Between two attempts of one round.
const PAUSE: Duration = Duration::from_millis(5);

/// Why the map could not be confirmed. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There was no controller with a majority in time. Try again later.
    #[error("the cluster has no controller at the moment")]
    NoController,
    /// Too many callers wait. Try again later.
    #[error("too many reads of the map are waiting")]
    Busy,
    /// Consensus has ended on this node.
    #[error("the control plane of this node has ended")]
    Stopped,
}

/// The map, or why not.
pub(super) type ReadResult = Result<Arc<ClusterMap>, ReadError>;
/// Who waits for a round.
pub(super) type Reader = oneshot::Sender<ReadResult>;

/// Runs rounds one after the other until the node ends.
pub(super) async fn run_rounds(core: Core, mut readers: mpsc::Receiver<Reader>) {
    let mut round = Vec::new();
    while let Some(first) = readers.recv().await {
        round.push(first);
        while let Ok(next) = readers.try_recv() {
            round.push(next);
        }
        let result = run_round(&core).await;
        for reader in round.drain(..) {
            // The reader may have given up.
            let _ = reader.send(result.clone());
        }
    }
}

async fn run_round(core: &Core) -> ReadResult {
    let deadline = Instant::now() + ROUND_MAX;
    loop {
        let index = timeout_at(deadline, confirm(core)).await;
        let Ok(index) = index else {
            return Err(ReadError::NoController);
        };
        if let Some(index) = index {
            let mut applied = core.raft.watch_apply_progress();
            let caught_up = applied.wait_until(|id| id.is_some_and(|id| id.index >= index));
            return match timeout_at(deadline, caught_up).await {
                Ok(Ok(_)) => Ok(Arc::clone(&core.map.borrow())),
                Ok(Err(_)) => Err(ReadError::Stopped),
                Err(_) => Err(ReadError::NoController),
            };
        }
        sleep(PAUSE).await;
        if Instant::now() >= deadline {
            return Err(ReadError::NoController);
        }
    }
}

/// The index that must be applied here, as confirmed by the leader after now.
async fn confirm(core: &Core) -> Option<u64> {
    let leader = core.leadership.borrow().leader?;
    if leader == core.me {
        return confirm_here(core).await;
    }
    match core
        .peers
        .call(leader, PeerRequest::ReadIndex, ROUND_MAX)
        .await
    {
        Ok(PeerReply::ReadIndex(index)) => index,
        _ => None,
    }
}

/// Confirms by a round of heartbeats that this node leads. Never by its lease.
pub(super) async fn confirm_here(core: &Core) -> Option<u64> {
    let confirmed = core.raft.get_read_log_id(ReadPolicy::ReadIndex);
    let confirmed = timeout(ROUND_MAX, confirmed).await.ok()?;
    confirmed.ok().map(|(read_log_id, _)| read_log_id.index())
}
