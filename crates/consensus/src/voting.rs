//! How this node answers requests for votes and for a hand-over.
//!
//! A vote asked for with `leadership_transfer` is given although the leader was heard of a moment
//! ago. That mark is never believed when it arrives: this node sets it itself, if it has looked
//! and found the leader's process gone, if the leader does not answer its pings any more, or if it
//! has been told by the leader itself to expect this candidate.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::raft::{TransferLeaderRequest, VoteRequest};
use tablestore_placement::StorageId;
use tokio::time::timeout;

use super::core::Core;
use super::message::{PeerIdentity, PeerReply};
use super::types::{TypeConfig, Vote};

/// The leader's announcement may arrive shortly after the candidate's request.
const ANNOUNCEMENT_WAIT: Duration = Duration::from_millis(20);

/// A leader said that it hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HandOver {
    /// The leader's vote.
    from: Vote,
    /// Its chosen successor.
    to: u64,
}

pub(super) async fn vote(
    core: &Core,
    from: PeerIdentity,
    mut request: VoteRequest<TypeConfig>,
) -> PeerReply {
    let claimed = std::mem::take(&mut request.leadership_transfer);
    let candidate = request.vote.leader_id.node_id;
    if candidate != from.storage.0 {
        return PeerReply::Vote(Err("a vote is asked for by the candidate itself".to_owned()));
    }
    if core.votes_held.load(Ordering::Acquire) {
        // It may have voted in this term and run on an older disk now.
        let why = "the others have not confirmed this start yet".to_owned();
        return PeerReply::Vote(Err(why));
    }
    if let Some((leader, vote)) = followed_leader(core, candidate) {
        let hand_over = HandOver {
            from: vote,
            to: candidate,
        };
        request.leadership_transfer = is_gone(core, leader, claimed.then_some(hand_over)).await;
        tracing::debug!(%leader, candidate, gone = request.leadership_transfer, "asked for a vote");
    }
    PeerReply::Vote(
        core.raft
            .vote(request)
            .await
            .map_err(|error| error.to_string()),
    )
}

pub(super) async fn pre_vote(core: &Core, mut request: VoteRequest<TypeConfig>) -> PeerReply {
    request.leadership_transfer = false;
    PeerReply::Vote(
        core.raft
            .pre_vote(request)
            .await
            .map_err(|error| error.to_string()),
    )
}

pub(super) async fn transfer_leader(
    core: &Core,
    from: PeerIdentity,
    request: TransferLeaderRequest<TypeConfig>,
) -> PeerReply {
    let vote = *request.from_leader();
    if vote.leader_id.node_id != from.storage.0 {
        return PeerReply::TransferLeader(Err("only the leader hands over".to_owned()));
    }
    let to = *request.to_node_id();
    core.hand_over
        .send_replace(Some(HandOver { from: vote, to }));
    PeerReply::TransferLeader(match core.raft.handle_transfer_leader(request).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

/// The leader that this node follows, if it is another than the candidate.
fn followed_leader(core: &Core, candidate: u64) -> Option<(StorageId, Vote)> {
    let metrics = core.raft.server_metrics();
    let now = metrics.borrow_watched();
    let leader = now.current_leader?;
    (leader != now.id && leader != candidate).then_some((StorageId(leader), now.vote))
}

/// Whether this node itself knows that the leader leads no more.
async fn is_gone(core: &Core, leader: StorageId, hand_over: Option<HandOver>) -> bool {
    if core.reach.is_missed(leader) {
        return true;
    }
    let announced = async {
        let Some(expected) = hand_over else {
            return std::future::pending().await;
        };
        let mut announcements = core.hand_over.subscribe();
        let waited = announcements.wait_for(|announced| *announced == Some(expected));
        matches!(timeout(ANNOUNCEMENT_WAIT, waited).await, Ok(Ok(_)))
    };
    let looked = async {
        let found = core.peers.probe(leader).await;
        found.sign(core.incarnation_of(leader)).is_hint()
    };
    if hand_over.is_none() {
        return looked.await;
    }
    tokio::pin!(announced, looked);
    tokio::select! {
        announced = &mut announced => announced || looked.await,
        looked = &mut looked => looked || announced.await,
    }
}
