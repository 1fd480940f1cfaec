//! The connection that this node keeps open to one other node, for ever: dial, greet, serve, and
//! when it ends find out within milliseconds whether the process at the other end is gone.
//!
//! What is found is told as events; what follows from it is decided elsewhere.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tablestore_controller::Sign;
use tablestore_placement::{ClusterId, Incarnation, StorageId};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::greeting::{self, GreetError, Hello, Purpose};
use super::lost::{LostSession, QUICK_ATTEMPTS_MAX, REFUSAL_GAP, REFUSALS_FOR_A_HINT};
use super::message::ProbeReply;
use super::peers::Inner;
use super::session::{CallError, Session};

/// A dying process's listener may accept and never greet.
const QUICK_GREETING_MAX: Duration = Duration::from_millis(20);
/// A greeting when there is no hurry.
const GREETING_MAX: Duration = Duration::from_millis(500);
/// Reconnects when there is no hurry, doubling from the first to the second.
const PACE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// A whole probe.
pub(super) const PROBE_MAX: Duration = Duration::from_millis(20);

/// What happens to the connection to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// A voter answered another voter's ping.
    Heard {
        /// Who answered.
        storage: StorageId,
        /// The voters that it hears.
        hears: Vec<StorageId>,
    },
    /// Connected and greeted.
    Up {
        /// The node.
        storage: StorageId,
        /// Its start.
        incarnation: Incarnation,
    },
    /// The connection ended. Says nothing yet.
    Lost {
        /// The node.
        storage: StorageId,
        /// The start that it was with.
        incarnation: Incarnation,
    },
    /// The crash hint: an established connection ended, and two reconnects in a row to the same
    /// literal address were refused.
    RefusedTwice {
        /// The node.
        storage: StorageId,
        /// The start that is gone.
        incarnation: Incarnation,
    },
    /// The node has started anew: the start before is gone.
    NewIncarnation {
        /// The node.
        storage: StorageId,
        /// The new start.
        incarnation: Incarnation,
        /// Whether the machine did not restart: only then it is certain that the old process is
        /// gone (the directory is locked); otherwise it is a hint.
        same_boot: bool,
    },
    /// Another node answers at the address.
    OtherNode {
        /// The node that was expected.
        expected: StorageId,
        /// The node that answered.
        found: StorageId,
    },
    /// A node says that it belongs to a cluster, and this node belongs to none: an address that
    /// the cluster still lists, or a join that is under way.
    ToldCluster {
        /// The cluster.
        cluster: ClusterId,
        /// The name of the node that said so.
        by: String,
    },
}

impl LinkEvent {
    /// What it tells of the end of a node's start, if anything.
    pub fn sign(&self) -> Option<(StorageId, Sign)> {
        match *self {
            Self::RefusedTwice {
                storage,
                incarnation,
            } => Some((storage, Sign::RefusedTwice(incarnation))),
            Self::NewIncarnation {
                storage,
                incarnation,
                same_boot,
            } => Some((
                storage,
                Sign::StartedAnew {
                    incarnation,
                    same_boot,
                },
            )),
            _ => None,
        }
    }
}

/// The link to one node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) storage: StorageId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where it is dialled: as the map lists it, or where it was found since.
    address: String,
    /// As the map lists it.
    listed: String,
    session: Option<Session>,
    /// The last hello of the node: its start and boot.
    known: Option<(Incarnation, u64)>,
    /// The session that ended last and has not been followed by another.
    lost: Option<LostSession>,
}

impl State {
    fn dial_at(&mut self, address: &str) {
        if self.address == address {
            return;
        }
        address.clone_into(&mut self.address);
        // Refusals at the new address say nothing about the old process.
        if let Some(lost) = &mut self.lost {
            lost.hinted = true;
        }
    }
}

