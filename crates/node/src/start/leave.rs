//! Going away politely: offices and leadership are handed over, requests under way are answered.
//!
//! Knows nothing of how the node was started.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tablestore_placement::{Command, Decision, DecisionKind, MemberState, plan};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Http;
use crate::data::Event;
use crate::node::{Node, wall_ms};

/// How long a node that was told to stop may take to hand its offices over.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks at the map while handing over.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Hands offices and leadership over, so that clients notice nothing.
pub(super) async fn leave(node: &Node, http: Http) {
    tracing::info!("handing over");
    let deadline = Instant::now() + HAND_OVER_WITHIN;
    let (shared, me) = (&node.shared, node.shared.me);
    let handing = async {
        let map = node.map();
        if map.live_members().count() > 1 {
            let decision = Decision::new(DecisionKind::Drain, wall_ms())
                .about(me.member)
                .because("the node was told to stop");
            let mut change = plan::move_offices_off(&map, me.member).into_change(decision);
            change
                .members
                .push((me.member, me.incarnation, MemberState::Suspect));
            if let Err(error) = shared.control.propose(Command::Change(change)).await {
                tracing::warn!(%error, "offices were not handed over");
            }
            let mut maps = shared.control.watch_map();
            let holds_none = |map: &Arc<tablestore_placement::ClusterMap>| {
                map.partitions()
                    .all(|(_, _, assignment)| assignment.primary != Some(me))
            };
            let _ = maps.wait_for(holds_none).await;
            shared.control.hand_over().await;
        }
        shared.leaving.store(true, Ordering::Release);
        // Requests under way at the new primaries still pass through here.
        let _ = http.stop.send(true);
        let _ = http.ended.await;
        let (done, resigned) = oneshot::channel();
        shared.data.send(Event::Resign(done)).await;
        let _ = tokio::time::timeout(LOOK_AGAIN_AFTER * 50, resigned).await;
    };
    if tokio::time::timeout_at(deadline, handing).await.is_err() {
        tracing::warn!("not all offices were handed over in time");
    }
    let (done, stopped) = oneshot::channel();
    shared.data.send(Event::Stop(done)).await;
    let _ = tokio::time::timeout(LOOK_AGAIN_AFTER * 50, stopped).await;
    shared.control.shutdown().await;
}

/// Signals that end the node.
pub(super) struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    pub(super) fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
