//! The socket of one connection as hyper sees it: what hyper refuses by itself, without a body,
//! goes out as a problem document, and a refusal is not lost to what the client is still sending.
//!
//! Knows nothing of requests: hyper alone reads them.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::problem::{Kind, PROBLEM_JSON, Problem};
use super::settings::TAKEN_BYTES_MIN;

/// How much is read and thrown away after the last answer: closing with unread bytes would reset
/// the connection, and the client would lose the answer.
const SCRAP_BYTES_MAX: usize = 4 << 20;
/// How long that may take.
const SCRAP_TIMEOUT: Duration = Duration::from_secs(1);
/// Above the length of any refusal of hyper's: a status line, three headers.
const REFUSAL_BYTES_MAX: usize = 160;

/// See the module.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    socket: S,
    /// What takes the place of hyper's refusal, and how much of it is written.
    refusal: Option<(Vec<u8>, usize)>,
    closing: Closing,
    /// For how long the client may not take what is written.
    timeout: Duration,
    /// Until when it must take more; `None` while nothing waits for it.
    waiting: Option<Pin<Box<Sleep>>>,
    /// What it has taken since that was set.
    taken: usize,
}

/// How far the end of a connection is.
#[derive(Debug)]
enum Closing {
    /// Not begun.
    No,
    /// Our side is closed; this much more is read from the client, until then.
    Reading(usize, Pin<Box<Sleep>>),
}

impl<S> Wire<S> {
    pub(crate) fn new(socket: S, timeout: Duration) -> Self {
        Self {
            socket,
            refusal: None,
            closing: Closing::No,
            timeout,
            waiting: None,
            taken: 0,
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// What became of a write, in time or not: a client that takes next to nothing is given up.
    fn in_time(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => {
                self.taken += count;
                if self.taken >= TAKEN_BYTES_MIN {
                    self.waiting = None;
                }
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => {
                if self.waiting.is_none() {
                    self.taken = 0;
                }
                let timeout = self.timeout;
                let waiting = self
                    .waiting
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(waiting.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn poll_refuse(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((document, written)) = &mut self.refusal else {
            return Poll::Ready(Ok(()));
        };
        while *written < document.len() {
            let socket = Pin::new(&mut self.socket);
            let count = ready!(socket.poll_write(context, &document[*written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match refusal(bytes) {
            None => {
                let written = Pin::new(&mut this.socket).poll_write(context, bytes);
                this.in_time(context, written)
            }
            // What is before it are the ends of answers.
            Some((start, _)) if start > 0 => {
                let written = Pin::new(&mut this.socket).poll_write(context, &bytes[..start]);
                this.in_time(context, written)
            }
            Some((_, problem)) => {
                this.refusal.get_or_insert_with(|| (as_answer(&problem), 0));
                let refused = this.poll_refuse(context).map_ok(|()| bytes.len());
                this.in_time(context, refused)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal has no body: it is the one slice, or the end of it.
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(context, only);
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All is written.
        self.waiting = None;
        Pin::new(&mut self.socket).poll_flush(context)
    }

    /// Closes our side. If the client has sent what nobody will read, that is read first, within
    /// limits.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Closing::No = this.closing {
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
            let until = Box::pin(tokio::time::sleep_until(Instant::now() + SCRAP_TIMEOUT));
            this.closing = Closing::Reading(SCRAP_BYTES_MAX, until);
        }
        let Closing::Reading(left, until) = &mut this.closing else {
            return Poll::Ready(Ok(()));
        };
        let mut scrap = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut this.socket).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) => {}
                // The client went away, which ends it as well.
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let nothing_unread = this.refusal.is_none() && *left == SCRAP_BYTES_MAX;
                    return match nothing_unread {
                        true => Poll::Ready(Ok(())),
                        false => until.as_mut().poll(context).map(Ok),
                    };
                }
            }
            let count = buffer.filled().len();
            *left = left.saturating_sub(count);
            if count == 0 || *left == 0 || until.is_elapsed() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Where the bytes end in a refusal of hyper's, and what is said instead. Hyper answers a head that
/// it cannot take with a status of three and no content; no answer of ours is like that.
fn refusal(bytes: &[u8]) -> Option<(usize, Problem)> {
    const START: &[u8] = b"HTTP/1.1 4";
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let from = bytes.len().saturating_sub(REFUSAL_BYTES_MAX);
    let last = bytes[from..]
        .windows(START.len())
        .rposition(|window| window == START)?;
    let start = from + last;
    let head = std::str::from_utf8(&bytes[start..]).ok()?;
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next()?.get("HTTP/1.1 ".len()..)?.get(..3)?;
    let empty = |line: &str| {
        line == "content-length: 0" || line == "connection: close" || line.starts_with("date: ")
    };
    if !lines.all(empty) {
        return None;
    }
    let problem = match status {
        "400" => Problem::new(Kind::InvalidRequest, "this is no request of HTTP/1.1")
            .about("head", "a request line and headers as RFC 9112 has them"),
        "414" => Problem::new(Kind::UriTooLong, "the path and the query are too long"),
        "431" => Problem::new(Kind::HeadTooLarge, "the head of the request is too large"),
        _ => return None,
    };
    Some((start, problem))
}

/// A problem as all bytes of the last answer on a connection.
pub(crate) fn as_answer(problem: &Problem) -> Vec<u8> {
    let body = problem.body();
    let status = problem.status();
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    );
    if let Some(seconds) = problem.kind.entry().retry_after {
        answer.push_str(&format!("retry-after: {seconds}\r\n"));
    }
    answer.push_str("connection: close\r\n\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(&body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_without_content_is_a_refusal_of_hypers() {
        let tail = "connection: close\r\ncontent-length: 0\r\n\
                    date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        let of = |text: String| {
            refusal(text.as_bytes()).map(|(start, problem)| (start, problem.status().as_u16()))
        };
        for (line, status) in [
            ("400 Bad Request", 400),
            ("414 URI Too Long", 414),
            ("431 Request Header Fields Too Large", 431),
        ] {
            assert_eq!(of(format!("HTTP/1.1 {line}\r\n{tail}")), Some((0, status)));
            let before = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            assert_eq!(
                of(format!("{before}HTTP/1.1 {line}\r\n{tail}")),
                Some((before.len(), status))
            );
        }
        for other in [
            format!("HTTP/1.1 404 Not Found\r\n{tail}"),
            format!("HTTP/1.1 200 OK\r\n{tail}"),
            format!("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n{tail}"),
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n".to_owned(),
            "{\"a\":\"HTTP/1.1 400\"}".to_owned(),
            String::new(),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }
}
