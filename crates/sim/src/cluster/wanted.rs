//! What clients want: reads, writes with and without conditions, pages, checksums, and what they
//! did before once more. Knows nothing of how it is asked for.

use bytes::Bytes;
use tablestore_dataplane::Operation;
use tablestore_placement::PartitionId;
use tablestore_store::mutation::Condition;
use tablestore_store::{Decimal, Item, KeyValue, Mutation, Value, key};

use super::World;
use super::clients::Wanted;
use crate::check::Asked;

/// How often what is repeated has another body.
const MISMATCHES_PER_MILLE: u64 = 50;
/// How often a read is of the checksums of all copies.
const CHECKSUMS_PER_MILLE: u64 = 15;

impl World {
    /// A write that was acknowledged a while ago, once more.
    pub(super) fn repeated(&mut self) -> Option<Wanted> {
        if !self.chance.clients.happens(self.scenario.repeats_per_mille) {
            return None;
        }
        let acknowledged = &self.clients.acknowledged;
        let at = self.chance.clients.below(acknowledged.len().max(1) as u64) as usize;
        let before = acknowledged.get(at)?.clone();
        self.took("an acknowledged write was repeated");
        let operation = self.with_another_body(&before);
        let operation = operation.unwrap_or_else(|| before.operation.clone());
        let asked = asked(before.partition, &before.key, &operation);
        let op = self.check.begin(self.now, asked);
        Some(Wanted {
            operation,
            attempts: 0,
            op,
            ..before
        })
    }

    /// What a client wants next.
    pub(super) fn next_operation(&mut self) -> Wanted {
        let partitions: Vec<PartitionId> = self
            .agreement
            .map
            .partitions()
            .map(|(id, _, _)| id)
            .filter(|id| !self.is_active(*id))
            .collect();
        let number = self.chance.clients.below(self.scenario.keys);
        // A key lives in one partition.
        let table = self.chance.clients.below(partitions.len() as u64 / 8);
        let at = (table * 8 + number % 8) as usize;
        let partition = partitions[at.min(partitions.len() - 1)];
        let key = KeyValue::String(format!("k{number}"));
        let key = Bytes::from(key::encode_row_key(&key, None));
        let key_of = key.clone();
        let operation = if self.chance.clients.happens(self.scenario.writes_per_mille) {
            self.next_write(&key)
        } else if self.chance.clients.happens(CHECKSUMS_PER_MILLE) {
            Operation::Checksum
        } else if self.chance.clients.happens(100) {
            Operation::Scan {
                from: Bytes::new(),
                until: Bytes::new(),
                limit: 10,
                reverse: self.chance.clients.happens(300),
                strong: self.chance.clients.happens(700),
            }
        } else {
            let strong = self.chance.clients.happens(800);
            Operation::Get { key, strong }
        };
        let op = self
            .check
            .begin(self.now, asked(partition, &key_of, &operation));
        Wanted {
            partition,
            key: key_of,
            operation,
            attempts: 0,
            op,
        }
    }

    /// Seldom another write under the same request id.
    fn with_another_body(&mut self, before: &Wanted) -> Option<Operation> {
        let Operation::Write { request, .. } = before.operation else {
            return None;
        };
        if !self.chance.clients.happens(MISMATCHES_PER_MILLE) {
            return None;
        }
        match self.next_write(&before.key) {
            Operation::Write {
                digest, payload, ..
            } => Some(Operation::Write {
                request,
                digest,
                payload,
            }),
            _ => None,
        }
    }

    fn next_condition(&mut self) -> Condition {
        match self.chance.clients.below(20) {
            0 => Condition::IfPresent,
            1 => Condition::IfAbsent,
            2 => Condition::IfVersion(self.chance.clients.below(40)),
            _ => Condition::None,
        }
    }

    fn next_write(&mut self, key: &Bytes) -> Operation {
        self.clients.last_value += 1;
        let value = self.clients.last_value;
        let mut item = Item::default();
        let number = i64::try_from(value).unwrap_or(0);
        if let Ok(number) = Decimal::parse(number.to_string().as_bytes(), true) {
            item.insert("v".to_owned(), Value::Number(number));
        }
        if self.scenario.value_bytes > 0 {
            let filler = "x".repeat(self.scenario.value_bytes);
            item.insert("f".to_owned(), Value::String(filler));
        }
        let key = key.to_vec();
        let condition = self.next_condition();
        let mutation = match self.chance.clients.below(10) {
            0 => Mutation::Delete { key, condition },
            1..=3 => Mutation::Patch {
                key,
                set: item,
                remove: Vec::new(),
                condition,
            },
            _ => Mutation::Put {
                key,
                item,
                condition,
            },
        };
        let payload = Bytes::from(mutation.encode());
        let (high, low) = (
            self.chance.clients.below(u64::MAX),
            self.chance.clients.below(u64::MAX),
        );
        Operation::Write {
            request: u128::from(high) << 64 | u128::from(low),
            digest: xxhash(&payload),
            payload,
        }
    }
}

/// What the judge is told of an operation.
fn asked(partition: PartitionId, key: &Bytes, operation: &Operation) -> Asked {
    let key = key.clone();
    match operation.clone() {
        Operation::Write {
            request,
            digest,
            payload,
        } => Asked::Write {
            partition,
            key,
            request,
            digest,
            payload,
        },
        Operation::Scan {
            from,
            until,
            limit,
            reverse,
            strong,
        } => Asked::Scan {
            partition,
            from,
            until,
            limit,
            reverse,
            strong,
        },
        Operation::Get { strong, .. } => Asked::Get {
            partition,
            key,
            strong,
        },
        Operation::Checksum => Asked::Checksums { partition },
    }
}

fn xxhash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
