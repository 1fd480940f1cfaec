//! Frames on a control connection after the greeting: kind, correlation number, body.
//! Knows nothing of who sends what.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::codec::LengthDelimitedCodec;

/// A whole snapshot of the map fits; more than this is refused by sender and receiver.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 20;
/// One write to the socket takes no more frames once it has this many bytes.
const WRITE_BYTES_MAX: usize = 256 << 10;
const PREFIX_BYTES: usize = 9;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Reply,
}

/// A frame.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) kind: Kind,
    pub(super) correlation: u64,
    pub(super) body: Bytes,
}

pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(FRAME_BYTES_MAX)
        .new_codec()
}

/// The bytes of a message, or nothing if it is too large to be sent.
pub(super) fn encode_body(message: &impl Serialize) -> Option<Bytes> {
    let body = rmp_serde::to_vec_named(message).ok()?;
    (body.len() + PREFIX_BYTES <= FRAME_BYTES_MAX).then(|| body.into())
}

pub(super) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    rmp_serde::from_slice(body).ok()
}

impl Envelope {
    /// Appends the frame with its length.
    pub(super) fn put(&self, into: &mut BytesMut) {
        let length = u32::try_from(PREFIX_BYTES + self.body.len()).expect("limited when encoded");
        into.put_u32(length);
        into.put_u8(match self.kind {
            Kind::Request => 0,
            Kind::Reply => 1,
        });
        into.put_u64(self.correlation);
        into.put_slice(&self.body);
    }

    /// Reads a frame without its length; nothing if it is malformed.
    pub(super) fn read(mut frame: BytesMut) -> Option<Self> {
        if frame.len() < PREFIX_BYTES {
            return None;
        }
        let kind = match frame.get_u8() {
            0 => Kind::Request,
            1 => Kind::Reply,
            _ => return None,
        };
        let correlation = frame.get_u64();
        Some(Self {
            kind,
            correlation,
            body: frame.freeze(),
        })
    }
}

/// Writes what is queued until the queue or the connection ends; one write a turn.
pub(super) async fn write_queue(
    mut socket: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Envelope>,
) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    while let Some(first) = queue.recv().await {
        first.put(&mut buffer);
        while buffer.len() < WRITE_BYTES_MAX
            && let Ok(next) = queue.try_recv()
        {
            next.put(&mut buffer);
        }
        socket.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
