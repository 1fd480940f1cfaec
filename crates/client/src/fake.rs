//! A tiny HTTP server for tests: it plays a script, one answer a request, and keeps what it heard.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// Answers with status and body.
    Answer(u16, &'static str),
    /// Answers 200 with this body and no version in the head.
    Bare(&'static str),
    /// Reads the request and closes the connection.
    HangUp,
    /// Reads the request and never answers.
    Silence,
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Plays `script`, then repeats its last entry.
    pub(crate) async fn start(script: Vec<Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a loopback port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        let script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { address, heard }
    }

    /// An address where nobody listens.
    pub(crate) async fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a loopback port is free");
        listener.local_addr().expect("it is bound").to_string()
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard
            .lock()
            .expect("no test panics while it holds this")
            .clone()
    }

    /// The values of a header in all requests.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}: ");
        self.heard()
            .iter()
            .flat_map(|request| request.lines())
            .filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Vec<Play>>, log: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut socket).await {
        let play = {
            let mut log = log.lock().expect("no test panics while it holds this");
            log.push(request);
            script[(log.len() - 1).min(script.len() - 1)].clone()
        };
        match play {
            Play::Answer(status, body) => {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\netag: \"7\"\r\n\r\n{body}"
                );
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Play::Bare(body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n{body}");
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Play::HangUp => return,
            Play::Silence => std::future::pending::<()>().await,
        }
    }
}

async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut buffer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&buffer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap_or(0));
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut chunk = [0; 4096];
        match socket.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}
