//! What can go wrong with an owned partition, and what the caller should do about it. Knows
//! nothing of answers to clients.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slatedb::{CloseReason, ErrorKind, object_store};
use tablestore_replication::RequestId;
use tablestore_store::item::codec::CodecError;
use thiserror::Error;

use crate::probe::{BucketFault, Said};
use crate::settings::SettingsError;

/// The storage did not do what it was asked, or holds what it should not.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The directory cannot be used; nothing was changed.
    #[error(
        "cannot use {}, which must be a directory that is there, that this process may write, \
         and that all nodes share",
        path.display()
    )]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What was said.
        source: Arc<io::Error>,
    },
    /// The bucket cannot be used; nothing was changed, but that an object `probe-…` may be left.
    #[error("cannot use the bucket {place}: {fault}")]
    Bucket {
        /// Which one.
        place: String,
        /// What is wrong, and what helps.
        fault: BucketFault,
        /// What was said, if anything was.
        source: Option<Said>,
    },
    /// The storage did not answer in time; nothing was changed.
    #[error("the storage has not answered within {within:?}")]
    Silent {
        /// How long was waited.
        within: Duration,
    },
    /// The database failed. It must be opened again, from the map on.
    #[error("the database of the partition failed")]
    Database(#[source] Arc<slatedb::Error>),
    /// An object could not be read, written or deleted. Try again.
    #[error("the storage failed at an object")]
    Object(#[source] Arc<object_store::Error>),
    /// The storage is another cluster's; nothing was changed.
    #[error("the storage belongs to the cluster {found}, not to {own}")]
    OtherCluster {
        /// Whose it is.
        found: String,
        /// Who asked.
        own: String,
    },
    /// The storage has no mark of its cluster, though it was used before; nothing was changed.
    #[error(
        "the storage has no mark of a cluster, though it was used before: \
         the members do not share one storage"
    )]
    Unmarked,
    /// The storage is not the one in which the table is; nothing was changed.
    #[error(
        "the storage is another one than that of the table: \
         the members do not share one storage"
    )]
    OtherStorage,
    /// The database holds what this version does not understand.
    #[error("the database of the partition is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
}

/// Why an owner has ended; it does nothing any more.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Ended {
    /// Another one has opened the database. Ask the map who it is.
    #[error("another owner has taken over")]
    Fenced,
    /// It was closed.
    #[error("the partition was closed")]
    Closed,
    /// The storage failed for longer than it was tried again. Start again from the map.
    #[error("the storage failed")]
    Failed(#[from] StorageError),
}

/// Why a partition was not opened. Start again from the map.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings are not possible; nothing was changed.
    #[error("settings that are not possible")]
    Settings(#[from] SettingsError),
    /// The office was not confirmed; nothing was changed.
    #[error("the office was not confirmed")]
    NotConfirmed,
    /// There is no database, though there must be one; none was made. The storage is not the one
    /// that former owners had.
    #[error(
        "the storage has no database of this partition, though it was served before: \
         the members do not share one storage"
    )]
    Missing,
    /// Another one opened the database since its epoch was read; that one is not disturbed.
    #[error("another owner has opened the database meanwhile")]
    Fenced,
    /// The storage failed. The former owner may be fenced by then.
    #[error("the storage failed")]
    Storage(#[from] StorageError),
}

/// Why a write was not acknowledged.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The mutation is not one, or its key is not allowed. Nothing was changed; the caller is at
    /// fault.
    #[error("not a mutation")]
    Mutation(#[source] CodecError),
    /// The key is empty, too long, or not a row's. Nothing was changed; the caller is at fault.
    #[error("a row key that is not allowed")]
    Key,
    /// The id was used for something else. Nothing was changed; the caller is at fault.
    #[error("the request {request} was another one before")]
    OtherRequest {
        /// The id.
        request: RequestId,
    },
    /// Too many writes wait. Nothing was changed; try again.
    #[error("too many writes wait")]
    Busy,
    /// The owner had ended before the write was begun. Nothing was changed by this attempt.
    #[error("not applied, as the owner has ended")]
    NotApplied(#[source] Ended),
    /// The owner ended while the write was on its way: the next owner may find it or not. Repeat
    /// it there with the same id.
    #[error("whether it was applied is unknown, as the owner has ended")]
    OutcomeUnknown(#[source] Ended),
}

/// Why a read was not answered.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The key is not a row's; the caller is at fault.
    #[error("a row key that is not allowed")]
    Key,
    /// The office was not confirmed. Ask the map.
    #[error("the office was not confirmed")]
    NotConfirmed,
    /// The owner has ended.
    #[error("the owner has ended")]
    Ended(#[source] Ended),
}

impl Ended {
    pub(crate) fn of(error: slatedb::Error) -> Self {
        match error.kind() {
            ErrorKind::Closed(CloseReason::Fenced) => Self::Fenced,
            ErrorKind::Closed(CloseReason::Clean) => Self::Closed,
            _ => Self::Failed(StorageError::Database(Arc::new(error))),
        }
    }
}

impl From<slatedb::Error> for OpenError {
    fn from(error: slatedb::Error) -> Self {
        match Ended::of(error) {
            Ended::Fenced => Self::Fenced,
            Ended::Failed(error) => Self::Storage(error),
            Ended::Closed => Self::Storage(StorageError::Damaged {
                what: "it closed while it was opened".to_owned(),
            }),
        }
    }
}
