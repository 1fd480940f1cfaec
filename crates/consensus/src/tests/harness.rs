//! A node that has no rows, on a thread of its own, that can be killed like a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tablestore_placement::{
    Assignment, AssignmentVersion, ClusterId, Command, Epoch, Incarnation, KeyDefinition, KeyType,
    Layout, Office, Refused, Registration, StorageId, TableDefinition,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::handle::ConsensusError;
use crate::log::LogOpenError;
use crate::{Consensus, ConsensusSettings, DataSocket, Identity, Peers, ProposeError, bind};

pub(super) const CLUSTER: ClusterId = ClusterId(0xC1);
/// Nothing in a test takes this long unless it is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A running node.
pub(super) struct Node {
    pub(super) storage: StorageId,
    pub(super) incarnation: Incarnation,
    pub(super) consensus: Consensus,
    pub(super) peers: Peers,
    pub(super) address: SocketAddr,
    pub(super) data: mpsc::Receiver<DataSocket>,
    directory: PathBuf,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A node that does not run; its directory is all there is.
#[derive(Debug, Clone)]
pub(super) struct Stopped {
    pub(super) storage: StorageId,
    pub(super) incarnation: Incarnation,
    pub(super) address: SocketAddr,
    directory: PathBuf,
}

impl Node {
    pub(super) fn start(parent: &Path, storage: u64) -> Self {
        Stopped::new(parent, storage).start()
    }

    pub(super) fn registration(&self) -> Registration {
        registration(self.storage, self.incarnation, self.address)
    }

    pub(super) fn is_leader(&self) -> bool {
        self.consensus.watch_leadership().borrow().is_me_and_ready
    }

    /// Whether no change of the voters is under way, as far as this node knows.
    pub(super) fn is_settled(&self) -> bool {
        let metrics = self.consensus.inner.core.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.membership_config.get_joint_config().len() == 1
            && now.membership_config == now.committed_membership_config
    }

    /// Tells the cluster of this start, as a node does when it comes back.
    pub(super) async fn register(&self) {
        self.commit(Command::Register(self.registration())).await;
    }

    /// Commits a command that may be repeated, though the leader may have just been killed: what
    /// was on the way to it then has an unknown outcome.
    pub(super) async fn commit(&self, command: Command) {
        loop {
            match self.consensus.propose(command.clone()).await {
                Ok(_) | Err(ProposeError::Refused(Refused::TableExists { .. })) => return,
                Err(ProposeError::OutcomeUnknown) => {}
                Err(error) => panic!("{error}: {command:?}"),
            }
        }
    }

    /// Ends everything of the node at once, as a kill does: nothing is said or written any more.
    pub(super) fn kill(self) -> Stopped {
        let Self {
            storage,
            incarnation,
            consensus,
            peers,
            address,
            directory,
            stop,
            thread,
            ..
        } = self;
        stop.send(()).unwrap();
        thread.join().unwrap();
        drop((consensus, peers));
        Stopped {
            storage,
            incarnation,
            address,
            directory,
        }
    }
}

impl Stopped {
    fn new(parent: &Path, storage: u64) -> Self {
        Self {
            storage: StorageId(storage),
            incarnation: Incarnation(0),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            directory: parent.join(storage.to_string()),
        }
    }

    /// Starts the next incarnation on the same directory and address.
    pub(super) fn start(self) -> Node {
        // For whoever looks for the reason of a failure: RUST_LOG=tablestore_consensus=debug.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .with_thread_names(true)
            .try_init();
        let incarnation = Incarnation(self.incarnation.0 + 1);
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (storage, address, directory) = (self.storage, self.address, self.directory.clone());
        let name = format!("n{} start {incarnation}", storage.0);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                ready
                    .send(open(storage, incarnation, address, directory).await)
                    .unwrap();
                let _ = stopped.await;
            });
            drop(runtime);
        });
        let thread = thread.unwrap();
        let (consensus, peers, data) = started.recv().unwrap();
        let address = peers.identity().peer_address.parse().unwrap();
        let directory = self.directory;
        Node {
            storage,
            incarnation,
            consensus,
            peers,
            address,
            data,
            directory,
            stop,
            thread,
        }
    }
}

