//! A node from its settings to its end: directory, threads, joining, and going away politely.
//!
//! The peer listener opens before the node joins and is closed only by the end of the process.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use tablestore_placement::{
    ClusterId, Command, Decision, DecisionKind, Incarnation, MemberState, Office, Registration,
    StorageId, plan,
};
use tablestore_store::{DataDirectory, NewIdentity};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::control::{Control, ControlSettings, DataSocket, Dialler, Identity, Peers, bind};
use crate::controller::{self, Service};
use crate::data::{self, Event, Parts, Progress, Storage};
use crate::http::{HttpSettings, serve};
use crate::metrics::Metrics;
use crate::node::{Events, Node, Shared, wall_ms};
use crate::resources::watch;
use crate::settings::NodeSettings;

/// How long a node that was told to stop may take to hand its offices over.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(5);
/// How often a node that cannot reach its cluster says so and tries again.
const JOIN_AGAIN_EVERY: Duration = Duration::from_secs(5);
/// Pause between two looks at the map while handing over.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// Data connections that may wait to be taken over by the data thread.
const SOCKETS_MAX: usize = 64;

/// Why a node did not start or ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct StartError(anyhow::Error);

impl From<anyhow::Error> for StartError {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

/// Runs a node until SIGTERM or SIGINT, then hands its offices over and returns.
///
/// # Errors
/// If the settings, the directory or an address cannot be used, or the node failed for good.
pub fn run(settings: NodeSettings) -> Result<(), StartError> {
    match run_node(settings)? {
        End::Asked => Ok(()),
        End::Convicted => Err(start_anew().into()),
    }
}

/// Why a node ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By a signal.
    Asked,
    /// The cluster holds this start of it dead: only a new start may come back.
    Convicted,
}

/// Replaces this process by a new start of the same program with the same arguments: the process
/// id stays, the incarnation grows. Returns only if that failed.
fn start_anew() -> anyhow::Error {
    use std::os::unix::process::CommandExt;
    tracing::warn!("the cluster holds this start dead; starting anew");
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return anyhow::anyhow!("cannot start anew: {error}"),
    };
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::anyhow!("cannot start anew: {error}")
}

fn run_node(settings: NodeSettings) -> anyhow::Result<End> {
    settings.validate()?;
    let mut directory = DataDirectory::open(
        &settings.data_dir,
        NewIdentity {
            storage: rand::rng().random(),
        },
    )?;
    let me = Office {
        member: StorageId(directory.storage()),
        incarnation: Incarnation(directory.begin_incarnation()?),
    };
    let http = listen(settings.listen)?;
    let peer = bind(settings.peer_listen)
        .map_err(|error| anyhow::anyhow!("peer-listen {}: {error}", settings.peer_listen))?;
    let storage = data::open_storage(&directory, &settings)?;
    let control_runtime = runtime()?;
    let data_runtime = runtime()?;
    let started = Started {
        settings,
        me,
        http,
        peer,
        storage,
    };
    control_runtime.block_on(control(started, &mut directory, data_runtime))
}

/// What is open before any thread runs.
struct Started {
    settings: NodeSettings,
    me: Office,
    http: TcpListener,
    peer: TcpListener,
    storage: Storage,
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener =
        TcpListener::bind(address).map_err(|error| anyhow::anyhow!("listen {address}: {error}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The boot of this machine; two starts with the same one saw the same kernel.
fn boot() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    xxhash_rust::xxh3::xxh3_64(text.trim().as_bytes())
}

/// The life of a node, on the control thread.
async fn control(
    started: Started,
    directory: &mut DataDirectory,
    data_runtime: Runtime,
) -> anyhow::Result<End> {
    let Started {
        settings,
        me,
        http,
        peer,
        storage,
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
    let links = peers.events();
    let control_settings = ControlSettings {
        voters_max: settings.voters_max,
        rereplicate_after: settings.rereplicate_after,
        ..ControlSettings::new(me.member, directory.control())
    };
    let control = Control::open(control_settings, peers.clone()).await?;
    let service = Arc::new(Service::default());
    control.set_service(service.clone());
    let (node, http) = start_data(
        &settings,
        me,
        http,
        storage,
        &control,
        &peers,
        inbound,
        data_runtime,
    )?;
    service.set_node(node.clone());
    tokio::spawn(controller::run(node.clone(), links));
    tokio::spawn(watch(node.clone()));
    let mut stop = Stop::new()?;
    let registration = registration(&settings, &identity);
    let became_member = tokio::select! {
        became = become_member(&node, directory, &registration) => became?,
        () = stop.asked() => return Ok(End::Asked),
    };
    tracing::info!(
        name = %settings.name, storage = %me.member, http = %identity.http_address,
        peer = %identity.peer_address, cluster = %became_member, "ready"
    );
    tokio::select! {
        () = stop.asked() => {}
        () = convicted(&node) => return Ok(End::Convicted),
        reason = control.failed() => anyhow::bail!("the control plane failed: {reason}"),
    }
    leave(&node, http).await;
    Ok(End::Asked)
}

fn registration(settings: &NodeSettings, identity: &Identity) -> Registration {
    Registration {
        storage: identity.storage,
        name: settings.name.clone(),
        http_address: identity.http_address.clone(),
        peer_address: identity.peer_address.clone(),
        zone: settings.zone.clone(),
        weight: settings.weight,
        incarnation: identity.incarnation,
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
    control: &Control,
    peers: &Peers,
    mut inbound: mpsc::Receiver<DataSocket>,
    runtime: Runtime,
) -> anyhow::Result<(Node, Http)> {
    let (sender, receiver) = data::channel();
    let metrics = Arc::new(Metrics::new());
    let timeline = Events::new(&settings.name);
    let journal = data::JournalQueue::start(storage.writer, sender.clone())?;
    let progress = Arc::new(Progress::new(Arc::clone(&journal.state)));
    let parts = Parts {
        me,
        settings: settings.clone(),
        engine: storage.engine,
        journal,
        reader: storage.reader,
        control: control.clone(),
        dialler: Dialler::new(peers.clone()),
        workers: data::Workers::start()?,
        recovered: storage.recovered,
        progress: Arc::clone(&progress),
        metrics: data::Counters::new(&metrics),
        timeline: timeline.clone(),
        sender: sender.clone(),
        receiver,
    };
    let node = Node {
        shared: Arc::new(Shared {
            me,
            settings: settings.clone(),
            control: control.clone(),
            data: sender.clone(),
            progress,
            metrics,
            timeline,
            resources: std::sync::Mutex::default(),
            leaving: std::sync::atomic::AtomicBool::new(false),
        }),
    };
    let mut maps = control.watch_map();
    let to_data = sender.clone();
    runtime.spawn(async move {
        loop {
            let map = Arc::clone(&maps.borrow_and_update());
            to_data.send(Event::Map(map)).await;
            if maps.changed().await.is_err() {
                return;
            }
        }
    });
    runtime.spawn(async move {
        while let Some(socket) = inbound.recv().await {
            let identity = &socket.hello.identity;
            let peer = Office {
                member: identity.storage,
                incarnation: identity.incarnation,
            };
            sender
                .send(Event::Inbound {
                    peer,
                    socket: socket.stream,
                })
                .await;
        }
    });
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
                data::run(parts).await;
            });
        })?;
    Ok((node, Http { stop, ended }))
}

