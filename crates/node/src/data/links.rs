//! Data connections to and from the other nodes.
//!
//! Each node dials every other and speaks on the connection that it dialled; what it hears comes
//! on those dialled by the others. Within a turn the messages for one peer are written together,
//! in frames of about a mebibyte. What waits for a peer is bounded in bytes: from a first mark on
//! the replicas hold entries back, at the second the connection is closed, so that nothing is ever
//! skipped within one. Knows nothing of what the messages mean.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use tablestore_placement::{ClusterMap, Office, StorageId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::counters::Counters;
use super::event::{Event, EventSender};
use super::sessions::Sessions;
use crate::control::{Dialler, Purpose, keep_alive};
use crate::wire::{DataMessage, FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, decode_frame, encode_message};

/// A frame is closed when it has this much.
const FRAME_BYTES: usize = 1 << 20;
/// From so many bytes on their way to a peer on, replicas hold entries for it back: what a
/// connection of 1 Gbit/s carries in 64 ms.
const CROWDED_BYTES: usize = 8 << 20;
/// With so many bytes waiting the peer does not take them: its connection is closed.
const WAITING_BYTES_MAX: usize = 64 << 20;
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
/// A peer that answers nothing for so long is not about to be replaced: the way to it is broken.
const BROKEN_AFTER: Duration = Duration::from_millis(100);

/// The codec of data connections.
fn frames() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(FRAME_BYTES_MAX)
        .new_codec()
}

#[derive(Debug)]
struct Link {
    address: String,
    buffer: BytesMut,
    to_writer: mpsc::UnboundedSender<Bytes>,
    /// Bytes handed to the writer and not written yet; the bound of its queue.
    waiting: Arc<AtomicUsize>,
    up: bool,
    /// Since when it does not answer.
    unanswered_since: Option<Instant>,
    task: JoinHandle<()>,
}

impl Link {
    fn waiting(&self) -> usize {
        self.buffer.len() + self.waiting.load(Ordering::Relaxed)
    }

    /// Hands the frame to the writer.
    fn cut(&mut self) {
        if !self.buffer.is_empty() {
            let frame = self.buffer.split().freeze();
            self.waiting.fetch_add(frame.len(), Ordering::Relaxed);
            // The writer ends only with the link.
            let _ = self.to_writer.send(frame);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All data connections of this node.
#[derive(Debug)]
pub(crate) struct Links {
    me: StorageId,
    links: HashMap<StorageId, Link>,
    /// Who has dialled us.
    pub(crate) sessions: Sessions,
    /// Peers to which so much is on its way that replicas hold entries back, in order.
    crowded: Vec<StorageId>,
    /// Peers whose connection must be closed.
    overrun: Vec<StorageId>,
    dialler: Dialler,
    events: EventSender,
    metrics: Counters,
}

impl Links {
    pub(crate) fn new(
        me: StorageId,
        dialler: Dialler,
        events: EventSender,
        metrics: Counters,
    ) -> Self {
        Self {
            me,
            links: HashMap::new(),
            sessions: Sessions::default(),
            crowded: Vec::new(),
            overrun: Vec::new(),
            dialler,
            events,
            metrics,
        }
    }

    /// Opens links to new members and drops those of members that left.
    pub(crate) fn follow(&mut self, map: &ClusterMap) {
        self.links.retain(|storage, link| {
            let member = map.members.get(storage);
            member.is_some_and(|member| member.peer_address == link.address)
        });
        for (storage, member) in &map.members {
            if *storage != self.me && !self.links.contains_key(storage) && member.is_live() {
                self.open(*storage, member.peer_address.clone());
            }
        }
    }

    fn open(&mut self, storage: StorageId, address: String) {
        let (to_writer, to_write) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            peer: storage,
            address: address.clone(),
            to_write,
            waiting: Arc::clone(&waiting),
        };
        let task = tokio::spawn(writer.run(self.dialler.clone(), self.events.clone()));
        let link = Link {
            address,
            buffer: BytesMut::new(),
            to_writer,
            waiting,
            up: false,
            unanswered_since: Some(Instant::now()),
            task,
        };
        self.links.insert(storage, link);
    }

    /// Notes whether the connection stands.
    pub(crate) fn set_up(&mut self, peer: StorageId, up: bool) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.up = up;
        }
        self.look();
    }

