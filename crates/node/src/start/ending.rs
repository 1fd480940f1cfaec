//! What ends a node, and what its end is told as. Knows nothing of how it goes away.

use std::io;
use std::net::SocketAddr;

use tablestore_consensus::{ConsensusError, ListenError};
use tablestore_store::DirectoryError;
use tokio::sync::oneshot;

use super::directory::OpenError;
use super::member::MemberError;
use crate::settings::SettingsError;

/// Why a node did not start or ended by itself. What it has acknowledged is kept in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is refused. Nothing was started. Change it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The directory cannot be used, or the start could not be begun in it. See the source.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The address for clients cannot be used. The directory is as it was. Free it, or give
    /// another.
    #[error("listen {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address for other nodes cannot be used. The directory is as it was. Free it, or give
    /// another.
    #[error("peer-listen {address}")]
    PeerListen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The listener for other nodes cannot be served. A start was begun, nobody knows of it. Start
    /// again.
    #[error(transparent)]
    Peers(#[from] ListenError),
    /// The system refused a thread, a signal or a socket. Nobody knows of this start. Start again
    /// when it has more of them.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The control plane does not start. Nobody knows of this start. See the source.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// The node did not become a member. See the source.
    #[error(transparent)]
    Member(MemberError),
    /// The control plane failed while the node ran. Others take its offices. Start it again.
    #[error("the control plane failed: {reason}")]
    Failed {
        /// What failed.
        reason: String,
    },
    /// It was removed from its cluster for good. Nothing was deleted; no start of this directory is
    /// taken any more.
    #[error(
        "this node was removed from its cluster for good. To let it be a member again start it \
         with an empty data directory and --join; else leave it off"
    )]
    Removed,
    /// The cluster holds this start dead, and the next one could not be begun. Start it again.
    #[error("cannot start anew")]
    Anew(#[source] io::Error),
    /// The node ended before it was ready, without an error. Start it again if it should run.
    #[error("the node ended: {0}")]
    Ended(End),
    /// The control thread panicked: a fault of ours. Others take its offices. Start it again.
    #[error("the control thread panicked")]
    Panicked,
}

impl From<MemberError> for StartError {
    fn from(error: MemberError) -> Self {
        match error.is_removed() {
            true => Self::Removed,
            false => Self::Member(error),
        }
    }
}

impl From<DirectoryError> for StartError {
    fn from(error: DirectoryError) -> Self {
        Self::Open(error.into())
    }
}

/// Why a node ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Asked,
    /// The cluster holds this start of it dead: only a new start may come back.
    Convicted,
    /// It was removed for good.
    Removed,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asked => "it was told to stop",
            Self::Convicted => "the cluster holds this start dead",
            Self::Removed => "it was removed from the cluster",
        })
    }
}

/// What tells a node to stop.
#[derive(Debug)]
pub(crate) enum Until {
    /// SIGTERM or SIGINT.
    Signal,
    /// The program around it.
    Told(oneshot::Receiver<()>),
}
