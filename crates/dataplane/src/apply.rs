//! Committed entries meet the rows. Knows nothing of how they were agreed on.

use std::collections::BTreeSet;

use tablestore_placement::PartitionId;
use tablestore_replication::{Entry, EntryBody, Outcome, Remembered, RequestId};
use tablestore_store::Engine;
use tablestore_store::mutation::{ApplyError, apply_mutations};

use crate::settings::RESULT_BYTES;

/// Applies the mutations among `entries` and answers for each.
pub(crate) fn apply_entries<E: Engine>(
    engine: &E,
    partition: PartitionId,
    entries: &[Entry],
) -> Result<Vec<(u64, Outcome)>, ApplyError> {
    let mutations: Vec<(u64, &[u8])> = entries
        .iter()
        .filter_map(|entry| match entry.body() {
            EntryBody::Write { payload, .. } => Some((entry.index, payload)),
            _ => None,
        })
        .collect();
    let number = partition.to_u64();
    let applied = apply_mutations(engine, number, &mutations)?;
    // What is no write is applied as well: else a checkpoint never reaches it, and the segment of
    // the journal that holds it is never used again.
    let reached = mutations.last().map_or(0, |(index, _)| *index);
    if let Some(last) = entries.last().filter(|last| last.index > reached) {
        engine.apply(number, last.index, &[])?;
    }
    Ok(mutations
        .iter()
        .zip(applied)
        .map(|(&(index, _), applied)| {
            (
                index,
                Outcome {
                    code: applied.effect.number(),
                    version: applied.version,
                },
            )
        })
        .collect())
}

/// Names of the side records begin with this.
const SIDE_PREFIX: &[u8] = b"requests/";

/// A side record with results that cannot be read. The replica must not go on without them: a
/// repeated request would take effect twice.
#[derive(Debug, thiserror::Error)]
#[error(
    "the remembered results in {name:?} are damaged: {bytes} bytes are no whole number of them"
)]
pub(crate) struct DamagedResults {
    name: String,
    bytes: usize,
}

/// A side record to write, or to delete.
pub(crate) type SideWrite = (Vec<u8>, Option<Vec<u8>>);

/// The side records that hold remembered results, by the last index in each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pieces(BTreeSet<u64>);

impl Pieces {
    /// Those among the side records of a partition.
    pub(crate) fn among(records: &[(bytes::Bytes, bytes::Bytes)]) -> Self {
        let end = |name: &[u8]| {
            let index = name.strip_prefix(SIDE_PREFIX)?.try_into().ok()?;
            Some(u64::from_be_bytes(index))
        };
        Self(records.iter().filter_map(|(name, _)| end(name)).collect())
    }

    /// What the next checkpoint writes: new results, in order of index, and the deletion of what
    /// ends before the oldest result that is still remembered.
    pub(crate) fn checkpoint(
        &mut self,
        new: &[Remembered],
        remembered_from: Option<u64>,
        results_a_piece: usize,
    ) -> Vec<SideWrite> {
        let kept = self.0.split_off(&remembered_from.unwrap_or(u64::MAX));
        let gone = std::mem::replace(&mut self.0, kept);
        let mut writes: Vec<SideWrite> = gone
            .into_iter()
            .map(|end| (remembered_name(end), None))
            .collect();
        for (end, name, value) in remembered_pieces(new, results_a_piece) {
            self.0.insert(end);
            writes.push((name, Some(value)));
        }
        writes
    }
}

/// Side records with these results, in order of index: the last index of each, its name and bytes.
pub(crate) fn remembered_pieces(
    results: &[Remembered],
    results_a_piece: usize,
) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
    let pieces = results.chunks(results_a_piece.max(1));
    let piece = |results: &[Remembered]| {
        let last = results.last()?.index;
        Some((last, remembered_name(last), encode_remembered(results)))
    };
    pieces.filter_map(piece).collect()
}