async fn open(
    storage: StorageId,
    incarnation: Incarnation,
    address: SocketAddr,
    directory: PathBuf,
) -> (Consensus, Peers, mpsc::Receiver<DataSocket>) {
    let listener = bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let (data, sockets) = mpsc::channel(16);
    let peers = Peers::open(
        identity(storage, incarnation, address),
        None,
        listener,
        data,
    )
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let settings = ConsensusSettings::new(storage, directory.clone());
        match Consensus::open(settings, peers.clone()).await {
            Ok(consensus) => return (consensus, peers, sockets),
            // The log thread of the incarnation before may be writing its last.
            Err(ConsensusError::Log(LogOpenError::InUse { .. })) if Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

pub(super) fn identity(
    storage: StorageId,
    incarnation: Incarnation,
    address: SocketAddr,
) -> Identity {
    Identity {
        storage,
        incarnation,
        boot: 1,
        name: format!("n{}", storage.0),
        http_address: String::new(),
        peer_address: address.to_string(),
    }
}

pub(super) fn registration(
    storage: StorageId,
    incarnation: Incarnation,
    address: SocketAddr,
) -> Registration {
    Registration {
        storage,
        name: format!("n{}", storage.0),
        http_address: "127.0.0.1:1".to_owned(),
        peer_address: address.to_string(),
        zone: String::new(),
        weight: 1,
        incarnation,
        start: 0,
        begun: Vec::new(),
        boot: 1,
        at_ms: 1,
    }
}

/// A command that creates a table of one partition on `member`.
pub(super) fn create_table(name: &str, member: &Node) -> Command {
    let office = Office {
        member: member.storage,
        incarnation: member.incarnation,
    };
    let definition = TableDefinition {
        partition_key: KeyDefinition {
            name: "id".to_owned(),
            key_type: KeyType::String,
        },
        sort_key: None,
        strategy: tablestore_placement::PRIMARY_BACKUP.to_owned(),
        replicas: 1,
        min_in_sync: 1,
        partitions: 1,
        layout: Layout::Row,
    };
    let assignment = Assignment {
        epoch: Epoch(1),
        version: AssignmentVersion(1),
        primary: Some(office),
        replicas: vec![member.storage],
        in_sync: vec![member.storage],
    };
    Command::CreateTable {
        name: name.to_owned(),
        definition,
        assignments: vec![assignment],
        at_ms: 2,
    }
}

/// Waits for something that must come about.
pub(super) async fn eventually<T>(what: &str, work: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come about"),
    }
}

/// Looks again and again, a few milliseconds apart, until something is so.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    eventually(what, async {
        while !is_so() {
            looks.tick().await;
        }
    })
    .await;
}

/// A founded cluster of `size` nodes, all voters; the first leads.
pub(super) async fn cluster(parent: &TempDir, size: u64) -> Vec<Node> {
    let first = Node::start(parent.path(), 1);
    first
        .consensus
        .found(CLUSTER, first.registration(), 1)
        .await
        .unwrap();
    let mut nodes = vec![first];
    for storage in 2..=size {
        let node = Node::start(parent.path(), storage);
        let seed = [nodes[0].address.to_string()];
        let deadline = Instant::now() + PATIENCE;
        let joined = node
            .consensus
            .join(&seed, &node.registration(), deadline)
            .await;
        assert_eq!(joined.unwrap(), CLUSTER);
        nodes.push(node);
    }
    let all =
        |node: &Node| node.is_settled() && node.consensus.voters().len() as u64 == size.min(5);
    until("all vote", || nodes.iter().all(all)).await;
    nodes
}

/// The leader among these, once there is one that they agree on.
pub(super) async fn leader_of(nodes: &[Node]) -> usize {
    let mut leader = None;
    until("a leader", || {
        leader = nodes.iter().position(Node::is_leader);
        let known = leader.map(|leader| nodes[leader].storage);
        known.is_some() && nodes.iter().all(|node| node.consensus.leader() == known)
    })
    .await;
    leader.unwrap()
}

/// Waits until all have the same map with this table.
pub(super) async fn all_have(nodes: &[Node], table: &str) {
    until("all have the table", || {
        nodes
            .iter()
            .all(|node| node.consensus.map().table_named(table).is_some())
    })
    .await;
    let expected = nodes[0].consensus.map();
    for node in nodes {
        assert_eq!(node.consensus.map(), expected);
    }
}
