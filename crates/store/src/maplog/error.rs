//! Why a raft log cannot be opened. Knows nothing of how it is read.

use std::io;
use std::path::PathBuf;

/// Why the raft log could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogOpenError {
    /// The file system refused something; see the source. Correct it and start again.
    #[error("cannot use the raft log {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Someone else has the file open. Stop the other node.
    #[error("{} is in use", file.display())]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// A newer version wrote the file. Start that version.
    #[error("{} has format {found}, this version knows up to {supported}", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// Something that had been durable is damaged. The node must not go on with it: it may have
    /// promised a vote that it no longer knows. Give the node a new data directory.
    #[error("{} is damaged at byte {offset}: {what}; {REMEDY}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The file is gone although the directory had one: with it went what this node knew of the
    /// tables and which votes it gave. Give the node a new data directory.
    #[error("{} is missing, although this node has run before; {REMEDY}", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
}

/// What a person can do about a file of the control plane that is lost.
pub const REMEDY: &str = "restore the whole data directory as it was when the \
     node last ended, or start the node with an empty one and let it join";
