//! The sockets of the data plane: one task that dials and writes for each peer, one that reads for
//! each that dialled us.
//!
//! What waits to be written is bounded by the plane, which is told how much it is. Knows nothing of
//! what the frames mean.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use tablestore_consensus::{Dialler, Purpose, keep_alive};
use tablestore_dataplane::settings::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use tablestore_dataplane::{Frame, LinkOrder, PlaneEvent};
use tablestore_placement::{Office, StorageId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::counters::Counters;
use super::event::{DataEvent, EventSender};

/// So much is written before the socket is flushed.
const FLUSH_BYTES: usize = 1 << 20;
/// Bytes received from one peer that the data thread has not dealt with yet; TCP holds back the
/// rest. Must be enough for one frame.
const UNREAD_BYTES_MAX: usize = 16 << 20;
/// Pause between attempts to dial a peer.
const DIAL_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// When nothing of what was sent has been confirmed by the peer's kernel for so long, the
/// connection is dead and another is dialled. The kernel counts from the first repetition, 200 ms
/// after the first attempt; the sum is less than the time for which replicas wait for a member.
/// Left alone, TCP waits longer than the cut that it met.
const UNCONFIRMED_MAX: Duration = Duration::from_millis(250);

/// The codec of data connections.
fn frames() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(FRAME_BYTES_MAX)
        .new_codec()
}

/// The connection to one peer.
#[derive(Debug)]
struct Socket {
    to_writer: mpsc::UnboundedSender<Bytes>,
    /// Bytes handed to the writer and not written yet; the bound of its queue.
    unwritten: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connections that this node dials.
#[derive(Debug)]
pub(crate) struct Sockets {
    sockets: BTreeMap<StorageId, Socket>,
    dialler: Dialler,
    events: EventSender,
}

impl Sockets {
    pub(crate) fn new(dialler: Dialler, events: EventSender) -> Self {
        Self {
            sockets: BTreeMap::new(),
            dialler,
            events,
        }
    }

    /// Opens and closes connections as the plane says.
    pub(crate) fn follow(&mut self, orders: impl Iterator<Item = LinkOrder>) {
        for order in orders {
            match order {
                LinkOrder::Dial {
                    peer,
                    address,
                    link,
                } => self.open(peer, address, link),
                LinkOrder::Close { peer } => {
                    self.sockets.remove(&peer);
                }
            }
        }
    }

    fn open(&mut self, peer: StorageId, address: String, link: u64) {
        let (to_writer, to_write) = mpsc::unbounded_channel();
        let unwritten = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            peer,
            link,
            address,
            to_write,
            unwritten: Arc::clone(&unwritten),
        };
        let task = tokio::spawn(writer.run(self.dialler.clone(), self.events.clone()));
        let socket = Socket {
            to_writer,
            unwritten,
            task,
        };
        self.sockets.insert(peer, socket);
    }

    /// Hands a frame to the writer of the peer.
    pub(crate) fn send(&self, peer: StorageId, frame: Bytes) {
        if let Some(socket) = self.sockets.get(&peer) {
            socket.unwritten.fetch_add(frame.len(), Ordering::Relaxed);
            // The writer ends only with the socket.
            let _ = socket.to_writer.send(frame);
        }
    }

    /// Bytes that each peer's writer has not written yet.
    pub(crate) fn unwritten(&self) -> impl Iterator<Item = (StorageId, usize)> + '_ {
        let sockets = self.sockets.iter();
        sockets.map(|(peer, socket)| (*peer, socket.unwritten.load(Ordering::Relaxed)))
    }
}

/// The task that dials one peer and writes what is queued for it.
struct Writer {
    peer: StorageId,
    link: u64,
    address: String,
    to_write: mpsc::UnboundedReceiver<Bytes>,
    unwritten: Arc<AtomicUsize>,
}

