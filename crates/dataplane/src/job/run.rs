//! Running a job, the same way on a thread and at a virtual time.

use std::path::PathBuf;

use tablestore_placement::{Epoch, PartitionId};
use tablestore_replication::{Entry, SnapshotMeta};
use tablestore_store::engine::{EngineError, Replacement, checksum_of};
use tablestore_store::journal::ReadError;
use tablestore_store::{Engine, JournalReader};

use super::{Done, Host, Installed, Job, Outcome, Work};
use crate::active;
use crate::apply::{Pieces, decode_remembered};
use crate::copies::store;
use crate::strays::apply_tail;

impl Job {
    /// Does it. Blocks for as long as the disk takes.
    pub fn run<E: Engine>(self, host: &Host<'_, E>) -> Done {
        let lane = self.lane();
        let outcome = match self.0 {
            Work::ReadLog {
                partition,
                life,
                from,
                to,
                bytes_max,
            } => Outcome::LogRead {
                partition,
                life,
                from,
                entries: read_log(host.journal, partition, from, to, bytes_max),
            },
            Work::Scan {
                ticket,
                partition,
                epoch,
                scan,
            } => Outcome::Scanned {
                ticket,
                partition,
                epoch,
                page: host.engine.scan(partition.to_u64(), &scan),
            },
            Work::Checksum {
                partition,
                id,
                index,
                snapshot,
            } => Outcome::Summed {
                partition,
                id,
                index,
                sums: checksum_of(snapshot.as_ref()),
            },
            other => run_housekeeping(other, host),
        };
        Done { lane, outcome }
    }
}

fn run_housekeeping<E: Engine>(work: Work, host: &Host<'_, E>) -> Outcome {
    match work {
        Work::Open { partition } => Outcome::Opened {
            partition,
            opened: host.engine.open_partition(partition.to_u64()),
        },
        Work::OpenActive {
            partition,
            is_empty,
        } => Outcome::ActiveOpened {
            partition,
            opened: active::open(host.engine, host.journal, partition, is_empty).map(Box::new),
        },
        Work::Flush { partition } => Outcome::Flushed {
            partition,
            flushed: flush(host.engine, partition.to_u64()),
        },
        Work::Discard { partition } => {
            discard(host, partition);
            Outcome::Discarded { partition }
        }
        Work::PutAside {
            partition,
            is_stopped,
        } => Outcome::PutAside {
            partition,
            place: put_aside(host, partition, is_stopped),
        },
        Work::Clear {
            partition,
            adopted,
            put_aside,
        } => Outcome::Cleared {
            partition,
            adopted,
            cleared: clear(host, partition, put_aside),
        },
        Work::Note { partition, why } => {
            if let Err(error) = host.notes.keep(partition.to_u64(), &why) {
                tracing::error!(%partition, %error, "a restart will not know of the stop");
            }
            Outcome::Noted
        }
        Work::CopyPage { copy, mut source } => {
            let page = source.page();
            Outcome::CopyRead { copy, source, page }
        }
        Work::StoreCopy {
            copy,
            replacement,
            pairs,
        } => Outcome::CopyStored {
            copy,
            stored: store(host.engine, copy.partition, replacement, &pairs),
        },
        Work::FinishCopy {
            partition,
            life,
            replacement,
            meta,
        } => Outcome::CopyFinished {
            partition,
            life,
            installed: finish(replacement, host.engine, partition, meta),
        },
        Work::ReadLog { .. } | Work::Scan { .. } | Work::Checksum { .. } => {
            unreachable!("done by the caller")
        }
    }
}

/// Entries of a log; none if they cannot be read now: the replica asks again.
///
/// # Errors
/// What is damaged. No later reading is any better.
fn read_log(
    journal: &JournalReader,
    partition: PartitionId,
    from: u64,
    to: u64,
    bytes_max: usize,
) -> Result<Vec<Entry>, String> {
    let read = match journal.read(partition.to_u64(), from, to, bytes_max) {
        Ok(read) => read,
        Err(error @ ReadError::Corrupt { .. }) => return Err(error.to_string()),
        Err(error) => {
            tracing::warn!(%partition, from, %error, "the journal could not be read");
            return Ok(Vec::new());
        }
    };
    let entry = |one: tablestore_store::journal::ReadEntry| Entry {
        epoch: Epoch(one.epoch),
        index: one.index,
        data: one.data,
    };
    Ok(read.into_iter().map(entry).collect())
}

fn flush<E: Engine>(engine: &E, partition: u64) -> Result<(), EngineError> {
    engine.flush(partition)?;
    while engine.maintain(partition)? {}
    Ok(())
}

fn discard<E: Engine>(host: &Host<'_, E>, partition: PartitionId) {
    if let Err(error) = host.notes.clear(partition.to_u64()) {
        tracing::warn!(%partition, %error, "a note of a stopped replica remains");
    }
    if let Err(error) = host.engine.drop_partition(partition.to_u64()) {
        tracing::warn!(%partition, %error, "files of a dropped partition remain");
    }
}

fn put_aside<E: Engine>(
    host: &Host<'_, E>,
    partition: PartitionId,
    is_stopped: bool,
) -> Option<Option<PathBuf>> {
    if !is_stopped && let Err(error) = apply_tail(host.engine, host.journal, partition) {
        tracing::warn!(%partition, %error, "the end of a log is not among the rows");
    }
    let number = partition.to_u64();
    let flushed = match is_stopped {
        true => Ok(0),
        false => host
            .engine
            .seal(number, &[])
            .and_then(|()| host.engine.flush(number)),
    };
    let put = flushed.and_then(|_| host.engine.put_aside(number));
    let place = put.inspect_err(|error| {
        tracing::error!(%partition, %error, "an unknown partition was not put aside");
    });
    place.ok()
}

fn clear<E: Engine>(
    host: &Host<'_, E>,
    partition: PartitionId,
    put_aside: bool,
) -> Result<(), EngineError> {
    let number = partition.to_u64();
    match put_aside {
        true => host.engine.put_aside(number).map(|_| ())?,
        false => host.engine.drop_partition(number)?,
    }
    if let Err(error) = host.notes.clear(number) {
        tracing::error!(%partition, %error, "the next start will stop the replica again");
    }
    Ok(())
}

/// Switches a copy in and reads back what it remembers.
fn finish<E: Engine>(
    replacement: Box<dyn Replacement>,
    engine: &E,
    partition: PartitionId,
    meta: SnapshotMeta,
) -> Result<Installed, String> {
    let records = replacement
        .finish(meta.index)
        .and_then(|()| engine.side_records(partition.to_u64()))
        .map_err(|error| error.to_string())?;
    let remembered = decode_remembered(&records, meta.index);
    Ok(Installed {
        remembered: remembered.map_err(|error| error.to_string())?,
        pieces: Pieces::among(&records),
        meta,
    })
}
