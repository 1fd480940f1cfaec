//! One dialled control connection: requests out, replies in, matched by correlation number.
//! Knows nothing of what the requests mean or of what happens when the connection ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::codec::FramedRead;

use super::envelope::{self, Envelope, Kind};
use super::message::{PeerReply, PeerRequest};

/// Requests queued to one peer; beyond this it is not reading and more would not help.
const QUEUE_MAX: usize = 1024;
/// Requests without an answer on one connection.
const PENDING_MAX: usize = 4096;
/// With a request pending and nothing received for this long, the connection is given up:
/// the machine may have vanished without a word.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How often that is looked at; the look itself sends a ping.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no connection to the node. The request was not sent; try later.
    #[error("not connected")]
    NotConnected,
    /// Too many requests wait for the node. The request was not sent; try later.
    #[error("too many requests are waiting")]
    Busy,
    /// The request is larger than a frame may be. It was not sent.
    #[error("the request is too large")]
    TooLarge,
    /// The connection ended. The node may or may not have done what was asked.
    #[error("the connection was lost")]
    Lost,
    /// No answer in time. The node may or may not have done what was asked.
    #[error("no answer in time")]
    TimedOut,
    /// The answer makes no sense. The node may or may not have done what was asked.
    #[error("the answer is unreadable")]
    Malformed,
}

impl CallError {
    /// Whether the request certainly had no effect.
    pub(super) fn is_without_effect(&self) -> bool {
        matches!(self, Self::NotConnected | Self::Busy | Self::TooLarge)
    }
}

/// The sending side of a session; a cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Session {
    queue: mpsc::Sender<Envelope>,
    pending: Arc<Mutex<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    replies: BTreeMap<u64, oneshot::Sender<Bytes>>,
    waiting_since: Option<Instant>,
    /// A ping was sent since then, to tell a slow answer from a connection that is stuck.
    pinged: bool,
}

impl Pending {
    /// Whether answers are due and nothing has come for so long.
    fn is_silent_for(&self, limit: Duration) -> bool {
        self.waiting_since
            .is_some_and(|since| since.elapsed() > limit)
    }
}

impl Session {
    /// A session on a greeted connection, and the future that serves it until it ends.
    pub(super) fn new(stream: TcpStream) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, outgoing) = mpsc::channel(QUEUE_MAX);
        let session = Self {
            queue,
            pending: Arc::default(),
        };
        let serving = session.clone();
        let served = async move { serving.serve(stream, outgoing).await };
        (session, served)
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call(
        &self,
        request: &PeerRequest,
        limit: Duration,
    ) -> Result<PeerReply, CallError> {
        let body = envelope::encode_body(request).ok_or(CallError::TooLarge)?;
        let reply = self.send(body)?;
        let body = match timeout(limit, reply).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return Err(CallError::Lost),
            Err(_) => return Err(CallError::TimedOut),
        };
        envelope::decode_body(&body).ok_or(CallError::Malformed)
    }

    fn send(&self, body: Bytes) -> Result<oneshot::Receiver<Bytes>, CallError> {
        let (sender, reply) = oneshot::channel();
        let mut pending = self.lock();
        if pending.replies.len() >= PENDING_MAX {
            return Err(CallError::Busy);
        }
        let correlation = pending.next;
        let envelope = Envelope {
            kind: Kind::Request,
            correlation,
            body,
        };
        self.queue.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CallError::Busy,
            mpsc::error::TrySendError::Closed(_) => CallError::NotConnected,
        })?;
        pending.next += 1;
        pending.replies.insert(correlation, sender);
        pending.waiting_since.get_or_insert_with(Instant::now);
        Ok(reply)
    }

    /// Whether answers are due and nothing has come for so long.
    pub(super) fn is_silent_for(&self, limit: Duration) -> bool {
        self.lock().is_silent_for(limit)
    }

    /// Sends a ping, once, if answers are due and nothing has come for so long: what was asked may
    /// take its time, and a ping is answered at once.
    pub(super) fn ping_if_silent_for(&self, limit: Duration) {
        let mut pending = self.lock();
        if pending.is_silent_for(limit) && !std::mem::replace(&mut pending.pinged, true) {
            drop(pending);
            self.ping();
        }
    }

    /// Asks for a sign of life; nobody waits for the answer.
    fn ping(&self) {
        if let Some(body) = envelope::encode_body(&PeerRequest::Ping { last_log: None }) {
            let _ = self.send(body);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("no holder of this lock panics")
    }

    async fn serve(self, stream: TcpStream, outgoing: mpsc::Receiver<Envelope>) {
        let (reader, writer) = stream.into_split();
        tokio::select! {
            () = self.read(FramedRead::new(reader, envelope::codec())) => {}
            _ = envelope::write_queue(writer, outgoing) => {}
            () = self.watch_silence() => {}
        }
        self.give_up();
    }

    /// Everybody who still waits learns that the connection is gone.
    pub(super) fn give_up(&self) {
        self.lock().replies.clear();
    }

    async fn read<R>(&self, mut frames: FramedRead<R, tokio_util::codec::LengthDelimitedCodec>)
    where
        R: tokio::io::AsyncRead + Unpin,
    {
        while let Some(Ok(frame)) = frames.next().await {
            let Some(envelope) = Envelope::read(frame) else {
                return;
            };
            let mut pending = self.lock();
            let sender = pending.replies.remove(&envelope.correlation);
            pending.waiting_since = (!pending.replies.is_empty()).then(Instant::now);
            pending.pinged = false;
            drop(pending);
            if let Some(sender) = sender {
                // The caller may have given up.
                let _ = sender.send(envelope.body);
            }
        }
    }

    async fn watch_silence(&self) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let mut pending = self.lock();
            if pending.is_silent_for(SILENCE_MAX) {
                return;
            }
            pending.replies.retain(|_, sender| !sender.is_closed());
            let waiting = pending.waiting_since.is_some();
            drop(pending);
            if waiting {
                self.ping();
            }
        }
    }
}
