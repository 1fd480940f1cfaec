//! The least HTTP/1.1 that a writer needs: one connection, one request at a time, answers with a
//! length. Cheap, so that what is measured is the cluster and not the client.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer larger than this is no answer to anything the demo asks.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The partition of a row, as `table/partition` or the number alone.
const PARTITION: &str = "x-tablestore-partition";
/// The epoch under which it was served.
const EPOCH: &str = "x-tablestore-epoch";

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) partition: Option<u32>,
    pub(crate) epoch: Option<u64>,
    pub(crate) body: Vec<u8>,
    /// The server will close the connection.
    closes: bool,
}

/// A kept connection to one node.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    usable: bool,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(2048),
            usable: true,
        })
    }

    /// Whether another request can be sent: the last answer was read to its end.
    pub(crate) fn usable(&self) -> bool {
        self.usable
    }

    /// Sends a request and reads the answer. Dropped halfway, the connection is of no more use.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<RawAnswer> {
        self.usable = false;
        self.buffer.clear();
        self.stream.write_all(request).await?;
        loop {
            if let Some(answer) = parse(&self.buffer)? {
                self.usable = !answer.closes;
                return Ok(answer);
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(malformed("the answer is too large"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, request_id: Option<&str>, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: tablestore\r\n");
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
fn parse(bytes: &[u8]) -> io::Result<Option<RawAnswer>> {
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
    let mut answer = RawAnswer {
        status,
        ..RawAnswer::default()
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

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
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
}
