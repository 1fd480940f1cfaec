//! A client of the plainest kind: one connection kept open, one request at a time, and nothing
//! repeated that might have been sent.

use std::mem::MaybeUninit;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    Answered {
        status: u16,
        body: String,
    },
    /// Nobody listens; certainly nothing was sent.
    NotSent,
    /// It may have been sent, and there is no answer.
    Failed(String),
}

/// A connection to one node, made when it is needed.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    pub async fn ask(&mut self, method: &str, target: &str, body: &str) -> Outcome {
        let kept = self.stream.take().filter(|stream| !is_closed(stream));
        let mut stream = match kept {
            Some(stream) => stream,
            None => match TcpStream::connect(self.address).await {
                Ok(stream) => stream,
                Err(_) => return Outcome::NotSent,
            },
        };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let answer = match exchange(&mut stream, &request).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::Failed(format!("{}: {error}", self.address)),
        };
        if !answer.closes {
            self.stream = Some(stream);
        }
        let PlainAnswer { status, body, .. } = answer;
        Outcome::Answered { status, body }
    }
}

/// Whether the other side has closed already, or sent what nobody asked for.
fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    match SockRef::from(stream).peek(&mut byte) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

struct PlainAnswer {
    status: u16,
    body: String,
    closes: bool,
}

async fn exchange(stream: &mut TcpStream, request: &str) -> std::io::Result<PlainAnswer> {
    stream.set_nodelay(true)?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = parse(&bytes) {
            return Ok(answer);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            let seen = String::from_utf8_lossy(&bytes);
            return Err(std::io::Error::other(format!("closed after {seen:?}")));
        }
    }
}

/// The answer, once all of it is there.
fn parse(bytes: &[u8]) -> Option<PlainAnswer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let length: usize = header("content-length")?.parse().ok()?;
    (body.len() == length).then(|| PlainAnswer {
        status,
        body: body.to_owned(),
        closes: header("connection") == Some("close"),
    })
}
