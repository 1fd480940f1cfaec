//! An owned partition, as whoever serves requests sees it. Knows nothing of how writes become
//! durable.

use std::fmt;
use std::future::Future;
use std::ops::Bound;

use bytes::Bytes;
use slatedb::config::{DurabilityLevel, ReadOptions, ScanOptions};
use slatedb::{Db, IterationOrder};
use tablestore_replication::{Outcome, RequestId};
use tablestore_store::engine::{Page, ROW_KEY_FIRST_BYTE, Scan};
use tablestore_store::mutation::{Mutation, reads_row};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Ended, ReadError, WriteError};
use crate::layout;
use crate::writer::Command;

/// One change of one row.
#[derive(Clone, Debug)]
pub struct Write {
    pub(crate) request: RequestId,
    pub(crate) digest: u64,
    pub(crate) key: Bytes,
    pub(crate) mutation: Bytes,
    /// Whether its answer depends on the row as it is.
    pub(crate) reads: bool,
}

impl Write {
    /// An encoded [`Mutation`] under an id of its row, with a digest of the body: the same id is
    /// carried out once.
    ///
    /// # Errors
    /// If the bytes are no mutation of a row.
    pub fn new(request: RequestId, digest: u64, mutation: Bytes) -> Result<Self, WriteError> {
        let decoded = Mutation::decode(&mutation).map_err(WriteError::Mutation)?;
        let key = Bytes::copy_from_slice(decoded.key());
        if !layout::is_row_key(&key) {
            return Err(WriteError::Key);
        }
        Ok(Self {
            request,
            digest,
            key,
            reads: reads_row(&mutation).map_err(WriteError::Mutation)?,
            mutation,
        })
    }
}

/// What became of a write that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The number of its [`Effect`](tablestore_store::Effect), and the row's version after it.
    pub outcome: Outcome,
    /// The index of the write that did it.
    pub index: u64,
    /// Whether it had been done before, under the same id.
    pub repeated: bool,
}

/// A partition that this process has open. When it is dropped what was begun is finished, and the
/// database is closed.
pub struct Owned {
    pub(crate) db: Db,
    pub(crate) writer_epoch: u64,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) ended: watch::Receiver<Option<Ended>>,
}

impl Owned {
    /// The epoch under which the storage knows this owner; not the map's.
    #[must_use]
    pub fn writer_epoch(&self) -> u64 {
        self.writer_epoch
    }

    /// Carries out a write and answers once it is durable.
    ///
    /// # Errors
    /// If it was refused, or what became of it is not known.
    pub async fn write(&self, write: Write) -> Result<Written, WriteError> {
        self.begin_write(write)?.done().await
    }

