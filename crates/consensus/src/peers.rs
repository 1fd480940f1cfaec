//! All control connections of a node: one kept to every other member, and whatever is accepted.
//!
//! Carries requests and replies and tells what happens to connections. Knows nothing of raft.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, Weak};
use std::time::Duration;

use tablestore_placement::{ClusterId, ClusterMap, Incarnation, MemberState, StorageId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::greeting::{self, GreetError, Hello, Identity, Purpose, WIRE_FORMAT};
use super::link::{Link, LinkEvent};
use super::listener::{self, ListenError};
use super::message::{PeerReply, PeerRequest, PeerService, ProbeReply};
use super::session::{CallError, Session};

/// Events that one subscriber has not taken yet; beyond this it loses events.
const EVENTS_MAX: usize = 4096;
/// Who greets later is looked for again.
const FINDING_MAX: Duration = Duration::from_millis(500);
/// Refusals that are remembered so that each is logged once.
const REFUSALS_LOGGED_MAX: usize = 64;

/// A connection for data that another node made to this one, greeted.
#[derive(Debug)]
pub struct DataSocket {
    /// The socket; non-blocking, TCP_NODELAY, nothing read beyond the greeting.
    pub stream: std::net::TcpStream,
    /// Who is at the other end.
    pub hello: Hello,
}

/// The control connections of a node; a cheap handle, usable from any thread.
#[derive(Debug, Clone)]
pub struct Peers {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) identity: Identity,
    pub(super) runtime: Handle,
    cluster: Mutex<Option<ClusterId>>,
    links: RwLock<BTreeMap<StorageId, Kept>>,
    subscribers: Mutex<Vec<mpsc::Sender<LinkEvent>>>,
    service: OnceLock<Weak<dyn PeerService>>,
    data: mpsc::Sender<DataSocket>,
    logged: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Kept {
    link: Arc<Link>,
    task: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds the address for other nodes; port 0 lets the kernel choose.
///
/// # Errors
/// What the kernel said.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR: a restart must not wait for TIME_WAIT.
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Peers {
    /// Starts to accept connections on `listener` (see [`bind`]). Call it on the control runtime,
    /// before joining: others must reach a node that wants to be a member.
    ///
    /// Connections for data go into `data`.
    ///
    /// # Errors
    /// The listener could not be registered with the runtime.
    pub fn open(
        identity: Identity,
        cluster: Option<ClusterId>,
        listener: TcpListener,
        data: mpsc::Sender<DataSocket>,
    ) -> Result<Self, ListenError> {
        let inner = Arc::new(Inner {
            identity,
            runtime: Handle::current(),
            cluster: Mutex::new(cluster),
            links: RwLock::default(),
            subscribers: Mutex::default(),
            service: OnceLock::new(),
            data,
            logged: Mutex::default(),
        });
        listener::start(&inner, listener)?;
        Ok(Self { inner })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The hello of this node.
    pub(super) fn hello(&self, purpose: Purpose) -> Hello {
        self.inner.hello(purpose)
    }

    /// From now on this node belongs to a cluster.
    pub(super) fn set_cluster(&self, cluster: ClusterId) {
        *self.inner.cluster() = Some(cluster);
    }

    /// Who answers requests. Only the first call counts; requests before it are `NotReady`.
    pub(super) fn serve(&self, service: Weak<dyn PeerService>) {
        let _ = self.inner.service.set(service);
    }

    /// Opens links to members that have none, closes those of nodes that left, follows addresses.
    pub(super) fn update_members(&self, map: &ClusterMap) {
        if map.is_founded() {
            self.set_cluster(map.cluster);
        }
        let wanted = map
            .members
            .values()
            .filter(|member| member.state != MemberState::Left);
        for member in wanted {
            self.keep_link(member.storage, &member.peer_address, true);
        }
        let mut links = self
            .inner
            .links
            .write()
            .expect("no holder of this lock panics");
        let left = |storage: &StorageId| {
            map.retired.contains(storage)
                || map
                    .members
                    .get(storage)
                    .is_some_and(|m| m.state == MemberState::Left)
        };
        links.retain(|storage, _| !left(storage));
    }

    /// Keeps a link to a node, even if the map does not know it yet.
    pub(super) fn keep_link(&self, storage: StorageId, address: &str, follow_address: bool) {
        if storage == self.inner.identity.storage {
            return;
        }
        let mut links = self
            .inner
            .links
            .write()
            .expect("no holder of this lock panics");
        if let Some(kept) = links.get(&storage) {
            if follow_address {
                kept.link.move_to(address);
            }
            return;
        }
        let link = Arc::new(Link::new(storage, address.to_owned()));
        let maintaining = Arc::clone(&link).maintain(Arc::clone(&self.inner));
        let task = self.inner.runtime.spawn(maintaining).abort_handle();
        links.insert(storage, Kept { link, task });
    }

    /// Asks a member.
    ///
    /// # Errors
    /// Each says whether the request may have had an effect.
    pub async fn call(
        &self,
        to: StorageId,
        request: PeerRequest,
        limit: Duration,
    ) -> Result<PeerReply, CallError> {
        let session = self
            .inner
            .link(to)
            .ok_or(CallError::NotConnected)?
            .session()?;
        session.call(&request, limit).await
    }

    /// Asks whoever listens at an address, on a connection of its own; for joining.
    ///
    /// # Errors
    /// Why nobody was reached, or why there is no answer.
    pub(super) async fn call_address(
        &self,
        address: &str,
        request: PeerRequest,
        limit: Duration,
    ) -> Result<PeerReply, CallAddressError> {
        let hello = self.inner.hello(Purpose::Control);
        let (stream, theirs) = greeting::dial(address, &hello, limit)
            .await
            .map_err(CallAddressError::Greet)?;
        tracing::debug!(address, name = theirs.identity.name, "asking");
        let (session, served) = Session::new(stream);
        tokio::select! {
            reply = session.call(&request, limit) => reply.map_err(CallAddressError::Call),
            () = served => Err(CallAddressError::Call(CallError::Lost)),
        }
    }

    /// A member answered a ping.
    pub(super) fn heard(&self, storage: StorageId, hears: Vec<StorageId>) {
        self.inner.tell(&LinkEvent::Heard { storage, hears });
    }

    /// A new subscription to what happens to connections from now on.
    #[must_use]
    pub fn events(&self) -> mpsc::Receiver<LinkEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        self.inner.subscribers().push(sender);
        receiver
    }

    /// Looks whether a member is there, within about 20 ms.
    pub(super) async fn probe(&self, to: StorageId) -> ProbeReply {
        match self.inner.link(to) {
            Some(link) => link.probe(&self.inner).await,
            None => ProbeReply::Unknown,
        }
    }

    /// Whether the link to a member is up.
    #[must_use]
    pub fn is_up(&self, to: StorageId) -> bool {
        self.inner.link(to).is_some_and(|link| link.is_up())
    }

    /// Where a member is dialled.
    #[must_use]
    pub fn address(&self, of: StorageId) -> Option<String> {
        Some(self.inner.link(of)?.address())
    }

    /// Looks who answers at an address; a member of this cluster is dialled there until the map
    /// lists another address of it: all may have come back with new ones.
    pub async fn find(&self, address: &str) {
        let hello = self.inner.hello(Purpose::Probe);
        let greeted = greeting::dial(address, &hello, FINDING_MAX).await;
        let Ok((_, theirs)) = greeted else { return };
        if let Some(link) = self.inner.link(theirs.identity.storage) {
            link.found_at(address);
        }
    }

    /// The last start of a member that greeted this node.
    #[must_use]
    pub fn incarnation(&self, of: StorageId) -> Option<Incarnation> {
        self.inner.link(of)?.incarnation()
    }
}

/// Why a node at an address did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallAddressError {
    /// Nobody was reached. The request was not sent.
    #[error("cannot reach the node")]
    Greet(#[source] GreetError),
    /// There is no answer. See the source for whether the request may have had an effect.
    #[error("no answer")]
    Call(#[source] CallError),
}

impl Inner {
    pub(super) fn hello(&self, purpose: Purpose) -> Hello {
        Hello {
            format: WIRE_FORMAT,
            cluster: *self.cluster(),
            identity: self.identity.clone(),
            purpose,
        }
    }

    pub(super) fn cluster(&self) -> MutexGuard<'_, Option<ClusterId>> {
        self.cluster.lock().expect("no holder of this lock panics")
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<mpsc::Sender<LinkEvent>>> {
        self.subscribers
            .lock()
            .expect("no holder of this lock panics")
    }

    pub(super) fn service(&self) -> Option<Arc<dyn PeerService>> {
        self.service.get()?.upgrade()
    }

    pub(super) fn link(&self, to: StorageId) -> Option<Arc<Link>> {
        let links = self.links.read().expect("no holder of this lock panics");
        links.get(&to).map(|kept| Arc::clone(&kept.link))
    }

    pub(super) fn tell(&self, event: &LinkEvent) {
        tracing::debug!(?event, "link");
        self.subscribers()
            .retain(|subscriber| match subscriber.try_send(event.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::warn!(?event, "a subscriber does not take link events");
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            });
    }

    /// A node without a cluster takes note of a hello that names one.
    pub(super) fn hear_cluster(&self, hello: &Hello) {
        if let (None, Some(cluster)) = (*self.cluster(), hello.cluster) {
            self.tell(&LinkEvent::ToldCluster {
                cluster,
                by: hello.identity.name.clone(),
            });
        }
    }

    pub(super) fn hand_over(&self, socket: DataSocket) {
        if self.data.try_send(socket).is_err() {
            tracing::warn!("the data thread does not take connections");
        }
    }

    /// Logs a lasting refusal once.
    pub(super) fn note_refusal(&self, address: &str, error: &GreetError) {
        let lasting = matches!(
            error,
            GreetError::Rejected { .. } | GreetError::Unfit(_) | GreetError::Malformed(_)
        );
        if !lasting {
            return;
        }
        let mut logged = self.logged.lock().expect("no holder of this lock panics");
        if logged.len() < REFUSALS_LOGGED_MAX && logged.insert(format!("{address} {error}")) {
            tracing::warn!(address, %error, "will not talk to a node");
        }
    }
}
