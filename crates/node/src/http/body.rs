//! Bodies: requests read with a limit of bytes and time, answers written from bytes.
//!
//! Knows nothing of what is in them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::problem::{Kind, Problem};

/// How much of a body that is too large is still read, so that a client that writes before it
/// reads gets the answer and not a reset connection.
const DRAIN_BYTES_MAX: usize = 32 << 20;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How large a body may be and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimit {
    /// In bytes.
    pub(crate) bytes_max: usize,
    /// For all of it.
    pub(crate) timeout: Duration,
}

/// Reads a whole body. The usual one is a single frame and is not copied.
///
/// # Errors
/// `too_large` as soon as the limit is passed, `request_timeout`, or `invalid_request` when the
/// connection breaks.
pub(crate) async fn read<B>(mut body: B, limit: BodyLimit) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    match tokio::time::timeout(limit.timeout, collect(&mut body, limit.bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Stopped::Over { got })) => {
            drain(&mut body, got, limit.timeout.min(DRAIN_TIMEOUT)).await;
            Err(Problem::too_large("body", limit.bytes_max, got, "bytes"))
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
    /// The connection broke.
    Broken,
}

async fn collect<B>(body: &mut B, bytes_max: usize) -> Result<Bytes, Stopped>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > bytes_max {
        return Err(Stopped::Over { got: declared });
    }
    let first = next_data(body).await?.unwrap_or_default();
    if first.len() <= bytes_max && body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(declared.max(first.len()));
    let mut next = Some(first);
    while let Some(data) = next {
        let got = whole.len() + data.len();
        if got > bytes_max {
            return Err(Stopped::Over { got });
        }
        whole.extend_from_slice(&data);
        next = next_data(body).await?;
    }
    Ok(whole.freeze())
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
}

impl ReplyBody {
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(body) => body.size_hint(),
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

    async fn read_frames(frames: &[&'static [u8]], bytes_max: usize) -> Result<Bytes, Problem> {
        let limit = BodyLimit {
            bytes_max,
            timeout: Duration::from_secs(30),
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
    async fn a_body_that_does_not_end_is_given_up() {
        let limit = BodyLimit {
            bytes_max: 9,
            timeout: Duration::ZERO,
        };
        let problem = read(Frames([&b"ab"[..]].into(), false), limit).await.err();
        assert_eq!(problem.map(|p| p.kind), Some(Kind::RequestTimeout));
    }

    #[tokio::test]
    async fn a_refused_body_that_does_not_end_is_answered_all_the_same() {
        let limit = BodyLimit {
            bytes_max: 3,
            timeout: Duration::ZERO,
        };
        let problem = read(Frames([&b"abcd"[..]].into(), false), limit)
            .await
            .err();
        assert_eq!(problem.map(|p| p.kind), Some(Kind::TooLarge));
    }
}