    /// Whether messages to the peer have a chance.
    pub(crate) fn is_up(&self, peer: StorageId) -> bool {
        self.links.get(&peer).is_some_and(|link| link.up)
    }

    /// Whether a question to the peer has a chance of an answer, which comes on its connection
    /// to us: a node that has just started is reached before it is heard.
    pub(crate) fn answers(&self, peer: StorageId) -> bool {
        self.is_up(peer) && self.sessions.hears(peer)
    }

    /// Whether the way to a peer is broken, for longer than it takes to replace one that died.
    pub(crate) fn is_broken(&self, peer: StorageId) -> bool {
        let since = self.links.get(&peer).and_then(|link| link.unanswered_since);
        since.is_some_and(|since| since.elapsed() > BROKEN_AFTER)
    }

    /// Peers for which entries are to be held back, in order.
    pub(crate) fn crowded(&self) -> &[StorageId] {
        &self.crowded
    }

    /// Looks who answers and who is crowded.
    pub(crate) fn look(&mut self) {
        self.crowded.clear();
        for (peer, link) in &mut self.links {
            if link.up && self.sessions.hears(*peer) {
                link.unanswered_since = None;
            } else {
                link.unanswered_since.get_or_insert_with(Instant::now);
            }
            if link.waiting() >= CROWDED_BYTES {
                self.crowded.push(*peer);
            }
        }
        self.crowded.sort_unstable();
    }

    /// Adds a message to what the peer gets in this turn. Dropped without a connection: whoever
    /// speaks begins anew with the next one.
    pub(crate) fn tell(&mut self, to: StorageId, message: &DataMessage) {
        let Some(link) = self.links.get_mut(&to).filter(|link| link.up) else {
            return;
        };
        let before = link.buffer.len();
        encode_message(message, &mut link.buffer);
        let length = link.buffer.len() - before;
        if length > MESSAGE_BYTES_MAX {
            tracing::error!(peer = %to, length, "a message is longer than a peer takes");
            link.buffer.truncate(before);
            self.overrun.push(to);
            return;
        }
        if link.buffer.len() >= FRAME_BYTES {
            link.cut();
        }
        let waiting = link.waiting();
        if waiting >= WAITING_BYTES_MAX {
            tracing::warn!(peer = %to, waiting, "a peer does not take what is sent to it");
            self.overrun.push(to);
        } else if waiting >= CROWDED_BYTES
            && let Err(place) = self.crowded.binary_search(&to)
        {
            self.crowded.insert(place, to);
        }
    }

    /// Hands each peer's frames to its writer. Returns the peers whose connection is closed because
    /// something could not be sent on it; they are dialled anew.
    pub(crate) fn flush(&mut self) -> Vec<StorageId> {
        for link in self.links.values_mut() {
            link.cut();
        }
        let overrun = std::mem::take(&mut self.overrun);
        let mut closed = Vec::new();
        for peer in overrun {
            // Once each, and only the link that it happened on.
            if let Some(link) = self.links.remove(&peer).filter(|link| link.up) {
                self.metrics.connections_overrun.add(1);
                self.open(peer, link.address.clone());
                closed.push(peer);
            }
        }
        closed
    }
}

/// The task that dials one peer and writes what is queued for it.
struct Writer {
    peer: StorageId,
    address: String,
    to_write: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
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
                    events.send(Event::PeerUp(self.peer)).await;
                    self.write_frames(stream).await;
                    events.send(Event::PeerDown(self.peer)).await;
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
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
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
                    while fed.is_ok() && bytes < FRAME_BYTES
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
        events.send(Event::InboundEnded(peer)).await;
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
        let frame = match source.next().await {
            Some(Ok(frame)) => frame.freeze(),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                return refuse(peer, &error, metrics);
            }
            Some(Err(_)) | None => return,
        };
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let messages = match decode_frame(frame) {
            Ok(messages) => messages,
            Err(error) => return refuse(peer, &error, metrics),
        };
        // Given back when the messages are dealt with; closed it never is.
        let Ok(unread) = Arc::clone(&unread).acquire_many_owned(bytes).await else {
            return;
        };
        let from = peer;
        let frame = Event::Frame {
            from,
            messages,
            unread,
        };
        events.send(frame).await;
    }
}

fn refuse(peer: Office, error: &dyn std::error::Error, metrics: &Counters) {
    metrics.bad_frames.add(1);
    tracing::warn!(from = %peer.member, %error, "a frame was refused; its connection is closed");
}
