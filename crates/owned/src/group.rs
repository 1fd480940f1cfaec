//! A group of writes on their way into the database: each sees the effect of those before it, and
//! all become one batch. Knows nothing of when a group is made and what happens to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use slatedb::{Db, WriteBatch};
use tablestore_replication::Outcome;
use tablestore_store::mutation::{self, RowChange};

use crate::error::{Ended, StorageError, WriteError};
use crate::layout;
use crate::owned::{Write, Written};
use crate::remembering::Remembering;

/// Answers, in the order of the writes, to be given once the batch is durable.
pub(crate) struct Staged {
    pub(crate) answers: Vec<Result<Written, WriteError>>,
    /// Nothing if all were repetitions.
    pub(crate) batch: Option<WriteBatch>,
}

/// Carries out writes over the rows of the database, without writing to it. After a failure the
/// owner must end: what it remembers is ahead of the database.
pub(crate) async fn stage(
    db: &Db,
    remembering: &mut Remembering,
    writes: &[&Write],
) -> Result<Staged, Ended> {
    let mut rows: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
    let mut batch = WriteBatch::new();
    let mut added = 0;
    let mut answers = Vec::with_capacity(writes.len());
    for write in writes {
        if let Some(answer) = repeated(remembering, write) {
            answers.push(answer);
            continue;
        }
        let current = current(db, &rows, write).await?;
        let index = remembering.next_index();
        let (applied, change) =
            mutation::apply_to_row(index, &write.mutation, current.as_deref()).map_err(damaged)?;
        match change {
            RowChange::Keep => {}
            RowChange::Put(value) => drop(rows.insert(write.key.clone(), Some(value.into()))),
            RowChange::Delete => drop(rows.insert(write.key.clone(), None)),
        }
        let outcome = Outcome {
            code: applied.effect.number(),
            version: applied.version,
        };
        let remembered = remembering.remember(write.request, write.digest, outcome);
        let record = layout::encode_remembered(&remembered);
        batch.put(layout::remembered_key(index), record);
        added += 1;
        answers.push(Ok(Written {
            outcome,
            index,
            repeated: false,
        }));
    }
    if added == 0 {
        return Ok(Staged {
            answers,
            batch: None,
        });
    }
    for (key, value) in rows {
        match value {
            Some(value) => batch.put_bytes(key, value),
            None => batch.delete(key),
        }
    }
    // Even a write that changed nothing writes this, and so proves that nobody has taken over.
    batch.put(layout::HEAD_KEY, remembering.head().encode());
    for index in remembering.forgotten(added) {
        batch.delete(layout::remembered_key(index));
    }
    Ok(Staged {
        answers,
        batch: Some(batch),
    })
}

fn repeated(remembering: &Remembering, write: &Write) -> Option<Result<Written, WriteError>> {
    let known = remembering.find(write.request)?;
    if known.digest != write.digest {
        let request = write.request;
        return Some(Err(WriteError::OtherRequest { request }));
    }
    Some(Ok(Written {
        outcome: known.outcome,
        index: known.index,
        repeated: true,
    }))
}

/// The row as the writes before this one leave it; nothing also if it does not matter.
async fn current(
    db: &Db,
    rows: &BTreeMap<Bytes, Option<Bytes>>,
    write: &Write,
) -> Result<Option<Bytes>, Ended> {
    if !write.reads {
        return Ok(None);
    }
    if let Some(row) = rows.get(&write.key) {
        return Ok(row.clone());
    }
    Box::pin(db.get(&write.key)).await.map_err(Ended::of)
}

/// Mutations were checked when they came: what cannot be understood is in the database.
fn damaged(error: mutation::ApplyError) -> Ended {
    let what = std::error::Error::source(&error).map_or_else(String::new, |s| format!(": {s}"));
    Ended::Failed(StorageError::Damaged {
        what: format!("{error}{what}"),
    })
}
