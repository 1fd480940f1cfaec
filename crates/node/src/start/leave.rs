//! How a node that was told to stop goes away, so that clients notice nothing: its offices first,
//! then the leadership, then the requests that pass through it, its log last.
//!
//! Knows nothing of how a node starts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tablestore_placement::{
    ClusterMap, Command, Decision, DecisionKind, MemberState, StorageId, plan,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Http, Until};
use crate::data::DataEvent;
use crate::node::{Node, wall_ms};

/// How long handing offices and leadership over may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(5);
/// Pause before offices are proposed again that were not taken.
const AGAIN_AFTER: Duration = Duration::from_millis(10);
/// How long rows may take to be flushed, so that the next start has little to read.
const FLUSHED_WITHIN: Duration = Duration::from_secs(3);
/// How long the data thread may take to let go, and then to end.
const DATA_ENDS_WITHIN: Duration = Duration::from_millis(500);

/// Hands everything over and ends all parts of the node.
pub(super) async fn leave(node: &Node, http: Http) {
    tracing::info!("handing over");
    node.shared.progress.set_leaving();
    let shared = &node.shared;
    let deadline = Instant::now() + HAND_OVER_WITHIN;
    let handing = async {
        hand_offices_over(node).await;
        shared.consensus.hand_over().await;
    };
    if timeout_at(deadline, handing).await.is_err() {
        tracing::warn!("not all offices were handed over in time");
    }
    shared.leaving.store(true, Ordering::Release);
    // Requests under way at the new primaries still pass through here.
    let _ = http.stop.send(true);
    let _ = http.ended.await;
    let (done, resigned) = oneshot::channel();
    shared.data.send(DataEvent::Resign(done)).await;
    let _ = timeout(DATA_ENDS_WITHIN, resigned).await;
    let (done, flushed) = oneshot::channel();
    shared.data.send(DataEvent::FlushAll(done)).await;
    if timeout(FLUSHED_WITHIN, flushed).await.is_err() {
        tracing::info!("not all rows were flushed in time; the next start reads the journal");
    }
    let (done, stopped) = oneshot::channel();
    shared.data.send(DataEvent::Stop(done)).await;
    let _ = timeout(DATA_ENDS_WITHIN, stopped).await;
    shared.consensus.shutdown().await;
    tracing::info!("stopped");
}

/// Proposes that others take the offices of this node until it has none that another could take.
async fn hand_offices_over(node: &Node) {
    let (shared, me) = (&node.shared, node.shared.me);
    let mut maps = shared.consensus.watch_map();
    let mut marked = false;
    loop {
        let map = Arc::clone(&maps.borrow_and_update());
        let plan = plan::move_offices_off(&shared.strategies, &map, me.member);
        if map.live_members().count() < 2 || (marked && plan.assignments.is_empty()) {
            return;
        }
        let decision = Decision::new(DecisionKind::Drain, wall_ms())
            .about(me.member)
            .because("the node was told to stop");
        let mut change = plan.into_change(decision);
        // Nobody gives an office to a suspect, nor to a member that drains.
        if is_up(&map, me.member) {
            let suspect = (me.member, me.incarnation, MemberState::Suspect);
            change.members.push(suspect);
        }
        if let Err(error) = shared.consensus.propose(Command::Change(change)).await {
            tracing::warn!(%error, "offices were not handed over");
            tokio::time::sleep(AGAIN_AFTER).await;
            continue;
        }
        marked = true;
        // The change is committed; here it arrives a moment later.
        let _ = maps.wait_for(|map| !is_up(map, me.member)).await;
    }
}

fn is_up(map: &ClusterMap, storage: StorageId) -> bool {
    let member = map.members.get(&storage);
    member.is_some_and(|member| member.state == MemberState::Up)
}

/// What ends the node.
pub(super) enum Stop {
    Signals {
        terminate: tokio::signal::unix::Signal,
        interrupt: tokio::signal::unix::Signal,
    },
    Told(oneshot::Receiver<()>),
    Never,
}

impl Stop {
    pub(super) fn new(until: Until) -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(match until {
            Until::Signal => Self::Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            Until::Told(told) => Self::Told(told),
        })
    }

    pub(super) async fn asked(&mut self) {
        match self {
            Self::Signals {
                terminate,
                interrupt,
            } => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            // Whoever let go of the node without a word wants it to go on.
            Self::Told(told) => {
                if told.await.is_err() {
                    *self = Self::Never;
                    std::future::pending().await
                }
            }
            Self::Never => std::future::pending().await,
        }
    }
}
