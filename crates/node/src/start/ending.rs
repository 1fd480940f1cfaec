//! What ends a node, and what its end is told as. Knows nothing of how it goes away.

use tablestore_store::DirectoryError;
use tokio::sync::oneshot;

/// Why a node did not start or ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct StartError(anyhow::Error);

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self(error.into())
    }
}

impl From<DirectoryError> for StartError {
    fn from(error: DirectoryError) -> Self {
        Self(error.into())
    }
}

impl From<anyhow::Error> for StartError {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

/// Why a node ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Asked,
    /// The cluster holds this start of it dead: only a new start may come back.
    Convicted,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asked => "it was told to stop",
            Self::Convicted => "the cluster holds this start dead",
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