impl Link {
    pub(super) fn new(storage: StorageId, address: String) -> Self {
        let state = State {
            listed: address.clone(),
            address,
            session: None,
            known: None,
            lost: None,
        };
        Self {
            storage,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(super) fn session(&self) -> Result<Session, CallError> {
        self.lock().session.clone().ok_or(CallError::NotConnected)
    }

    pub(super) fn is_up(&self) -> bool {
        self.lock().session.is_some()
    }

    /// The last start of the node that greeted us.
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        self.lock().known.map(|(incarnation, _)| incarnation)
    }

    pub(super) fn address(&self) -> String {
        self.lock().address.clone()
    }

    /// The map lists it here. One that was found elsewhere since stays there until it lists
    /// another address.
    pub(super) fn move_to(&self, address: &str) {
        let mut state = self.lock();
        if state.listed != address {
            address.clone_into(&mut state.listed);
            state.dial_at(address);
        }
    }

    /// It answers here, while the map lists another address.
    pub(super) fn found_at(&self, address: &str) {
        let mut state = self.lock();
        if state.session.is_none() {
            state.dial_at(address);
        }
    }

    /// Takes note of a hello of the node, whichever side dialled; tells if it is a new start.
    pub(super) fn learn(&self, hello: &Hello, peers: &Inner) {
        let identity = &hello.identity;
        let mut state = self.lock();
        let (before, boot) = state.known.unwrap_or((identity.incarnation, identity.boot));
        if identity.incarnation < before {
            return;
        }
        state.known = Some((identity.incarnation, identity.boot));
        drop(state);
        if identity.incarnation > before {
            peers.tell(&LinkEvent::NewIncarnation {
                storage: self.storage,
                incarnation: identity.incarnation,
                same_boot: identity.boot == boot,
            });
        }
    }

    /// Keeps the connection until the task is aborted.
    pub(super) async fn maintain(self: Arc<Self>, peers: Arc<Inner>) {
        let mut pace = PACE.0;
        loop {
            match self.connect(&peers).await {
                Ok((stream, hello)) => {
                    pace = PACE.0;
                    self.serve(stream, &hello, &peers).await;
                }
                Err(error) => self.pause(&error, &mut pace, &peers).await,
            }
        }
    }

    async fn connect(&self, peers: &Inner) -> Result<(TcpStream, Hello), GreetError> {
        let (address, limit) = {
            let state = self.lock();
            match &state.lost {
                Some(lost) if lost.is_quick() => (lost.address.to_string(), QUICK_GREETING_MAX),
                _ => (state.address.clone(), GREETING_MAX),
            }
        };
        let ours = peers.hello(Purpose::Control);
        let (stream, hello) = greeting::dial(&address, &ours, limit).await?;
        let found = hello.identity.storage;
        if found != self.storage {
            peers.tell(&LinkEvent::OtherNode {
                expected: self.storage,
                found,
            });
            let reason = format!("node {found} answers at the address of {}", self.storage);
            return Err(GreetError::Malformed(reason));
        }
        Ok((stream, hello))
    }

    /// Serves the connection until it ends. One that is silent is left for a fresh one as soon as
    /// the node answers there.
    async fn serve(&self, stream: TcpStream, hello: &Hello, peers: &Inner) {
        let (mut stream, mut hello) = (stream, hello.clone());
        loop {
            let Ok(address) = stream.peer_addr() else {
                return;
            };
            let (storage, incarnation) = (self.storage, hello.identity.incarnation);
            self.learn(&hello, peers);
            peers.hear_cluster(&hello);
            let (session, served) = Session::new(stream);
            {
                let mut state = self.lock();
                state.session = Some(session.clone());
                state.lost = None;
            }
            peers.tell(&LinkEvent::Up {
                storage,
                incarnation,
            });
            tokio::select! {
                () = served => {
                    let mut state = self.lock();
                    state.session = None;
                    state.lost = Some(LostSession::new(incarnation, address));
                    drop(state);
                    return peers.tell(&LinkEvent::Lost { storage, incarnation });
                }
                fresh = self.fresh_beside(&session, peers) => {
                    session.give_up();
                    (stream, hello) = fresh;
                }
            }
        }
    }

    /// What a failed reconnect means, and how long to wait for the next.
    async fn pause(&self, error: &GreetError, pace: &mut Duration, peers: &Inner) {
        let (hint, quick) = self.judge(error);
        if let Some(incarnation) = hint {
            peers.tell(&LinkEvent::RefusedTwice {
                storage: self.storage,
                incarnation,
            });
        }
        match quick {
            Some(wait) if wait.is_zero() => tokio::task::yield_now().await,
            Some(wait) => sleep(wait).await,
            None => {
                peers.note_refusal(&self.address(), error);
                sleep(*pace).await;
                *pace = (*pace * 2).min(PACE.1);
            }
        }
    }

    fn judge(&self, error: &GreetError) -> (Option<Incarnation>, Option<Duration>) {
        let mut state = self.lock();
        match &mut state.lost {
            Some(lost) => lost.judge(error),
            None => (None, None),
        }
    }

    /// Looks whether the node is there, apart from the connection that is kept.
    pub(super) async fn probe(&self, peers: &Inner) -> ProbeReply {
        let looked = tokio::time::timeout(PROBE_MAX, self.look(peers)).await;
        looked.unwrap_or(ProbeReply::Unknown)
    }

    async fn look(&self, peers: &Inner) -> ProbeReply {
        let (address, mut refusals) = {
            let state = self.lock();
            let hinted = state
                .lost
                .is_some_and(|lost| lost.refusals >= REFUSALS_FOR_A_HINT);
            // After the hint one fresh refusal is the third in a row.
            let refusals = if hinted { REFUSALS_FOR_A_HINT - 1 } else { 0 };
            let literal = state.lost.map(|lost| lost.address.to_string());
            (literal.unwrap_or_else(|| state.address.clone()), refusals)
        };
        let ours = peers.hello(Purpose::Probe);
        for _ in 0..QUICK_ATTEMPTS_MAX {
            match greeting::dial(&address, &ours, PROBE_MAX).await {
                Ok((_, hello)) if hello.identity.storage == self.storage => {
                    self.learn(&hello, peers);
                    return ProbeReply::Alive {
                        incarnation: hello.identity.incarnation,
                    };
                }
                Err(GreetError::Refused) => {
                    refusals += 1;
                    if refusals >= REFUSALS_FOR_A_HINT {
                        return ProbeReply::Refused;
                    }
                    sleep(REFUSAL_GAP).await;
                }
                Err(GreetError::Closed) => {
                    refusals = 0;
                    tokio::task::yield_now().await;
                }
                _ => return ProbeReply::Unknown,
            }
        }
        ProbeReply::Unknown
    }
}
