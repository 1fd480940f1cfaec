//! Committed entries meet the rows. Knows nothing of how they were agreed on.

use tablestore_placement::PartitionId;
use tablestore_replication::{Entry, EntryBody, Outcome, Remembered, RequestId};
use tablestore_store::Engine;
use tablestore_store::mutation::{ApplyError, apply_mutations};

/// Applies the mutations among `entries` and answers for each.
pub(crate) fn apply_entries(
    engine: &dyn Engine,
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
    if mutations.is_empty() {
        return Ok(Vec::new());
    }
    let applied = apply_mutations(engine, partition.to_u64(), &mutations)?;
    Ok(mutations
        .iter()
        .zip(applied)
        .map(|(&(index, _), applied)| {
            (
                index,
                Outcome {
                    code: applied.code,
                    version: applied.version,
                },
            )
        })
        .collect())
}

/// Bytes of one remembered result as kept beside the rows.
const REMEMBERED_BYTES: usize = 16 + 8 + 8 + 8 + 2 + 8;
/// Names of the side records begin with this.
const SIDE_PREFIX: &[u8] = b"requests/";

/// The name of the side record that ends at `index`.
pub(crate) fn remembered_name(index: u64) -> Vec<u8> {
    let mut name = SIDE_PREFIX.to_vec();
    name.extend_from_slice(&index.to_be_bytes());
    name
}

/// Packs results into a side record.
pub(crate) fn encode_remembered(results: &[Remembered]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(results.len() * REMEMBERED_BYTES);
    for one in results {
        bytes.extend_from_slice(&one.request.0.to_le_bytes());
        bytes.extend_from_slice(&one.digest.to_le_bytes());
        bytes.extend_from_slice(&one.index.to_le_bytes());
        bytes.extend_from_slice(&one.stamp_ms.to_le_bytes());
        bytes.extend_from_slice(&one.outcome.code.to_le_bytes());
        bytes.extend_from_slice(&one.outcome.version.to_le_bytes());
    }
    bytes
}

/// Unpacks side records, in order of index, up to and with `applied`.
pub(crate) fn decode_remembered(
    records: &[(bytes::Bytes, bytes::Bytes)],
    applied: u64,
) -> Vec<Remembered> {
    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    }
    let mut results: Vec<Remembered> = Vec::new();
    for (name, value) in records {
        if !name.starts_with(SIDE_PREFIX) {
            continue;
        }
        for one in value.chunks_exact(REMEMBERED_BYTES) {
            let request = u128::from_le_bytes(one[..16].try_into().expect("sixteen bytes"));
            let code = u16::from_le_bytes(one[40..42].try_into().expect("two bytes"));
            results.push(Remembered {
                request: RequestId(request),
                digest: u64_at(one, 16),
                index: u64_at(one, 24),
                stamp_ms: u64_at(one, 32),
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
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_results_come_back_in_order_and_none_above_the_applied_index() {
        let one = |index: u64| Remembered {
            request: RequestId(u128::from(index) << 70),
            digest: index + 1,
            index,
            stamp_ms: index + 2,
            outcome: Outcome {
                code: 412,
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
        assert_eq!(decode_remembered(&records, 5), [one(1), one(3), one(4)]);
    }
}
