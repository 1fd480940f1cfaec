//! Data connections to and from the other nodes.
//!
//! Each node dials every other and speaks on the connection that it dialled; what it hears comes
//! on those dialled by the others. Within a turn all messages for one peer go into one frame and
//! one write. Knows nothing of what the messages mean.

use std::collections::HashMap;
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tablestore_placement::{ClusterMap, Office, StorageId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::event::{Event, EventSender};
use super::sessions::Sessions;
use crate::control::{Dialler, Purpose};
use crate::wire::{DataMessage, encode_message};

/// A frame holds one turn; this bounds what a peer may make us allocate.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Frames that may wait for a slow peer before they are dropped (replication resends).
const FRAMES_WAITING_MAX: usize = 256;
/// Pause between attempts to dial a peer.
const DIAL_AGAIN_AFTER: Duration = Duration::from_millis(50);

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
    to_writer: mpsc::Sender<Bytes>,
    up: bool,
    task: JoinHandle<()>,
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
    dialler: Dialler,
    events: EventSender,
}

impl Links {
    pub(crate) fn new(me: StorageId, dialler: Dialler, events: EventSender) -> Self {
        Self {
            me,
            links: HashMap::new(),
            sessions: Sessions::default(),
            dialler,
            events,
        }
    }

    /// Opens links to new members and drops those of members that left.
    pub(crate) fn follow(&mut self, map: &ClusterMap) {
        let me = self.me;
        self.links.retain(|storage, link| {
            map.members
                .get(storage)
                .is_some_and(|member| member.peer_address == link.address)
        });
        for (storage, member) in &map.members {
            if *storage == me || self.links.contains_key(storage) || !member.is_live() {
                continue;
            }
            let (to_writer, to_write) = mpsc::channel(FRAMES_WAITING_MAX);
            let task = tokio::spawn(keep_dialled(
                *storage,
                member.peer_address.clone(),
                self.dialler.clone(),
                to_write,
                self.events.clone(),
            ));
            let link = Link {
                address: member.peer_address.clone(),
                buffer: BytesMut::new(),
                to_writer,
                up: false,
                task,
            };
            self.links.insert(*storage, link);
        }
    }

    /// Notes whether the connection stands.
    pub(crate) fn set_up(&mut self, peer: StorageId, up: bool) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.up = up;
        }
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

    /// Adds a message to the peer's frame of this turn. Best effort: dropped without a link.
    pub(crate) fn tell(&mut self, to: StorageId, message: &DataMessage) {
        if let Some(link) = self.links.get_mut(&to)
            && link.up
        {
            encode_message(message, &mut link.buffer);
        }
    }

    /// Sends each peer its frame.
    pub(crate) fn flush(&mut self) {
        for link in self.links.values_mut() {
            if !link.buffer.is_empty() {
                let frame = link.buffer.split().freeze();
                // A full queue is a peer slower than us: replication resends by its own timers.
                let _ = link.to_writer.try_send(frame);
            }
        }
    }
}

/// Dials again and again until the link is dropped, and writes what is queued.
async fn keep_dialled(
    peer: StorageId,
    address: String,
    dialler: Dialler,
    mut to_write: mpsc::Receiver<Bytes>,
    events: EventSender,
) {
    loop {
        match dialler.dial(&address, Purpose::Data).await {
            Ok((stream, hello)) if hello.identity.storage == peer => {
                while to_write.try_recv().is_ok() {}
                events.send(Event::PeerUp(peer)).await;
                write_frames(stream, &mut to_write).await;
                events.send(Event::PeerDown(peer)).await;
            }
            Ok(_) | Err(_) => {}
        }
        if to_write.is_closed() {
            return;
        }
        tokio::time::sleep(DIAL_AGAIN_AFTER).await;
    }
}

/// Writes until the connection breaks or the link is dropped.
async fn write_frames(stream: tokio::net::TcpStream, to_write: &mut mpsc::Receiver<Bytes>) {
    let (mut reading, writing) = stream.into_split();
    let mut sink = FramedWrite::new(writing, frames());
    let mut byte = [0_u8; 1];
    loop {
        tokio::select! {
            // The peer says nothing here: any end of reading is the end of the connection.
            _ = tokio::io::AsyncReadExt::read(&mut reading, &mut byte) => return,
            frame = to_write.recv() => {
                let Some(frame) = frame else { return };
                if sink.feed(frame).await.is_err() {
                    return;
                }
                while let Ok(frame) = to_write.try_recv() {
                    if sink.feed(frame).await.is_err() {
                        return;
                    }
                }
                if SinkExt::<Bytes>::flush(&mut sink).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads the frames of a peer that dialled us, until the connection ends.
pub(crate) fn read_frames(peer: Office, socket: TcpStream, events: EventSender) {
    tokio::spawn(async move {
        let stream = match tokio::net::TcpStream::from_std(socket) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a peer's connection could not be taken over");
                events.send(Event::InboundEnded(peer)).await;
                return;
            }
        };
        let mut source = FramedRead::with_capacity(stream, frames(), 64 << 10);
        while let Some(Ok(frame)) = source.next().await {
            events
                .send(Event::Frame {
                    from: peer,
                    frame: frame.freeze(),
                })
                .await;
        }
        events.send(Event::InboundEnded(peer)).await;
    });
}
