//! The events of a node: published by its threads, followed by its event stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tablestore_placement::PartitionId;
use tokio::sync::broadcast;

pub use crate::http::Event;

/// Events that a slow follower may lag behind before it loses some.
const FOLLOWERS_LAG_MAX: usize = 1_024;
/// Events kept for followers that come back.
const KEPT_MAX: usize = 1_024;

/// Wall-clock microseconds.
pub(super) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
struct State {
    next: u64,
    kept: VecDeque<Arc<Event>>,
}

/// Publishes and remembers events; cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    node: Arc<str>,
    state: Arc<Mutex<State>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Events {
    /// An empty history for the node of that name.
    #[must_use]
    pub fn new(node: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            next: 1,
            kept: VecDeque::new(),
        }));
        let (sender, _) = broadcast::channel(FOLLOWERS_LAG_MAX);
        Self {
            node: node.into(),
            state,
            sender,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes an event of this node.
    pub fn publish(&self, kind: &str, partition: Option<PartitionId>, detail: serde_json::Value) {
        self.publish_about(Some(self.node.to_string()), kind, partition, detail);
    }

    /// Publishes an event about some node.
    pub fn publish_about(
        &self,
        node: Option<String>,
        kind: &str,
        partition: Option<PartitionId>,
        detail: serde_json::Value,
    ) {
        let mut state = self.lock();
        let at_us = wall_us();
        let event = Arc::new(Event {
            id: state.next,
            at_ms: at_us / 1000,
            at_us,
            kind: kind.to_owned(),
            node,
            table: partition.map(|id| id.table.to_string()),
            partition: partition.map(|id| id.partition),
            detail,
        });
        state.next += 1;
        if state.kept.len() >= KEPT_MAX {
            state.kept.pop_front();
        }
        state.kept.push_back(Arc::clone(&event));
        // Nobody may be following.
        let _ = self.sender.send(event);
    }

    /// Events from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        self.sender.subscribe()
    }

    /// Remembered events with a greater id, oldest first.
    #[must_use]
    pub fn after(&self, id: u64) -> Vec<Arc<Event>> {
        self.lock()
            .kept
            .iter()
            .filter(|event| event.id > id)
            .cloned()
            .collect()
    }
}
