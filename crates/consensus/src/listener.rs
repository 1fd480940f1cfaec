//! Accepts connections of other nodes, greets them, and serves the requests of control
//! connections. Knows nothing of what requests mean.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio_util::codec::FramedRead;

use super::envelope::{self, Envelope, Kind};
use super::greeting::{self, GreetError, Hello, Purpose};
use super::message::{PeerIdentity, PeerReply, PeerRequest};
use super::peers::{DataSocket, Inner};

/// Connections that have not greeted yet; beyond this new ones wait in the kernel.
const GREETINGS_MAX: usize = 256;
/// How long a connection may take to greet.
const GREETING_MAX: Duration = Duration::from_secs(1);
/// Requests of one connection that are served at the same time.
const SERVED_MAX: usize = 1024;
/// After an error of `accept` (out of file descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The listener could not be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for other nodes")]
pub struct ListenError(#[source] pub io::Error);

pub(super) fn start(
    peers: &Arc<Inner>,
    listener: std::net::TcpListener,
) -> Result<(), ListenError> {
    let listener = TcpListener::from_std(listener).map_err(ListenError)?;
    let peers = Arc::clone(peers);
    let runtime = peers.runtime.clone();
    runtime.spawn(accept_all(peers, listener));
    Ok(())
}

async fn accept_all(peers: Arc<Inner>, listener: TcpListener) {
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    // Connections end with the listener.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let permit = Arc::clone(&greetings).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let peers = Arc::clone(&peers);
                connections.spawn(async move {
                    let greeted = greet(&peers, stream).await;
                    drop(permit);
                    if let Some((stream, asker)) = greeted {
                        serve(&peers, stream, asker).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// A control connection that is to be served, or nothing.
async fn greet(peers: &Arc<Inner>, mut stream: TcpStream) -> Option<(TcpStream, Asker)> {
    let ours = |purpose| peers.hello(purpose);
    let hello = match greeting::accept(&mut stream, ours, GREETING_MAX).await {
        Ok(hello) => hello,
        Err(error) => {
            let from = stream
                .peer_addr()
                .map_or_else(|_| String::new(), |a| a.ip().to_string());
            peers.note_refusal(&from, &error);
            return None;
        }
    };
    let storage = hello.identity.storage;
    if storage == peers.identity.storage {
        // Ourselves, by TCP's self-connect or by a probe of our own address.
        return None;
    }
    match hello.purpose {
        Purpose::Control => {
            if let Some(link) = peers.link(storage) {
                link.learn(&hello, peers);
            }
            peers.hear_cluster(&hello);
            Some((stream, Asker::Peer(peer(&hello))))
        }
        Purpose::Data => {
            match stream.into_std() {
                Ok(stream) => peers.hand_over(DataSocket { stream, hello }),
                Err(error) => peers.note_refusal("data", &GreetError::Io(error)),
            }
            None
        }
        Purpose::Consult => Some((stream, Asker::Consults(peer(&hello)))),
        Purpose::Probe => None,
    }
}

fn peer(hello: &Hello) -> PeerIdentity {
    PeerIdentity {
        storage: hello.identity.storage,
        incarnation: hello.identity.incarnation,
    }
}

/// Who asks on a connection.
#[derive(Debug, Clone, Copy)]
enum Asker {
    /// A node of the cluster.
    Peer(PeerIdentity),
    /// One that has not begun its start yet, and may only show it.
    Consults(PeerIdentity),
}

async fn serve(peers: &Arc<Inner>, stream: TcpStream, from: Asker) {
    let (reader, writer) = stream.into_split();
    // Room for the answers of all that is served, so that no answer waits for the socket.
    let (replies, queue) = mpsc::channel(SERVED_MAX);
    tokio::select! {
        () = read(peers, FramedRead::new(reader, envelope::codec()), &replies, from) => {}
        _ = envelope::write_queue(writer, queue) => {}
    }
}

async fn read<R>(
    peers: &Arc<Inner>,
    mut frames: FramedRead<R, tokio_util::codec::LengthDelimitedCodec>,
    replies: &mpsc::Sender<Envelope>,
    from: Asker,
) where
    R: tokio::io::AsyncRead + Unpin,
{
    let served = Arc::new(Semaphore::new(SERVED_MAX));
    while let Some(Ok(frame)) = frames.next().await {
        let Some(request) = Envelope::read(frame) else {
            return;
        };
        let Ok(permit) = Arc::clone(&served).try_acquire_owned() else {
            let busy = reply(request.correlation, &PeerReply::Busy);
            if replies.send(busy).await.is_err() {
                return;
            }
            continue;
        };
        let (peers, replies) = (Arc::clone(peers), replies.clone());
        tokio::spawn(async move {
            let answer = answer(&peers, from, &request.body).await;
            // If the connection has ended there is nobody to answer.
            let _ = replies.send(reply(request.correlation, &answer)).await;
            drop(permit);
        });
    }
}

async fn answer(peers: &Inner, from: Asker, body: &[u8]) -> PeerReply {
    let Some(request) = envelope::decode_body(body) else {
        return PeerReply::Unsupported;
    };
    let from = match (from, &request) {
        (Asker::Peer(peer), _) | (Asker::Consults(peer), PeerRequest::ShowStart(_)) => peer,
        (Asker::Consults(_), _) => return PeerReply::Unsupported,
    };
    match peers.service() {
        Some(service) => service.handle(from, request).await,
        None => PeerReply::NotReady,
    }
}

fn reply(correlation: u64, answer: &PeerReply) -> Envelope {
    let body = envelope::encode_body(answer)
        .or_else(|| envelope::encode_body(&PeerReply::Busy))
        .unwrap_or_default();
    Envelope {
        kind: Kind::Reply,
        correlation,
        body,
    }
}