/// The HTTP surface, to be ended.
struct Http {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

async fn serve_http(
    listener: TcpListener,
    node: Node,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    serve(listener, node, HttpSettings::default(), stop).await
}

/// Founds, joins, or comes back; returns when the map has this start of the node.
async fn become_member(
    node: &Node,
    directory: &mut DataDirectory,
    registration: &Registration,
) -> anyhow::Result<ClusterId> {
    let control = &node.shared.control;
    let cluster = match directory.cluster() {
        Some(cluster) => {
            come_back(node, registration).await?;
            ClusterId(cluster)
        }
        None if node.settings().join.is_empty() => {
            let cluster = ClusterId(rand::rng().random());
            directory.set_cluster(cluster.0)?;
            control
                .found(cluster, registration.clone(), wall_ms())
                .await?;
            cluster
        }
        None => {
            let cluster = loop {
                let deadline = Instant::now() + JOIN_AGAIN_EVERY;
                match control
                    .join(&node.settings().join, registration, deadline)
                    .await
                {
                    Ok(cluster) => break cluster,
                    Err(error @ crate::control::JoinError::Refused(_)) => return Err(error.into()),
                    Err(error) => {
                        let tried = node.settings().join.join(", ");
                        tracing::warn!(%tried, %error, "cannot join yet; still trying");
                    }
                }
            };
            directory.set_cluster(cluster.0)?;
            cluster
        }
    };
    wait_for(node, |member| member == registration.incarnation).await;
    Ok(cluster)
}

/// Registers this start; tries until a controller answers.
async fn come_back(node: &Node, registration: &Registration) -> anyhow::Result<()> {
    loop {
        let command = Command::Register(registration.clone());
        match node.shared.control.propose(command).await {
            Ok(_) => return Ok(()),
            Err(crate::control::ProposeError::Refused(refused)) => {
                anyhow::bail!("the cluster refused this node: {refused}")
            }
            Err(error) => tracing::warn!(%error, "not registered yet; still trying"),
        }
    }
}

/// Waits until the map has this node with an incarnation that fits.
async fn wait_for(node: &Node, fits: impl Fn(Incarnation) -> bool) {
    let mut maps: watch::Receiver<_> = node.shared.control.watch_map();
    let me = node.me();
    // The sender lives as long as the control plane, which outlives this wait.
    let _ = maps
        .wait_for(|map| {
            map.members
                .get(&me)
                .is_some_and(|member| fits(member.incarnation))
        })
        .await;
}

/// Waits until the map holds this start of the node dead.
async fn convicted(node: &Node) {
    let me = node.shared.me;
    let mut maps = node.shared.control.watch_map();
    let held_dead = |map: &Arc<tablestore_placement::ClusterMap>| {
        map.members.get(&me.member).is_some_and(|member| {
            member.incarnation == me.incarnation && member.state == MemberState::Down
        })
    };
    // An error means that the control plane has ended, which `failed` tells.
    if maps.wait_for(held_dead).await.is_err() {
        std::future::pending().await
    }
}

/// Hands offices and leadership over, so that clients notice nothing.
async fn leave(node: &Node, http: Http) {
    tracing::info!("handing over");
    node.shared.progress.set_leaving();
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
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
