//! The first frame on every connection between nodes: who are you, of which cluster, what for.
//!
//! Usable on any runtime. Knows nothing of what follows on the connection, and reads not a byte
//! of it, so that a socket can be handed on.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tablestore_placement::{ClusterId, Incarnation, StorageId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The format of everything between nodes. Nodes whose formats differ by one work together, but
/// for those before [`WIRE_FORMAT_OLDEST`].
pub(super) const WIRE_FORMAT: u32 = 3;
/// The oldest format that this version works with: in format 1 answers and copies did not say to
/// what they belong; nodes of format 2 cannot read some kinds of decisions, and want more of
/// heartbeats than anybody looked at.
pub(super) const WIRE_FORMAT_OLDEST: u32 = 3;
/// An accepted connection on which nothing comes is probed after the first, again after each of the
/// second, and given up after so many.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// A greeting is small; anything longer is not ours.
const GREETING_BYTES_MAX: u32 = 16 << 10;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Raft, heartbeats, probes through others.
    Control,
    /// Replication; the socket is handed to the data thread.
    Data,
    /// Only to see who answers.
    Probe,
    /// To show a start before it is begun; nothing else is answered.
    Consult,
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The id of its data directory.
    pub storage: StorageId,
    /// This start.
    pub incarnation: Incarnation,
    /// The boot of the machine.
    pub boot: u64,
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub http_address: String,
    /// Where the other nodes reach it.
    pub peer_address: String,
}

/// The first frame of either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The wire format of the sender.
    pub format: u32,
    /// Its cluster, if it belongs to one.
    pub cluster: Option<ClusterId>,
    /// Who it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// What the connection is for.
    pub purpose: Purpose,
}

/// What travels as first frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Greeting {
    Hello(Hello),
    Refused {
        reason: String,
        cluster: Option<ClusterId>,
    },
}

/// Why a connection was not made. No state has changed anywhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GreetError {
    /// Nothing listens there (ECONNREFUSED), or TCP connected us to ourselves.
    #[error("connection refused")]
    Refused,
    /// The connection was closed before the greeting: as a dying process does.
    #[error("closed before the greeting")]
    Closed,
    /// No answer in time. Says nothing about the node.
    #[error("no answer in time")]
    TimedOut,
    /// Another failure of the network. Says nothing about the node.
    #[error("cannot connect")]
    Io(#[source] io::Error),
    /// The other side does not want us. Asking again does not help.
    #[error("refused by the other node: {reason}")]
    Rejected {
        /// What it says.
        reason: String,
        /// Its cluster.
        cluster: Option<ClusterId>,
    },
    /// We do not want the other side. Asking again does not help.
    #[error("{0}")]
    Unfit(Unfit),
    /// What came is not a greeting of ours.
    #[error("not a table store node: {0}")]
    Malformed(String),
}

/// Why two nodes do not talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// They belong to different clusters.
    OtherCluster {
        /// Ours.
        ours: ClusterId,
        /// Theirs.
        theirs: ClusterId,
    },
    /// Their wire formats are too far apart.
    Format {
        /// Theirs.
        theirs: u32,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster { ours, theirs } => {
                write!(
                    f,
                    "this node belongs to cluster {ours}, the other to cluster {theirs}"
                )
            }
            Self::Format { theirs } => write!(
                f,
                "this node speaks wire formats {WIRE_FORMAT_OLDEST} to {}, the other {theirs}; \
                 upgrade one version at a time",
                WIRE_FORMAT + 1
            ),
        }
    }
}

impl Hello {
    /// Whether a node with cluster `ours` talks to the sender of this.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, ours: Option<ClusterId>) -> Result<(), Unfit> {
        if self.format.abs_diff(WIRE_FORMAT) > 1 || self.format < WIRE_FORMAT_OLDEST {
            return Err(Unfit::Format {
                theirs: self.format,
            });
        }
        match (ours, self.cluster) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                Err(Unfit::OtherCluster { ours, theirs })
            }
            _ => Ok(()),
        }
    }
}

