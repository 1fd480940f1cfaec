//! Bodies: requests read with a limit of bytes and time, answers written from bytes.
//!
//! Knows nothing of what is in them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::memory::{Memory, SMALL_BYTES};
use super::problem::{Kind, Problem};

/// How much of a body that is too large is still read, so that a client that writes before it
/// reads gets the answer and not a reset connection.
const DRAIN_BYTES_MAX: usize = 32 << 20;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How large a body may be and how long it may take.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimit {
    /// In bytes.
    pub(crate) bytes_max: usize,
    /// For all of it.
    pub(crate) timeout: Duration,
    /// Where it is counted.
    pub(crate) memory: Arc<Memory>,
}

/// Reads a whole body. The usual one is a single frame and is not copied.
///
/// # Errors
/// `too_large` as soon as the limit is passed, `request_timeout`, `too_much_at_once`, or
/// `invalid_request` when the connection breaks or the encoding is another.
pub(crate) async fn read<B>(mut body: B, limit: BodyLimit) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    match tokio::time::timeout(limit.timeout, collect(&mut body, &limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Stopped::Over { got })) => {
            drain(&mut body, got, limit.timeout.min(DRAIN_TIMEOUT)).await;
            Err(Problem::too_large("body", limit.bytes_max, got, "bytes"))
        }
        Ok(Err(Stopped::Refused(problem))) => {
            drain(&mut body, 0, limit.timeout.min(DRAIN_TIMEOUT)).await;
            Err(problem)
        }
        Ok(Err(Stopped::Broken)) => Err(Problem::invalid(
            "body",
            "a whole body, encoded as Content-Encoding says",
            "another, or one that broke off",
        )),
        Err(_) => {
            let detail = format!("the body did not arrive within {:?}", limit.timeout);
            Err(Problem::new(Kind::RequestTimeout, detail))
        }
    }
}

/// Why a body was not read to its end.
enum Stopped {
    /// It is larger than allowed: this many bytes were announced or read.
    Over { got: usize },
    /// Too much is held already.
    Refused(Problem),
    /// The connection broke.
    Broken,
}

async fn collect<B>(body: &mut B, limit: &BodyLimit) -> Result<Bytes, Stopped>
where
    B: Body<Data = Bytes> + Unpin,
{
    let bytes_max = limit.bytes_max;
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > bytes_max {
        return Err(Stopped::Over { got: declared });
    }
    let first = next_data(body).await?.unwrap_or_default();
    if first.len() <= bytes_max && body.is_end_stream() {
        return Ok(first);
    }
    // What is announced and does not come is not held: the room grows with what has come.
    let mut room = first.len().max(declared.min(SMALL_BYTES));
    let mut share = limit.memory.take(0).map_err(Stopped::Refused)?;
    let mut whole = BytesMut::with_capacity(room);
    let mut next = Some(first);
    while let Some(data) = next {
        let got = whole.len() + data.len();
        if got > bytes_max {
            return Err(Stopped::Over { got });
        }
        if got > room {
            let most = if declared == 0 { bytes_max } else { declared };
            room = got.max(most.min(room * 2));
            whole.reserve(room - whole.len());
        }
        if room > SMALL_BYTES {
            let more = room.saturating_sub(share.bytes());
            share.grow(more).map_err(Stopped::Refused)?;
        }
        whole.extend_from_slice(&data);
        next = next_data(body).await?;
    }
    Ok(match share.bytes() {
        0 => whole.freeze(),
        _ => share.around(whole.freeze()),
    })
}

async fn next_data<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Option<Bytes>, Stopped> {
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(_)) => return Err(Stopped::Broken),
        }
    }
}