    /// Puts a write behind those that were begun before, without waiting: writes take effect in
    /// the order in which this is called.
    ///
    /// # Errors
    /// If it was refused: then nothing was begun.
    pub fn begin_write(&self, write: Write) -> Result<Begun, WriteError> {
        let (answer, answered) = oneshot::channel();
        let ended = self.ended.clone();
        match self.commands.try_send(Command::Write(write, answer)) {
            Ok(()) => Ok(Begun { answered, ended }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(WriteError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(WriteError::NotApplied(why_ended(&ended)))
            }
        }
    }

    /// A row as it is durably stored, at some time at or after `confirm` was called; that must ask
    /// anew, of the map or by [`confirm_by_storage`](Self::confirm_by_storage), whether the office
    /// still stands.
    ///
    /// # Errors
    /// If it does not stand, the owner has ended or the storage fails.
    pub async fn get<F>(
        &self,
        key: &[u8],
        confirm: impl FnOnce() -> F,
    ) -> Result<Option<Bytes>, ReadError>
    where
        F: Future<Output = bool>,
    {
        if !confirm().await {
            return Err(ReadError::NotConfirmed);
        }
        self.get_eventual(key).await
    }

    /// A row as it was durably stored at some time: this owner may be a former one.
    ///
    /// # Errors
    /// If the owner has ended or the storage fails.
    pub async fn get_eventual(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        if !layout::is_row_key(key) {
            return Err(ReadError::Key);
        }
        let options = ReadOptions {
            durability_filter: DurabilityLevel::Remote,
            ..ReadOptions::default()
        };
        let found = Box::pin(self.db.get_with_options(key, &options)).await;
        found.map_err(|error| ReadError::Ended(Ended::of(error)))
    }

    /// A page of rows, as [`get`](Self::get); all of one moment.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn scan<F>(&self, scan: &Scan, confirm: impl FnOnce() -> F) -> Result<Page, ReadError>
    where
        F: Future<Output = bool>,
    {
        if !confirm().await {
            return Err(ReadError::NotConfirmed);
        }
        self.scan_eventual(scan).await
    }

    /// A page of rows, as [`get_eventual`](Self::get_eventual); all of one moment.
    ///
    /// # Errors
    /// As [`get_eventual`](Self::get_eventual).
    pub async fn scan_eventual(&self, scan: &Scan) -> Result<Page, ReadError> {
        let rows = rows_only(scan);
        if rows.is_empty() {
            return Ok(Page::default());
        }
        let page = Box::pin(self.page(&rows)).await;
        page.map_err(|error| ReadError::Ended(Ended::of(error)))
    }

    async fn page(&self, scan: &Scan) -> Result<Page, slatedb::Error> {
        let options = ScanOptions {
            durability_filter: DurabilityLevel::Remote,
            cache_blocks: true,
            order: if scan.reverse {
                IterationOrder::Descending
            } else {
                IterationOrder::Ascending
            },
            ..ScanOptions::default()
        };
        let range = (scan.from.clone(), scan.to.clone());
        let mut found = self.db.scan_with_options(range, &options).await?;
        let mut page = Page::default();
        let mut bytes = 0;
        while let Some(row) = found.next().await? {
            let full = bytes >= scan.bytes_max && !page.rows.is_empty();
            if page.rows.len() >= scan.limit || full {
                page.more = true;
                break;
            }
            bytes += row.key.len() + row.value.len();
            page.rows.push((row.key, row.value));
        }
        Ok(page)
    }

    /// Asks the storage whether this owner is still the last one that opened the database, from
    /// now on: for confirming reads where no map can be asked.
    pub async fn confirm_by_storage(&self) -> bool {
        Box::pin(self.db.refresh_manifest()).await.is_ok()
    }

    /// Waits until the owner has ended, by whatever cause; does not keep it from ending.
    pub fn ended(&self) -> impl Future<Output = Ended> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(ended) => ended.clone().unwrap_or(Ended::Closed),
                Err(_) => Ended::Closed,
            }
        }
    }

    /// Finishes the writes that were taken, refuses all others and closes the database.
    pub async fn close(&self) {
        // If it cannot be told any more it has ended already.
        let _ = self.commands.send(Command::Close).await;
        let mut ended = self.ended.clone();
        // Until the writer is gone, with the database behind it.
        while ended.changed().await.is_ok() {}
    }
}

/// A write that was begun. It takes effect whether or not anybody waits for it.
#[derive(Debug)]
pub struct Begun {
    answered: oneshot::Receiver<Result<Written, WriteError>>,
    ended: watch::Receiver<Option<Ended>>,
}

impl Begun {
    /// Waits until it is durable.
    ///
    /// # Errors
    /// If it was refused, or what became of it is not known.
    pub async fn done(self) -> Result<Written, WriteError> {
        match self.answered.await {
            Ok(answer) => answer,
            Err(_) => Err(WriteError::OutcomeUnknown(why_ended(&self.ended))),
        }
    }
}

fn why_ended(ended: &watch::Receiver<Option<Ended>>) -> Ended {
    ended.borrow().clone().unwrap_or(Ended::Closed)
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned")
            .field("writer_epoch", &self.writer_epoch)
            .field("ended", &*self.ended.borrow())
            .finish_non_exhaustive()
    }
}

/// The same scan, without the records that are not rows.
fn rows_only(scan: &Scan) -> Scan {
    const FIRST: &[u8] = &[ROW_KEY_FIRST_BYTE];
    let below = |from: &Bytes| from.as_ref() < FIRST;
    let mut rows = scan.clone();
    rows.from = match &scan.from {
        Bound::Included(from) | Bound::Excluded(from) if !below(from) => scan.from.clone(),
        _ => Bound::Included(Bytes::from_static(FIRST)),
    };
    rows
}
