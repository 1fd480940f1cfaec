//! Bodies of requests that are compressed: decoded as they are read, so that the limits of a body
//! are those of what it says.
//!
//! Knows nothing of what is in them.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::write::GzDecoder;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderValue};

use super::problem::{Kind, Problem};

/// Encoded bytes that are decoded at a time: no more than a thousand times as many come of them.
const STEP_BYTES: usize = 1 << 10;
/// Decoded bytes that are enough for one frame.
const FRAME_BYTES: usize = 32 << 10;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    Gzip,
}

impl Encoding {
    /// What the headers say.
    ///
    /// # Errors
    /// If it is none of these.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Self::Identity);
        };
        let is = |word: &str| value.as_bytes().eq_ignore_ascii_case(word.as_bytes());
        if is("gzip") || is("x-gzip") {
            return Ok(Self::Gzip);
        }
        if is("identity") {
            return Ok(Self::Identity);
        }
        let detail = format!("bodies of the encoding {value:?} are not taken");
        let gzip = HeaderValue::from_static("gzip");
        Err(Problem::new(Kind::UnsupportedMediaType, detail)
            .about("Content-Encoding", "gzip or none")
            .header(header::ACCEPT_ENCODING, gzip))
    }

    pub(crate) fn decode<B>(self, body: B) -> Decoded<B> {
        match self {
            Self::Identity => Decoded::Plain(body),
            Self::Gzip => Decoded::Gzip(Box::new(Gunzip {
                body,
                input: Bytes::new(),
                decoder: Some(GzDecoder::new(Vec::new())),
                pause: false,
            })),
        }
    }
}

/// A body as it was before it was encoded.
#[derive(Debug)]
pub(crate) enum Decoded<B> {
    Plain(B),
    Gzip(Box<Gunzip<B>>),
}

/// What is being decoded.
#[derive(Debug)]
pub(crate) struct Gunzip<B> {
    body: B,
    /// Read and not decoded.
    input: Bytes,
    /// `None` when the end was reached.
    decoder: Option<GzDecoder<Vec<u8>>>,
    /// Others come first now: decoding is work, and the thread serves everybody.
    pause: bool,
}

impl<B> Body for Decoded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Plain(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Self::Gzip(gunzip) => gunzip.poll_data(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Gzip(gunzip) => gunzip.decoder.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Gzip(_) => SizeHint::default(),
        }
    }
}

impl<B> Gunzip<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if std::mem::take(&mut self.pause) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(decoder) = &mut self.decoder else {
            return Poll::Ready(None);
        };
        // Ends with the body, or with a full frame.
        loop {
            while !self.input.is_empty() && decoder.get_ref().len() < FRAME_BYTES {
                let step = self.input.split_to(self.input.len().min(STEP_BYTES));
                decoder.write_all(&step)?;
            }
            if decoder.get_ref().len() >= FRAME_BYTES {
                let data = std::mem::take(decoder.get_mut());
                self.pause = true;
                return Poll::Ready(Some(Ok(Frame::data(data.into()))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.input = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => break,
            }
        }
        let rest = self.decoder.take().map_or_else(
            || Ok(Vec::new()),
            |decoder| -> io::Result<Vec<u8>> { decoder.finish() },
        )?;
        Poll::Ready(Some(Ok(Frame::data(rest.into()))))
    }
}
