//! A node from its settings to its end: directory, threads, joining. How it goes away is in
//! `leave`.
//!
//! The peer listener opens before the node joins and is closed only by the end of the process.

mod descriptors;
mod directory;
mod ending;
mod joining;
mod leave;
mod listening;
mod member;
mod recover;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand::RngExt;
use tablestore_consensus::{
    Consensus, ConsensusSettings, ConsensusStore, DataSocket, Dialler, Identity, Peers, ShownStart,
};
use tablestore_dataplane::PlaneEvent;
use tablestore_placement::{
    ClusterId, ClusterMap, Incarnation, Office, Registration, StorageId, Strategies,
};
use tablestore_store::DataDirectory;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};

use self::directory::confirm_votes;
pub use self::directory::{Inspected, OpenError, inspect};
pub(crate) use self::ending::Until;
pub use self::ending::{End, StartError};
use self::leave::{Stop, leave};
use self::listening::{Http, listeners, serve_http};
pub use self::member::MemberError;
use self::member::{become_member, ended_by_cluster};
pub use self::recover::{RecoverError, Recoverable, recover, recoverable};
use crate::builder::NodeBuilder;
use crate::controller::{self, Service};
pub use crate::data::StorageError;
use crate::data::{self, DataEvent, EventSender, Parts, Progress, Storage};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::node::{Events, Node, SharedNode, wall_ms};
use crate::resources::watch;
use crate::settings::NodeSettings;

/// Data connections that may wait to be taken over by the data thread.
const SOCKETS_MAX: usize = 64;

/// Runs a node on this thread until SIGTERM or SIGINT, then hands its offices over and returns. The
/// last lines of `log` are left to the caller.
///
/// # Errors
/// If the settings, the directory or an address cannot be used, or the node failed for good.
pub fn run(builder: NodeBuilder, log: &Log) -> Result<(), StartError> {
    descriptors::raise();
    match run_node(builder, Until::Signal, None)? {
        End::Asked => Ok(()),
        End::Convicted => Err(StartError::Anew(start_anew(log))),
        End::Removed => Err(StartError::Removed),
    }
}

/// Replaces this process by a new start of the same program with the same arguments: the process
/// id stays, the incarnation grows. Returns only if that failed.
fn start_anew(log: &Log) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    tracing::warn!("the cluster holds this start dead; starting anew");
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    log.settle();
    std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .exec()
}

/// Runs a node on this thread to its end; whoever waits for it to be ready is given it then.
pub(crate) fn run_node(
    builder: NodeBuilder,
    until: Until,
    ready: Option<std::sync::mpsc::Sender<Node>>,
) -> Result<End, StartError> {
    let NodeBuilder {
        mut settings,
        strategies,
        metrics,
    } = builder;
    settings.validate()?;
    let control_runtime = runtime()?;
    let opened = directory::open(&settings, &control_runtime)?;
    let (http, peer) = match listeners(&settings) {
        Ok(listeners) => listeners,
        Err(error) => {
            opened.discard_if_new();
            return Err(error);
        }
    };
    let data_runtime = runtime()?;
    let opened = directory::checked(opened, &settings, &control_runtime)?;
    let mut directory = opened.directory;
    if !opened.join.is_empty() {
        settings.join = opened.join;
    }
    // Only now, so that a start that is refused leaves the directory as it is.
    let start = rand::rng().random();
    let me = Office {
        member: StorageId(directory.storage()),
        incarnation: Incarnation(directory.begin_incarnation(start)?),
    };
    let started = Started {
        settings,
        me,
        start,
        shown: ShownStart {
            begun: directory.starts()?,
            ..opened.shown
        },
        http,
        peer,
        storage: opened.storage,
        consensus_store: opened.consensus_store,
        strategies: Arc::new(strategies),
        metrics,
        until,
        ready,
    };
    // A runtime may not be dropped on another one: what the data thread did not take stays here.
    let mut data_runtime = Some(data_runtime);
    let lived = live(started, &mut directory, &mut data_runtime);
    control_runtime.block_on(lived)
}

/// What is open before any thread runs.
struct Started {
    settings: NodeSettings,
    me: Office,
    /// The random id of this start.
    start: u64,
    /// What its directory had before it began, and the starts of which the cluster may know one.
    shown: ShownStart,
    http: TcpListener,
    peer: TcpListener,
    storage: Storage,
    consensus_store: ConsensusStore,
    strategies: Arc<Strategies>,
    metrics: Arc<Metrics>,
    until: Until,
    ready: Option<std::sync::mpsc::Sender<Node>>,
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The boot of this machine; two starts with the same one saw the same kernel.
fn boot() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    xxhash_rust::xxh3::xxh3_64(text.trim().as_bytes())
}