/// The name of the side record that ends at `index`.
fn remembered_name(index: u64) -> Vec<u8> {
    let mut name = SIDE_PREFIX.to_vec();
    name.extend_from_slice(&index.to_be_bytes());
    name
}

/// Packs results into a side record.
fn encode_remembered(results: &[Remembered]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(results.len() * RESULT_BYTES);
    for one in results {
        bytes.extend_from_slice(&one.request.0.to_le_bytes());
        bytes.extend_from_slice(&one.digest.to_le_bytes());
        bytes.extend_from_slice(&one.index.to_le_bytes());
        bytes.extend_from_slice(&one.log_ms.to_le_bytes());
        bytes.extend_from_slice(&one.outcome.code.to_le_bytes());
        bytes.extend_from_slice(&one.outcome.version.to_le_bytes());
    }
    bytes
}

/// Unpacks side records, in order of index, up to and with `applied`.
///
/// # Errors
/// If one of them is not as it was written.
pub(crate) fn decode_remembered(
    records: &[(bytes::Bytes, bytes::Bytes)],
    applied: u64,
) -> Result<Vec<Remembered>, DamagedResults> {
    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    }
    let mut results: Vec<Remembered> = Vec::new();
    for (name, value) in records {
        if !name.starts_with(SIDE_PREFIX) {
            continue;
        }
        if value.len() % RESULT_BYTES != 0 {
            return Err(DamagedResults {
                name: String::from_utf8_lossy(name).into_owned(),
                bytes: value.len(),
            });
        }
        for one in value.chunks_exact(RESULT_BYTES) {
            let request = u128::from_le_bytes(one[..16].try_into().expect("sixteen bytes"));
            let code = u16::from_le_bytes(one[40..42].try_into().expect("two bytes"));
            results.push(Remembered {
                request: RequestId(request),
                digest: u64_at(one, 16),
                index: u64_at(one, 24),
                log_ms: u64_at(one, 32),
                outcome: Outcome {
                    code,
                    version: u64_at(one, 42),
                },
            });
        }
    }
    results.retain(|one| one.index <= applied);
    results.sort_by_key(|one| one.index);
    results.dedup_by_key(|one| one.index);
    Ok(results)
}

#[cfg(test)]
mod tests {
    use tablestore_placement::Epoch;
    use tablestore_store::testing::golden::{Golden, bytes, hex};
    use tablestore_store::{Checkpoints as _, MemoryEngine};

    use super::*;

    #[test]
    fn l31_what_is_no_write_is_reached_by_a_checkpoint() {
        let (engine, partition) = (MemoryEngine::new(), PartitionId::from_u64(5));
        engine.open_partition(5).expect("it opens");
        let entries = [
            Entry::epoch_start(Epoch(1), 1),
            Entry::checksum(Epoch(1), 2, 77),
        ];
        let outcomes = apply_entries(&engine, partition, &entries).expect("they apply");
        assert_eq!(outcomes, []);
        assert_eq!(engine.checkpoint(5, &[]).expect("it flushes"), 2);
    }

    #[test]
    fn remembered_results_come_back_in_order_and_none_above_the_applied_index() {
        let one = |index: u64| Remembered {
            request: RequestId(u128::from(index) << 70),
            digest: index + 1,
            index,
            log_ms: index + 2,
            outcome: Outcome {
                code: 7,
                version: index + 3,
            },
        };
        let records =
            [(6, vec![one(4), one(6)]), (3, vec![one(1), one(3)])].map(|(last, results)| {
                (
                    remembered_name(last).into(),
                    encode_remembered(&results).into(),
                )
            });
        let found = decode_remembered(&records, 5).expect("they are whole");
        assert_eq!(found, [one(1), one(3), one(4)]);
        assert_eq!(Pieces::among(&records), Pieces([3, 6].into()));
    }

