//! The least HTTP/1.1 that a writer needs: one connection, one request at a time, answers with a
//! length. Cheap, so that what is measured is the cluster and not the client.
//!
//! It repeats nothing, and knows nothing of what is asked.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer larger than this is no answer to anything that is asked here.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The partition of a row, as `table/partition` or the number alone.
const PARTITION: &str = "x-tablestore-partition";
/// The epoch under which it was served.
const EPOCH: &str = "x-tablestore-epoch";

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The partition that served it, if the server said so.
    pub partition: Option<u32>,
    /// The epoch under which it was served, if the server said so.
    pub epoch: Option<u64>,
    /// The body, without interpretation.
    pub body: Vec<u8>,
    /// The server will close the connection.
    pub(crate) closes: bool,
}

impl Answer {
    /// The body as text, for people to read.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered, in whatever way.
    Answered(Answer),
    /// There is no connection: certainly nothing was sent. Ask another node.
    NotSent(io::Error),
    /// It may have been sent, and there is no answer that can be read. Whoever repeats a write does
    /// so with its request id.
    Failed(io::Error),
}

/// A way to one node: a connection that is made when it is needed and kept as long as it lasts.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// The node at `host:port`. Nothing is sent yet.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            stream: None,
            buffer: Vec::with_capacity(2048),
        }
    }

    /// Closes the connection, if there is one. The next request has a new one.
    pub fn close(&mut self) {
        self.stream = None;
    }

    /// Sends the bytes of a [`request`] and reads the answer. Dropped halfway, it has failed, and
    /// the next request has a connection of its own.
    pub async fn ask(&mut self, request: &[u8]) -> Outcome {
        let kept = self.stream.take().filter(|stream| !is_closed(stream));
        let mut stream = match kept {
            Some(stream) => stream,
            None => match open(&self.address).await {
                Ok(stream) => stream,
                Err(error) => return Outcome::NotSent(error),
            },
        };
        match exchange(&mut stream, &mut self.buffer, request).await {
            Ok(answer) => {
                if !answer.closes {
                    self.stream = Some(stream);
                }
                Outcome::Answered(answer)
            }
            Err(error) => Outcome::Failed(error),
        }
    }
}

async fn open(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the other side has closed already, or sent what nobody asked for.
fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    match SockRef::from(stream).peek(&mut byte) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

async fn exchange(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    request: &[u8],
) -> io::Result<Answer> {
    buffer.clear();
    stream.write_all(request).await?;
    loop {
        if let Some(answer) = parse(buffer)? {
            return Ok(answer);
        }
        if buffer.len() > ANSWER_BYTES_MAX {
            return Err(malformed("the answer is too large"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The bytes of a request. `target` is a path with its query, both encoded; a body is JSON.
#[must_use]
pub fn request(method: &str, target: &str, request_id: Option<&str>, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: tablestore\r\n");
    if let Some(id) = request_id {
        text.push_str(&format!("idempotency-key: {id}\r\n"));
    }
    if !body.is_empty() {
        let length = body.len();
        text.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {length}\r\n"
        ));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// The answer, if all of it has arrived.
fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed("the head is no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| malformed("no status line"))?;
    let mut answer = Answer {
        status,
        ..Answer::default()
    };
    let mut length = None;
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| malformed("no header line"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<usize>().ok(),
            "connection" => answer.closes = value.eq_ignore_ascii_case("close"),
            "transfer-encoding" => return Err(malformed("the answer has no length")),
            EPOCH => answer.epoch = value.parse().ok(),
            PARTITION => {
                answer.partition = value.rsplit('/').next().and_then(|n| n.parse().ok());
            }
            _ => {}
        }
    }
    let length = match (length, status) {
        (Some(length), _) => length,
        (None, 204 | 304) => 0,
        (None, _) => return Err(malformed("the answer has no length")),
    };
    let body = &bytes[end + 4..];
    if body.len() < length {
        return Ok(None);
    }
    answer.body = body[..length].to_vec();
    Ok(Some(answer))
}

/// One segment of a path: everything but unreserved characters and `:` is encoded.
pub(crate) fn encode_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_complete_only_with_its_last_byte() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Tablestore-Partition: 3/17\r\n\
                     x-tablestore-epoch: 9\r\n\r\n{\"a\":1}";
        for cut in 0..text.len() {
            assert_eq!(parse(&text[..cut]).unwrap(), None, "{cut}");
        }
        let answer = parse(text).unwrap().unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!((answer.partition, answer.epoch), (Some(17), Some(9)));
        assert_eq!(answer.body, b"{\"a\":1}");
        assert!(!answer.closes);
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_no_wait() {
        for text in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 2xx\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        let closing = "HTTP/1.1 503 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert!(parse(closing.as_bytes()).unwrap().unwrap().closes);
        assert!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn a_request_has_its_length_and_id() {
        let bytes = request("PUT", "/v1/x", Some("id-1"), "{}");
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "PUT /v1/x HTTP/1.1\r\nhost: tablestore\r\nidempotency-key: id-1\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
    #[tokio::test]
    async fn nothing_is_sent_on_a_connection_that_the_other_side_has_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                assert!(socket.read(&mut request).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                socket.write_all(answer).await.unwrap();
            }
        });
        let mut connection = Connection::new(address);
        let bytes = request("GET", "/", None, "");
        assert!(matches!(connection.ask(&bytes).await, Outcome::Answered(_)));
        // The first socket is dropped when the server waits for the second.
        while !connection.stream.as_ref().is_some_and(is_closed) {
            tokio::task::yield_now().await;
        }
        assert!(matches!(connection.ask(&bytes).await, Outcome::Answered(_)));
        served.await.unwrap();
        // Nobody listens any more.
        connection.close();
        assert!(matches!(connection.ask(&bytes).await, Outcome::NotSent(_)));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_the_request_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 512]).await;
        });
        let mut connection = Connection::new(address);
        let bytes = request("GET", "/", None, "");
        assert!(matches!(connection.ask(&bytes).await, Outcome::Failed(_)));
    }
}
