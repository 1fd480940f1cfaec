//! The least HTTP/1.1 that a loader needs: one request under way, answers with a length.
//!
//! Written by hand so that what is measured is the server: on few cores, whatever the client costs
//! is taken from it. The client of ours, which sets the table up, pools connections, repeats what
//! failed and asks other nodes, all of which would hide what one connection meets. Knows the paths
//! of a row and nothing else of the API.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rows::TABLE;

/// An answer larger than this is no answer to anything that is asked here.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// So much of a refusal is shown.
const REFUSAL_BYTES_MAX: usize = 300;

/// A kept connection to one node.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// Where an answer's parts lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HttpAnswer {
    status: u16,
    body_start: usize,
    end: usize,
}

impl HttpConnection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request: Vec::with_capacity(1024),
            answer: Vec::with_capacity(4096),
        })
    }

    pub(crate) async fn put(&mut self, key: &str, value: &str) -> Result<()> {
        put_request(&mut self.request, key, value);
        let answer = self.exchange().await?;
        self.expect_success(answer)
    }

    /// Reads strongly, which is the default.
    pub(crate) async fn get(&mut self, key: &str, value_bytes: usize) -> Result<()> {
        head(&mut self.request, "GET", &row_path(key), 0);
        let answer = self.exchange().await?;
        self.expect_success(answer)?;
        let row_bytes = answer.end - answer.body_start;
        ensure!(row_bytes > value_bytes, "the row has another value");
        Ok(())
    }

    async fn exchange(&mut self) -> Result<HttpAnswer> {
        self.answer.clear();
        self.stream.write_all(&self.request).await?;
        loop {
            ensure!(
                self.stream.read_buf(&mut self.answer).await? > 0,
                "the connection was closed before the answer was complete"
            );
            if let Some(answer) = parse(&self.answer)? {
                return Ok(answer);
            }
            ensure!(
                self.answer.len() < ANSWER_BYTES_MAX,
                "the answer is too large"
            );
        }
    }

    fn expect_success(&self, answer: HttpAnswer) -> Result<()> {
        if matches!(answer.status, 200 | 201 | 204) {
            return Ok(());
        }
        let body = &self.answer[answer.body_start..answer.end];
        let shown = String::from_utf8_lossy(&body[..body.len().min(REFUSAL_BYTES_MAX)]);
        bail!("HTTP status {}: {shown}", answer.status)
    }
}

fn row_path(key: &str) -> String {
    format!("/v1/tables/{TABLE}/rows/{key}")
}

/// A row whose one attribute is the value, which needs no escapes.
fn put_request(request: &mut Vec<u8>, key: &str, value: &str) {
    const BEFORE: &str = "{\"value\":\"";
    const AFTER: &str = "\"}";
    let length = BEFORE.len() + value.len() + AFTER.len();
    head(request, "PUT", &row_path(key), length);
    for part in [BEFORE, value, AFTER] {
        request.extend_from_slice(part.as_bytes());
    }
}

fn head(request: &mut Vec<u8>, method: &str, path: &str, length: usize) {
    request.clear();
    for part in [method, " ", path, " HTTP/1.1\r\nhost: tablestore\r\n"] {
        request.extend_from_slice(part.as_bytes());
    }
    if length > 0 {
        let lines = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        request.extend_from_slice(lines.as_bytes());
    }
    request.extend_from_slice(b"\r\n");
}

/// The answer, if all of it has arrived.
fn parse(bytes: &[u8]) -> Result<Option<HttpAnswer>> {
    let Some(head_bytes) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_bytes]).context("the head is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .context("the answer has no status line")?;
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':').context("a header line has no colon")?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().context("content-length")?);
        }
    }
    let length = match (length, status) {
        (Some(length), _) => length,
        (None, 204 | 304) => 0,
        (None, _) => bail!("the answer has no length"),
    };
    let body_start = head_bytes + 4;
    let end = body_start + length;
    let answer = HttpAnswer {
        status,
        body_start,
        end,
    };
    Ok((bytes.len() >= end).then_some(answer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn an_answer_is_complete_only_with_its_last_byte() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\netag: \"5\"\r\n\r\n{\"a\":1}";
        for cut in 0..text.len() {
            assert_eq!(parse(&text[..cut]).unwrap(), None, "{cut}");
        }
        let answer = parse(text).unwrap().unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(text[answer.body_start..answer.end], *b"{\"a\":1}");
    }

    #[test]
    fn an_answer_without_content_needs_no_length() {
        let answer = parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((answer.status, answer.body_start), (204, answer.end));
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_no_wait() {
        for text in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 2xx\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_request_bears_its_length() {
        let mut bytes = b"what was there".to_vec();
        put_request(&mut bytes, "k1", "abc");
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            "PUT /v1/tables/bench/rows/k1 HTTP/1.1\r\nhost: tablestore\r\n\
             content-type: application/json\r\ncontent-length: 15\r\n\r\n{\"value\":\"abc\"}"
        );
        head(&mut bytes, "GET", &row_path("k1"), 0);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "GET /v1/tables/bench/rows/k1 HTTP/1.1\r\nhost: tablestore\r\n\r\n"
        );
    }
}