/// Connects, greets and returns the socket with the other side's hello, all within `limit`.
///
/// # Errors
/// See [`GreetError`].
pub(super) async fn dial(
    address: &str,
    hello: &Hello,
    limit: Duration,
) -> Result<(TcpStream, Hello), GreetError> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.map_err(from_io)?;
        stream.set_nodelay(true).map_err(from_io)?;
        write_frame(&mut stream, &Greeting::Hello(hello.clone())).await?;
        let answer = read_frame(&mut stream).await?;
        Ok((stream, answer))
    };
    let (stream, answer) = timeout(limit, exchange)
        .await
        .map_err(|_| GreetError::TimedOut)??;
    match answer {
        Greeting::Refused { reason, cluster } => Err(GreetError::Rejected { reason, cluster }),
        // TCP can connect a socket to itself when it picks the very port that it dials.
        Greeting::Hello(theirs) if theirs.identity.storage == hello.identity.storage => {
            Err(GreetError::Refused)
        }
        Greeting::Hello(theirs) => {
            theirs.check(hello.cluster).map_err(GreetError::Unfit)?;
            Ok((stream, theirs))
        }
    }
}

/// Reads the other side's hello from an accepted connection and answers it.
pub(super) async fn accept(
    stream: &mut TcpStream,
    ours: impl FnOnce(Purpose) -> Hello,
    limit: Duration,
) -> Result<Hello, GreetError> {
    let exchange = async {
        stream.set_nodelay(true).map_err(from_io)?;
        keep_alive(&*stream);
        let Greeting::Hello(theirs) = read_frame(stream).await? else {
            return Err(GreetError::Malformed("a refusal as first frame".to_owned()));
        };
        let hello = ours(theirs.purpose);
        let cluster = hello.cluster;
        match theirs.check(cluster) {
            Ok(()) => {
                write_frame(stream, &Greeting::Hello(hello)).await?;
                Ok(theirs)
            }
            Err(unfit) => {
                let reason = unfit.to_string();
                write_frame(stream, &Greeting::Refused { reason, cluster }).await?;
                Err(GreetError::Unfit(unfit))
            }
        }
    };
    timeout(limit, exchange)
        .await
        .map_err(|_| GreetError::TimedOut)?
}

/// Notices within about ten seconds when whoever dialled is gone without a word: this side may only
/// read, and would keep the connection for ever.
pub fn keep_alive(socket: &impl AsFd) {
    let probes = TcpKeepalive::new()
        .with_time(KEEP_ALIVE.0)
        .with_interval(KEEP_ALIVE.1)
        .with_retries(KEEP_ALIVE.2);
    if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&probes) {
        tracing::debug!(%error, "a connection is not watched");
    }
}

async fn write_frame(stream: &mut TcpStream, greeting: &Greeting) -> Result<(), GreetError> {
    let frame = encode_frame(greeting)?;
    stream.write_all(&frame).await.map_err(from_io)
}

/// The bytes of a greeting, with their number in front.
pub(super) fn encode_frame(greeting: &Greeting) -> Result<Vec<u8>, GreetError> {
    let mut frame = vec![0; 4];
    rmp_serde::encode::write_named(&mut frame, greeting).map_err(malformed)?;
    let length = u32::try_from(frame.len() - 4).expect("a greeting is small");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

async fn read_frame(stream: &mut TcpStream) -> Result<Greeting, GreetError> {
    let length = stream.read_u32().await.map_err(from_io)?;
    if length > GREETING_BYTES_MAX {
        return Err(GreetError::Malformed(format!(
            "a greeting of {length} bytes"
        )));
    }
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.map_err(from_io)?;
    rmp_serde::from_slice(&frame).map_err(malformed)
}

fn malformed(error: impl fmt::Display) -> GreetError {
    GreetError::Malformed(error.to_string())
}

fn from_io(error: io::Error) -> GreetError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => GreetError::Refused,
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => GreetError::Closed,
        _ => GreetError::Io(error),
    }
}