impl Writer {
    /// Dials again and again until the link is dropped, and writes what is queued.
    async fn run(mut self, dialler: Dialler, events: EventSender) {
        loop {
            let dialled = Instant::now();
            match dialler.dial(&self.address, Purpose::Data).await {
                Ok((stream, hello)) if hello.identity.storage == self.peer => {
                    while let Ok(frame) = self.to_write.try_recv() {
                        self.written(frame.len());
                    }
                    // Connecting and greeting took two round trips.
                    let unconfirmed = UNCONFIRMED_MAX + dialled.elapsed();
                    let socket = SockRef::from(&stream);
                    if let Err(error) = socket.set_tcp_user_timeout(Some(unconfirmed)) {
                        tracing::warn!(%error, "a dead connection will be noticed late");
                    }
                    let (peer, link) = (self.peer, self.link);
                    events.tell(PlaneEvent::PeerUp { peer, link }).await;
                    self.write_frames(stream).await;
                    events.tell(PlaneEvent::PeerDown { peer, link }).await;
                }
                Ok(_) | Err(_) => {}
            }
            if self.to_write.is_closed() {
                return;
            }
            tokio::time::sleep(DIAL_AGAIN_AFTER).await;
        }
    }

    fn written(&self, bytes: usize) {
        self.unwritten.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Writes until the connection breaks or the link is dropped.
    async fn write_frames(&mut self, stream: tokio::net::TcpStream) {
        let (mut reading, writing) = stream.into_split();
        let mut sink = FramedWrite::new(writing, frames());
        let mut byte = [0_u8; 1];
        loop {
            tokio::select! {
                // The peer says nothing here: any end of reading is the end of the connection.
                _ = tokio::io::AsyncReadExt::read(&mut reading, &mut byte) => return,
                frame = self.to_write.recv() => {
                    let Some(frame) = frame else { return };
                    let mut bytes = frame.len();
                    let mut fed = sink.feed(frame).await;
                    while fed.is_ok() && bytes < FLUSH_BYTES
                        && let Ok(frame) = self.to_write.try_recv()
                    {
                        bytes += frame.len();
                        fed = sink.feed(frame).await;
                    }
                    let flushed = SinkExt::<Bytes>::flush(&mut sink).await;
                    self.written(bytes);
                    if fed.and(flushed).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Reads the frames of a peer that dialled us, until the connection ends or a frame cannot be read.
pub(crate) fn read_frames(peer: Office, socket: TcpStream, events: EventSender, metrics: Counters) {
    tokio::spawn(async move {
        keep_alive(&socket);
        match tokio::net::TcpStream::from_std(socket) {
            Ok(stream) => read_until_the_end(peer, stream, &events, &metrics).await,
            Err(error) => tracing::warn!(%error, "a peer's connection could not be taken over"),
        }
        events.tell(PlaneEvent::InboundEnded(peer)).await;
    });
}

async fn read_until_the_end(
    peer: Office,
    stream: tokio::net::TcpStream,
    events: &EventSender,
    metrics: &Counters,
) {
    let unread = Arc::new(Semaphore::new(UNREAD_BYTES_MAX));
    let mut source = FramedRead::with_capacity(stream, frames(), 64 << 10);
    loop {
        let bytes = match source.next().await {
            Some(Ok(bytes)) => bytes.freeze(),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                return refuse(peer, &error, metrics);
            }
            Some(Err(_)) | None => return,
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let frame = match Frame::decode(bytes, MESSAGE_BYTES_MAX) {
            Ok(frame) => frame,
            Err(error) => return refuse(peer, &error, metrics),
        };
        // Given back when the messages are dealt with; closed it never is.
        let Ok(unread) = Arc::clone(&unread).acquire_many_owned(length).await else {
            return;
        };
        let event = DataEvent::Frame {
            from: peer,
            frame,
            unread,
        };
        events.send(event).await;
    }
}

fn refuse(peer: Office, error: &dyn std::error::Error, metrics: &Counters) {
    metrics.bad_frames.add(1);
    tracing::warn!(from = %peer.member, %error, "a frame was refused; its connection is closed");
}