/// The life of a node, on the control thread.
async fn live(
    started: Started,
    directory: &mut DataDirectory,
    data_runtime: &mut Option<Runtime>,
) -> Result<End, StartError> {
    let Started {
        settings,
        me,
        start,
        shown,
        http,
        peer,
        storage,
        consensus_store,
        strategies,
        metrics,
        until,
        ready,
    } = started;
    let identity = Identity {
        storage: me.member,
        incarnation: me.incarnation,
        boot: boot(),
        name: settings.name.clone(),
        http_address: http.local_addr()?.to_string(),
        peer_address: peer.local_addr()?.to_string(),
    };
    let cluster = directory.cluster().map(ClusterId);
    let (sockets, inbound) = mpsc::channel(SOCKETS_MAX);
    let peers = Peers::open(identity.clone(), cluster, peer, sockets)?;
    let (links, told) = (peers.events(), peers.events());
    let consensus_settings = ConsensusSettings {
        voters_max: settings.voters_max,
        rereplicate_after: settings.rereplicate_after,
        votes_held: cluster.is_some(),
        ..ConsensusSettings::new(me.member, directory.consensus())
    };
    let consensus = Consensus::open_on(consensus_store, consensus_settings, peers.clone()).await?;
    let service = Arc::new(Service::default());
    consensus.set_service(service.clone());
    let runtime = data_runtime
        .take()
        .expect("a node lives once, and nobody else takes it");
    let (node, http) = start_data(
        &settings, me, http, storage, &consensus, &peers, inbound, runtime, strategies, metrics,
    )?;
    service.set_node(node.clone());
    tokio::spawn(controller::run(node.clone(), links));
    tokio::spawn(watch(node.clone()));
    let mut stop = Stop::new(until)?;
    let begun = shown.begun.clone();
    if let Some(cluster) = cluster {
        let consensus = node.shared.consensus.clone();
        tokio::spawn(confirm_votes(consensus, cluster, identity.clone(), shown));
    }
    let registration = registration(&settings, &identity, start, begun);
    let became_member = tokio::select! {
        became = become_member(&node, directory, &registration, told) => became?,
        () = stop.asked() => return Ok(End::Asked),
    };
    node.shared.consensus.release_votes();
    is_ready(&node, &identity, became_member, ready);
    tokio::select! {
        () = stop.asked() => {}
        end = ended_by_cluster(&node) => return Ok(end),
        reason = consensus.failed() => return Err(StartError::Failed { reason }),
    }
    leave(&node, http).await;
    Ok(End::Asked)
}

fn is_ready(
    node: &Node,
    identity: &Identity,
    cluster: ClusterId,
    ready: Option<std::sync::mpsc::Sender<Node>>,
) {
    tracing::info!(
        name = %identity.name, storage = %identity.storage, http = %identity.http_address,
        peer = %identity.peer_address, %cluster, "ready"
    );
    if let Some(ready) = ready {
        let _ = ready.send(node.clone());
    }
}

fn registration(
    settings: &NodeSettings,
    identity: &Identity,
    start: u64,
    begun: Vec<u64>,
) -> Registration {
    Registration {
        storage: identity.storage,
        name: settings.name.clone(),
        http_address: identity.http_address.clone(),
        peer_address: identity.peer_address.clone(),
        zone: settings.zone.clone(),
        weight: settings.weight,
        incarnation: identity.incarnation,
        start,
        begun,
        boot: identity.boot,
        at_ms: wall_ms(),
    }
}

/// Starts the data thread with everything on it.
#[expect(
    clippy::too_many_arguments,
    reason = "the one place where the parts meet"
)]
fn start_data(
    settings: &NodeSettings,
    me: Office,
    http: TcpListener,
    storage: Storage,
    consensus: &Consensus,
    peers: &Peers,
    mut inbound: mpsc::Receiver<DataSocket>,
    runtime: Runtime,
    strategies: Arc<Strategies>,
    metrics: Arc<Metrics>,
) -> std::io::Result<(Node, Http)> {
    let (sender, receiver) = data::channel();
    let timeline = Events::new(&settings.name);
    let journal = data::JournalQueue::start(storage.writer, sender.clone(), &metrics)?;
    let progress = Arc::new(Progress::new(Arc::clone(&journal.state)));
    let parts = Parts {
        me,
        settings: settings.clone(),
        engine: storage.engine,
        journal,
        reader: storage.reader,
        consensus: consensus.clone(),
        dialler: Dialler::new(peers.clone()),
        stored: storage.stored,
        shared: storage.shared.clone(),
        progress: Arc::clone(&progress),
        metrics: data::Counters::new(&metrics),
        timeline: timeline.clone(),
        sender: sender.clone(),
    };
    let node = Node {
        shared: Arc::new(SharedNode {
            me,
            settings: settings.clone(),
            consensus: consensus.clone(),
            data: sender.clone(),
            progress,
            storage: storage.shared,
            strategies,
            metrics,
            timeline,
            resources: std::sync::Mutex::default(),
            leaving: AtomicBool::new(false),
        }),
    };
    let (maps, to_data) = (consensus.watch_map(), sender.clone());
    runtime.spawn(async move { tell_maps(maps, &to_data).await });
    runtime.spawn(async move { take_over(&mut inbound, &sender).await });
    let served = node.clone();
    let (stop, stopping) = watch::channel(false);
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("data".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                tokio::spawn(async move {
                    if let Err(error) = serve_http(http, served, stopping).await {
                        tracing::error!(%error, "HTTP is not served");
                    }
                    let _ = done.send(());
                });
                if let Err(error) = data::run(parts, receiver).await {
                    tracing::error!(%error, "the data thread cannot run");
                }
            });
        })?;
    Ok((node, Http { stop, ended }))
}

/// Tells the data thread every map.
async fn tell_maps(mut maps: watch::Receiver<Arc<ClusterMap>>, data: &EventSender) {
    loop {
        let map = Arc::clone(&maps.borrow_and_update());
        data.tell(PlaneEvent::Map(map)).await;
        if maps.changed().await.is_err() {
            return;
        }
    }
}

/// Gives the data thread the connections that peers dialled for it.
async fn take_over(inbound: &mut mpsc::Receiver<DataSocket>, data: &EventSender) {
    while let Some(socket) = inbound.recv().await {
        let identity = &socket.hello.identity;
        let peer = Office {
            member: identity.storage,
            incarnation: identity.incarnation,
        };
        let socket = socket.stream;
        data.send(DataEvent::Inbound { peer, socket }).await;
    }
}
