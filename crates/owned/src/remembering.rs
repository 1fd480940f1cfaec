//! How far a partition has come and which requests it remembers, as its owner keeps it in memory
//! and finds it in the database. Knows nothing of what requests do.

use std::ops::Range;

use slatedb::Db;
use tablestore_replication::{Outcome, Remembered, RememberedTable, RequestId};
use tokio::time::Instant;

use crate::error::{OpenError, StorageError};
use crate::layout::{self, Head};
use crate::settings::OwnedSettings;

/// How many records of forgotten requests a group deletes beyond those that it adds.
const FORGOTTEN_MORE: u64 = 64;

/// The head of a partition and the requests that it remembers.
#[derive(Debug)]
pub(crate) struct Remembering {
    head: Head,
    table: RememberedTable,
    /// No record below this index is stored any more.
    stored_from: u64,
    /// The partition's time goes on from its head since then: by no more than really elapsed, so
    /// no wall clock makes it forget.
    opened: Instant,
    opened_ms: u64,
}

/// What was found in a database, with the time of its newest write by the database's clock.
pub(crate) struct Found {
    pub(crate) remembering: Remembering,
    pub(crate) stamp_ms: Option<i64>,
}

impl Remembering {
    /// Reads it all from the database.
    pub(crate) async fn load(db: &Db, settings: &OwnedSettings) -> Result<Found, OpenError> {
        let found = Box::pin(db.get_key_value(layout::HEAD_KEY)).await?;
        let (head, stamp_ms) = match found {
            Some(found) => {
                let head = Head::decode(&found.value).ok_or_else(|| damaged(&found.key))?;
                (head, Some(found.create_ts))
            }
            None => (Head::default(), None),
        };
        let mut table = RememberedTable::new(settings.remember_for, settings.remembered_min);
        let mut stored_from = None;
        let mut records = Box::pin(db.scan(layout::remembered_keys())).await?;
        // Ends with the records, which are deleted as requests are forgotten.
        while let Some(found) = records.next().await? {
            let remembered = layout::decode_remembered(&found.key, &found.value)
                .filter(|remembered| remembered.index <= head.index)
                .ok_or_else(|| damaged(&found.key))?;
            stored_from.get_or_insert(remembered.index);
            table.push(&remembered);
        }
        let remembering = Self {
            head,
            table,
            stored_from: stored_from.unwrap_or(head.index + 1),
            opened: Instant::now(),
            opened_ms: head.log_ms,
        };
        Ok(Found {
            remembering,
            stamp_ms,
        })
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    pub(crate) fn find(&self, request: RequestId) -> Option<Remembered> {
        self.table.find(request)
    }

    /// The index of the next write, which is thereby taken.
    pub(crate) fn next_index(&mut self) -> u64 {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.head.log_ms = self.opened_ms.saturating_add(elapsed);
        self.head.index += 1;
        self.head.index
    }

    /// Remembers what became of the write that took the last index.
    pub(crate) fn remember(
        &mut self,
        request: RequestId,
        digest: u64,
        outcome: Outcome,
    ) -> Remembered {
        let remembered = Remembered {
            request,
            digest,
            index: self.head.index,
            log_ms: self.head.log_ms,
            outcome,
        };
        self.table.push(&remembered);
        remembered
    }

    /// The indices of forgotten requests whose records are to be deleted now, with a group that
    /// adds so many.
    pub(crate) fn forgotten(&mut self, added: usize) -> Range<u64> {
        let from = self.stored_from;
        let oldest = self.table.oldest_index().unwrap_or(self.head.index + 1);
        let to = oldest.min(from + added as u64 + FORGOTTEN_MORE).max(from);
        self.stored_from = to;
        from..to
    }
}

fn damaged(key: &[u8]) -> OpenError {
    OpenError::Storage(StorageError::Damaged {
        what: format!("the record {key:02x?} cannot be read"),
    })
}
