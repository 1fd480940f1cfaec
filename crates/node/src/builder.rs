//! A node inside another program: what it runs with, and a handle to it while it runs.
//!
//! Knows nothing of how a node lives (see `start`); the binary is made of the same.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tablestore_placement::{Strategies, Strategy};
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::node::Node;
use crate::settings::NodeSettings;
use crate::start::{End, StartError, Until, run_node};

/// What a node is to run with.
///
/// ```no_run
/// use tablestore_node::{NodeBuilder, NodeSettings};
///
/// let (clients, peers) = ("127.0.0.1:7001".parse()?, "127.0.0.1:7002".parse()?);
/// let settings = NodeSettings::new("n1", "data".into(), clients, peers);
/// let running = NodeBuilder::new(settings).start()?;
/// println!("{} serves", running.node().me());
/// running.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NodeBuilder {
    pub(crate) settings: NodeSettings,
    pub(crate) strategies: Strategies,
    pub(crate) metrics: Arc<Metrics>,
}

impl NodeBuilder {
    /// A node with these settings, the built-in strategies and counters of its own.
    #[must_use]
    pub fn new(settings: NodeSettings) -> Self {
        Self {
            settings,
            strategies: Strategies::built_in(),
            metrics: Arc::new(Metrics::new()),
        }
    }

    /// Tables of this strategy are planned by it, whoever of the nodes is the controller: register
    /// it on every node. One that had the name before is replaced.
    #[must_use]
    pub fn strategy(mut self, name: impl Into<String>, strategy: Arc<dyn Strategy>) -> Self {
        self.strategies.register(name, strategy);
        self
    }

    /// Counts here.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Starts the node on threads of its own; returns when it is a member of its cluster, however
    /// long that takes: a node that cannot reach its cluster keeps trying. It blocks this thread;
    /// inside an async runtime that is allowed and holds up what else that thread would run, so
    /// call it there from a blocking task.
    ///
    /// # Errors
    /// If the settings, the directory or an address cannot be used.
    pub fn start(self) -> Result<RunningNode, StartError> {
        let (stop, told) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::Builder::new().name("control".to_owned());
        let thread = thread.spawn(move || run_node(self, Until::Told(told), Some(ready)))?;
        match is_ready.recv() {
            Ok(node) => Ok(RunningNode { node, stop, thread }),
            Err(_) => Err(match ended(thread) {
                Ok(end) => StartError::Ended(end),
                Err(error) => error,
            }),
        }
    }
}

/// A node that runs in this process. It goes on when this is dropped, until the process ends.
#[derive(Debug)]
pub struct RunningNode {
    node: Node,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<End, StartError>>,
}

impl RunningNode {
    /// The node, to ask things of.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether it has ended by itself: it failed, or the cluster holds this start of it dead.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Hands its offices over, flushes, and waits for its end: some seconds at most.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn stop(self) -> Result<End, StartError> {
        let _ = self.stop.send(());
        ended(self.thread)
    }
}

fn ended(thread: JoinHandle<Result<End, StartError>>) -> Result<End, StartError> {
    match thread.join() {
        Ok(result) => result,
        Err(_) => Err(StartError::Panicked),
    }
}