/// Reads the rest of a refused body and throws it away, within limits.
async fn drain<B: Body<Data = Bytes> + Unpin>(body: &mut B, expected: usize, time: Duration) {
    if expected > DRAIN_BYTES_MAX {
        return;
    }
    let until = Instant::now() + time;
    let mut left = DRAIN_BYTES_MAX;
    while let Ok(Ok(Some(data))) = tokio::time::timeout_at(until, next_data(body)).await {
        match left.checked_sub(data.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The body of an answer: bytes at hand, or a stream.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// All of it.
    Whole(Option<Bytes>),
    /// One frame after the other.
    Stream(axum::body::Body),
    /// The same; what is not taken yet is counted.
    Counted(axum::body::Body, Arc<Memory>),
}

impl ReplyBody {
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }

    /// The same, counted until it is taken.
    ///
    /// # Errors
    /// `too_much_at_once`
    pub(crate) fn counted(self, memory: &Arc<Memory>) -> Result<Self, Problem> {
        match self {
            Self::Whole(Some(bytes)) => Ok(Self::Whole(Some(memory.hold(bytes)?))),
            Self::Whole(None) | Self::Counted(..) => Ok(self),
            Self::Stream(body) => {
                let exact = body.size_hint().exact().unwrap_or(0);
                if exact > SMALL_BYTES as u64 {
                    // Refused now rather than broken off; its frames are counted as they go.
                    drop(memory.take(usize::try_from(exact).unwrap_or(usize::MAX))?);
                }
                Ok(Self::Counted(body, Arc::clone(memory)))
            }
        }
    }
}

impl From<Vec<u8>> for ReplyBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(body) => Pin::new(body).poll_frame(context),
            Self::Counted(body, memory) => {
                let Some(frame) = ready!(Pin::new(body).poll_frame(context)?) else {
                    return Poll::Ready(None);
                };
                Poll::Ready(Some(match frame.into_data() {
                    Ok(data) => match memory.hold(data) {
                        Ok(data) => Ok(Frame::data(data)),
                        Err(problem) => Err(axum::Error::new(std::io::Error::other(
                            problem.detail.clone(),
                        ))),
                    },
                    Err(other) => Ok(other),
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(body) | Self::Counted(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(body) | Self::Counted(body, _) => body.size_hint(),
        }
    }
}

/// A result that cannot fail, as hyper wants it.
pub(crate) type HttpResult = Result<hyper::Response<ReplyBody>, Infallible>;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A body of these frames; after them it ends, or says nothing more.
    struct Frames(VecDeque<&'static [u8]>, bool);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes))))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn memory() -> Arc<Memory> {
        Memory::new(4 * SMALL_BYTES, &crate::metrics::Metrics::new())
    }

    async fn read_frames(frames: &[&'static [u8]], bytes_max: usize) -> Result<Bytes, Problem> {
        let limit = BodyLimit {
            bytes_max,
            timeout: Duration::from_secs(30),
            memory: memory(),
        };
        read(Frames(frames.iter().copied().collect(), true), limit).await
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_beyond() {
        assert_eq!(read_frames(&[], 0).await, Ok(Bytes::new()));
        assert_eq!(
            read_frames(&[b"ab", b"c"], 3).await,
            Ok(Bytes::from_static(b"abc"))
        );
        let problem = read_frames(&[b"ab", b"cd"], 3).await.err();
        assert_eq!(
            problem.map(|p| (p.kind, p.field.clone())),
            Some((Kind::TooLarge, Some("body".into())))
        );
        let problem = read_frames(&[b"abcd"], 3).await.err();
        assert_eq!(problem.map(|p| p.kind), Some(Kind::TooLarge));
    }

    #[tokio::test]
    async fn large_bodies_have_one_limit_together() {
        static PIECE: [u8; 2 * SMALL_BYTES] = [0; 2 * SMALL_BYTES];
        let limit = BodyLimit {
            bytes_max: 100 * SMALL_BYTES,
            timeout: Duration::from_secs(30),
            memory: memory(),
        };
        let piece = &PIECE[..SMALL_BYTES];
        let read = |count| {
            let frames = std::iter::repeat_n(piece, count).collect();
            read(Frames(frames, true), limit.clone())
        };
        let first = read(3).await.expect("there is room");
        let problem = read(2).await.err();
        assert_eq!(problem.map(|p| p.kind), Some(Kind::TooMuchAtOnce));
        assert!(read(1).await.is_ok(), "a small one is read all the same");
        assert_eq!(first.len(), 3 * SMALL_BYTES);
        drop(first);
        assert!(read(2).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_given_up() {
        let limit = BodyLimit {
            bytes_max: 9,
            timeout: Duration::ZERO,
            memory: memory(),
        };
        let problem = read(Frames([&b"ab"[..]].into(), false), limit).await.err();
        assert_eq!(problem.map(|p| p.kind), Some(Kind::RequestTimeout));
    }

    #[tokio::test]
    async fn a_refused_body_that_does_not_end_is_answered_all_the_same() {
        let limit = BodyLimit {
            bytes_max: 3,
            timeout: Duration::ZERO,
            memory: memory(),
        };
        let problem = read(Frames([&b"abcd"[..]].into(), false), limit)
            .await
            .err();
        assert_eq!(problem.map(|p| p.kind), Some(Kind::TooLarge));
    }
}