    #[test]
    fn the_bytes_of_remembered_results_do_not_change() {
        let one = |index: u64| Remembered {
            request: RequestId(u128::MAX - u128::from(index)),
            digest: 0x0102_0304_0506_0708,
            index,
            log_ms: 1 << 40,
            outcome: Outcome {
                code: 412,
                version: index - 1,
            },
        };
        let results = [one(6), one(1 << 33)];
        let pieces = remembered_pieces(&results, 1_000);
        let lines = pieces
            .iter()
            .map(|(_, name, value)| format!("{} {}\n", hex(name), hex(value)));
        let golden = Golden {
            format: "the side records with remembered results, in the row engine and in copies",
            number: "DIRECTORY_FORMAT and WIRE_FORMAT",
            file: "remembered-directory-2.txt",
            text: include_str!("../testdata/remembered-directory-2.txt"),
        };
        golden.check(&lines.collect::<String>());
        let old = golden.text.trim().split_once(' ');
        let (name, value) = old.expect("a name and a value");
        let record = (bytes(name).into(), bytes(value).into());
        let found = decode_remembered(&[record], u64::MAX).expect("it is whole");
        assert_eq!(found, results);
    }

    #[test]
    fn what_is_no_longer_remembered_is_deleted_with_the_next_checkpoint() {
        let results = |indexes: std::ops::RangeInclusive<u64>| -> Vec<Remembered> {
            let one = |index| Remembered {
                request: RequestId(u128::from(index)),
                digest: 0,
                index,
                log_ms: 0,
                outcome: Outcome::default(),
            };
            indexes.map(one).collect()
        };
        let names = |writes: &[SideWrite], deleted: bool| -> Vec<Vec<u8>> {
            let writes = writes
                .iter()
                .filter(|(_, value)| value.is_none() == deleted);
            writes.map(|(name, _)| name.clone()).collect()
        };
        let mut pieces = Pieces::default();
        let first = pieces.checkpoint(&results(1..=2_500), Some(1), 1_000);
        assert_eq!(
            names(&first, false),
            [1_000, 2_000, 2_500].map(remembered_name)
        );
        assert!(names(&first, true).is_empty());
        // The oldest that is remembered is the last one of the second piece.
        let second = pieces.checkpoint(&results(2_501..=2_600), Some(2_000), 1_000);
        assert_eq!(names(&second, true), [remembered_name(1_000)]);
        assert_eq!(names(&second, false), [remembered_name(2_600)]);
        assert_eq!(pieces, Pieces([2_000, 2_500, 2_600].into()));
        let third = pieces.checkpoint(&[], Some(2_601), 1_000);
        assert_eq!(names(&third, true).len(), 3);
        assert_eq!(pieces, Pieces::default());
    }

    #[test]
    fn a_piece_that_was_cut_is_damage_and_not_nothing() {
        let whole = encode_remembered(&[Remembered {
            request: RequestId(1),
            digest: 2,
            index: 3,
            log_ms: 4,
            outcome: Outcome::default(),
        }]);
        for cut in 1..whole.len() {
            let record = (remembered_name(3).into(), whole[..cut].to_vec().into());
            assert!(decode_remembered(&[record], 9).is_err(), "{cut}");
        }
    }

    #[test]
    fn many_results_are_kept_in_pieces_that_end_where_their_names_say() {
        let results: Vec<Remembered> = (1..=2_500)
            .map(|index| Remembered {
                request: RequestId(u128::from(index)),
                digest: 0,
                index,
                log_ms: 0,
                outcome: Outcome::default(),
            })
            .collect();
        let pieces = remembered_pieces(&results, 1_000);
        let ends: Vec<u64> = pieces.iter().map(|(end, _, _)| *end).collect();
        assert_eq!(ends, [1_000, 2_000, 2_500]);
        let records: Vec<_> = pieces
            .into_iter()
            .map(|(_, name, value)| (name.into(), value.into()))
            .collect();
        assert_eq!(Pieces::among(&records), Pieces(ends.into_iter().collect()));
        let found = decode_remembered(&records, u64::MAX).expect("they are whole");
        assert_eq!(found, results);
        assert!(remembered_pieces(&[], 1_000).is_empty());
    }
}
