//! Consensus as the rest of a node sees it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tablestore_placement::{Applied, ClusterMap, Command, Incarnation, StorageId};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::core::Core;
use super::election::{Elector, SIGHTINGS_MAX, Sighting};
use super::leadership::{self, Leadership};
use super::log::{LogOpenError, RaftLog};
use super::machine::SnapshotError;
use super::membership;
use super::message::PeerService;
use super::network::Network;
use super::peers::Peers;
use super::propose::{self, ProposeError};
use super::reach::Reach;
use super::read::{self, READERS_MAX, ReadError, Reader};
use super::settings::{ConsensusSettings, PROPOSE_WITHIN};
use super::store::ConsensusStore;
use super::types::{LogId, Raft};

/// A snapshot is taken early when the entries behind the last one have this many bytes.
const ENTRY_BYTES_MAX: usize = 4 << 20;
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a hand-over may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);
/// Why consensus could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsensusError {
    /// The directory cannot be made.
    #[error("cannot make {}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The log cannot be used.
    #[error("cannot open the log of the control plane")]
    Log(#[from] LogOpenError),
    /// The snapshot cannot be used.
    #[error("cannot open the snapshot of the control plane")]
    Snapshot(#[from] SnapshotError),
    /// What the map says forbids it. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// Raft does not start.
    #[error("cannot start the control plane: {0}")]
    Raft(String),
}

/// A node's part in the consensus about the cluster map; a cheap handle, usable from any thread.
#[derive(Clone)]
pub struct Consensus {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus")
            .field("me", &self.inner.core.me)
            .finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    pub(super) core: Core,
    runtime: Handle,
    readers: mpsc::Sender<Reader>,
    failure: watch::Receiver<Option<String>>,
    pub(super) service: OnceLock<Arc<dyn PeerService>>,
    tasks: Vec<AbortHandle>,
    pub(super) founding: Mutex<()>,
    pub(super) this: Weak<Inner>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Consensus {
    /// Opens log and snapshot and starts raft. Call it on the control runtime; all of consensus
    /// runs there. On return the map has everything that this node knew to be committed, whoever
    /// else is alive.
    ///
    /// # Errors
    /// See [`ConsensusError`].
    pub async fn open(settings: ConsensusSettings, peers: Peers) -> Result<Self, ConsensusError> {
        let store = ConsensusStore::open(&settings.directory, false)?;
        Self::open_on(store, settings, peers).await
    }

    /// The same on files that are open already.
    ///
    /// # Errors
    /// See [`ConsensusError`].
    pub async fn open_on(
        store: ConsensusStore,
        settings: ConsensusSettings,
        peers: Peers,
    ) -> Result<Self, ConsensusError> {
        let ConsensusStore { log, machine, map } = store;
        let config = settings.raft_config().validate();
        let config = config.map_err(|error| ConsensusError::Raft(error.to_string()))?;
        let network = Network {
            peers: peers.clone(),
        };
        let raft = Raft::new(
            settings.me.0,
            Arc::new(config),
            network,
            log.clone(),
            machine,
        );
        let raft = raft
            .await
            .map_err(|error| ConsensusError::Raft(error.to_string()))?;
        let consensus = Self::start(&settings, peers, raft, log, map);
        consensus.elect_if_alone().await;
        Ok(consensus)
    }

    fn start(
        settings: &ConsensusSettings,
        peers: Peers,
        raft: Raft,
        log: RaftLog,
        map: watch::Receiver<Arc<ClusterMap>>,
    ) -> Self {
        let (leaderships, leadership) = watch::channel(Leadership::default());
        let (failures, failure) = watch::channel(None);
        let (sightings, seen) = mpsc::channel(SIGHTINGS_MAX);
        let (readers, waiting) = mpsc::channel(READERS_MAX);
        let hand_over = Arc::new(watch::channel(None).0);
        peers.update_members(&map.borrow());
        let core = Core {
            me: settings.me,
            raft,
            peers,
            log,
            map,
            leadership,
            sightings,
            hand_over,
            reach: Reach::default(),
            turn: Arc::default(),
            votes_held: Arc::new(AtomicBool::new(settings.votes_held)),
        };
        let (voters_max, after) = (settings.voters_max, settings.rereplicate_after);
        let tasks = [
            tokio::spawn(leadership::publish(
                core.raft.clone(),
                leaderships,
                failures,
            )),
            tokio::spawn(Elector::new(core.clone()).run(seen)),
            tokio::spawn(membership::keep_fitting(core.clone(), voters_max, after)),
            tokio::spawn(read::run_rounds(core.clone(), waiting)),
            tokio::spawn(follow_map(core.clone())),
            tokio::spawn(keep_log_short(core.clone())),
        ];
        let inner = Arc::new_cyclic(|this| Inner {
            core,
            runtime: Handle::current(),
            readers,
            failure,
            service: OnceLock::new(),
            tasks: tasks
                .iter()
                .map(tokio::task::JoinHandle::abort_handle)
                .collect(),
            founding: Mutex::new(()),
            this: Weak::clone(this),
        });
        let service: Weak<dyn PeerService> = Arc::downgrade(&inner) as Weak<dyn PeerService>;
        inner.core.peers.serve(service);
        Self { inner }
    }

    /// A node that is the only voter need not wait for an election timeout.
    async fn elect_if_alone(&self) {
        let mut voters = self.inner.core.raft.voter_ids();
        if voters.next() == Some(self.inner.core.me.0) && voters.next().is_none() {
            let _ = self.inner.core.raft.trigger().elect(false).await;
        }
    }

    /// Who answers the requests that consensus does not answer itself. Only the first call counts;
    /// before it such requests are answered `NotReady`.
    pub fn set_service(&self, service: Arc<dyn PeerService>) {
        let _ = self.inner.service.set(service);
    }

    /// Commits a command, from any node, within the default time.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        self.propose_until(command, Instant::now() + PROPOSE_WITHIN)
            .await
    }

    /// Commits a command, from any node.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose_until(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<Applied, ProposeError> {
        let core = self.inner.core.clone();
        self.on_runtime(async move { propose::propose(&core, command, deadline).await })
            .await
            .unwrap_or(Err(ProposeError::Stopped))
    }

    /// The map as confirmed, after this call began, by a leader with a majority.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_index(&self) -> Result<Arc<ClusterMap>, ReadError> {
        let (reader, result) = oneshot::channel();
        self.inner
            .readers
            .try_send(reader)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ReadError::Busy,
                mpsc::error::TrySendError::Closed(_) => ReadError::Stopped,
            })?;
        result.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// The latest map applied here.
    #[must_use]
    pub fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.inner.core.map.borrow())
    }

    /// Every map applied here from now on, the latest first.
    #[must_use]
    pub fn watch_map(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.inner.core.map.clone()
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<StorageId> {
        self.inner.core.leadership.borrow().leader
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.core.leadership.clone()
    }

    /// The members that vote on changes, as this node knows; all others learn.
    #[must_use]
    pub fn voters(&self) -> Vec<StorageId> {
        self.inner.core.raft.voter_ids().map(StorageId).collect()
    }

    /// The others have confirmed that nothing this node promised is forgotten: it votes from now
    /// on.
    pub fn release_votes(&self) {
        self.inner.core.votes_held.store(false, Ordering::Release);
    }

    /// Whether votes are held back.
    #[must_use]
    pub fn holds_votes(&self) -> bool {
        self.inner.core.votes_held.load(Ordering::Acquire)
    }

    /// As controller: what a node has acknowledged of the log, as far as this one remembers.
    #[must_use]
    pub fn matched(&self, storage: StorageId) -> Option<LogId> {
        let metrics = self.inner.core.raft.metrics();
        let metrics = metrics.borrow_watched();
        *metrics.replication.as_ref()?.get(&storage.0)?
    }

    /// The connections to the other nodes.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.inner.core.peers
    }

    /// Gives the leadership to another voter, if this node has it; for an orderly end.
    /// Returns whether this node leads no more.
    pub async fn hand_over(&self) -> bool {
        let core = self.inner.core.clone();
        let handing = async move {
            let mut leadership = core.leadership.clone();
            if leadership.borrow().leader != Some(core.me) {
                return true;
            }
            if let Err(error) = membership::hand_over(&core).await {
                tracing::info!(error, "no hand-over");
                return false;
            }
            let deadline = Instant::now() + HAND_OVER_WITHIN;
            let successor = |now: &Leadership| now.leader.is_some_and(|leader| leader != core.me);
            let handed = timeout_at(deadline, leadership.wait_for(successor)).await;
            matches!(handed, Ok(Ok(_)))
        };
        self.on_runtime(handing).await.unwrap_or(false)
    }

    /// This node, or one that told it, saw a start of another node gone: if it leads, this node
    /// looks and acts.
    pub fn crash_hint(&self, storage: StorageId, incarnation: Incarnation) {
        // If the queue is full there is no lack of hints.
        let _ = self.inner.core.sightings.try_send(Sighting::Hint {
            storage,
            incarnation,
        });
    }

    /// Waits until consensus fails on this node (its disk, for example) and says why.
    /// The node must then end: it cannot take part any more.
    pub async fn failed(&self) -> String {
        let mut failure = self.inner.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the control plane has ended".to_owned(),
        }
    }

    /// Ends raft and all tasks. Connections stay open until the process ends.
    pub async fn shutdown(&self) {
        let raft = self.inner.core.raft.clone();
        let _ = self.on_runtime(async move { raft.shutdown().await }).await;
        if let Err(error) = self.inner.core.log.finish().await {
            tracing::warn!(%error, "the raft log was not finished");
        }
        for task in &self.inner.tasks {
            task.abort();
        }
    }

    /// Runs on the control runtime, whose timers and sockets raft uses.
    pub(super) async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.inner.runtime.spawn(work).await.ok()
    }
}

/// Keeps links to whoever is a member.
async fn follow_map(core: Core) {
    let mut map = core.map.clone();
    while map.changed().await.is_ok() {
        let current = Arc::clone(&map.borrow_and_update());
        core.peers.update_members(&current);
    }
}

/// Takes a snapshot when few but large entries have come together.
async fn keep_log_short(core: Core) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        if core.log.entry_bytes() > ENTRY_BYTES_MAX && core.raft.trigger().snapshot().await.is_err()
        {
            return;
        }
    }
}
