//! What clients ask of active tables, as the core takes it, and the core's answers as those of any
//! table. Knows nothing of who is asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_placement::PartitionId;
use tablestore_replication::Ticket;
use tablestore_replication::active::coordinator::{Change, Input, ReadFailed, WriteFailed};
use tablestore_replication::active::{Quorum, Refusal, Row, Version};
use tablestore_store::item::codec;
use tablestore_store::{Condition, Effect, Item, Mutation, Value};

use crate::request::{Answer, Failure};

/// Bits of a shown version that count writes of one millisecond, so that it stays a whole number
/// in JSON for the next ten years.
const COUNTER_BITS: u32 = 12;

/// What a client asks of a partition of an active table.
#[derive(Debug, Clone)]
pub enum ActiveRequest {
    /// Merge a change into a row.
    Write {
        /// The row.
        key: Bytes,
        /// The change; made by [`ActiveRequest::write`].
        change: Change,
        /// How many replicas must have it.
        quorum: Quorum,
    },
    /// Read a row.
    Read {
        /// The row.
        key: Bytes,
        /// How many replicas are asked.
        quorum: Quorum,
        /// Of a majority, and only what it has durably.
        strong: bool,
    },
}

impl ActiveRequest {
    /// The request for a mutation; nothing if it has a condition, which nobody could judge.
    #[must_use]
    pub fn write(mutation: Mutation, quorum: Quorum) -> Option<Self> {
        let (key, change, condition) = match mutation {
            Mutation::Put {
                key,
                item,
                condition,
            } => {
                let attributes = item.into_iter();
                let put = attributes.map(|(name, value)| (Bytes::from(name), stored(value)));
                (key, Change::Put(put.collect()), condition)
            }
            Mutation::Patch {
                key,
                set,
                remove,
                condition,
            } => {
                let mut changes: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
                changes.extend(remove.into_iter().map(|name| (Bytes::from(name), None)));
                let set = set.into_iter();
                changes.extend(set.map(|(name, value)| (Bytes::from(name), Some(stored(value)))));
                (key, Change::Patch(changes.into_iter().collect()), condition)
            }
            Mutation::Delete { key, condition } => (key, Change::Delete, condition),
        };
        let key = Bytes::from(key);
        (condition == Condition::None).then_some(Self::Write {
            key,
            change,
            quorum,
        })
    }

    pub(super) fn input(self, partition: PartitionId, ticket: u64) -> Input {
        let ticket = Ticket(ticket);
        match self {
            Self::Write {
                key,
                change,
                quorum,
            } => Input::Write {
                ticket,
                partition,
                key,
                change,
                quorum,
            },
            Self::Read {
                key,
                quorum,
                strong,
            } => Input::Read {
                ticket,
                partition,
                key,
                quorum,
                strong,
            },
        }
    }
}

/// The value of an attribute: an item with one attribute that has no name.
fn stored(value: Value) -> Bytes {
    let mut out = Vec::new();
    codec::encode_item(&Item::from([(String::new(), value)]), &mut out);
    out.into()
}

/// A version as it is shown: greater for the newer of two writes of one node.
fn shown(version: Version) -> u64 {
    let counter_max = (1 << COUNTER_BITS) - 1;
    (version.wall_ms << COUNTER_BITS) | u64::from(version.counter).min(counter_max)
}

pub(super) fn written(result: Result<Version, WriteFailed>) -> Result<Answer, Failure> {
    match result {
        Ok(version) => Ok(Answer::Written {
            code: Effect::Done.number(),
            version: shown(version),
            repeated: false,
        }),
        Err(WriteFailed::OutcomeUnknown) => Err(Failure::Unknown),
        Err(WriteFailed::NotApplied(Some(Refusal::NoRoom))) => Err(Failure::Full),
        Err(WriteFailed::TooFewReplicas | WriteFailed::NotApplied(_)) => {
            Err(Failure::NotEnoughReplicas)
        }
        Err(_) => Err(Failure::Busy),
    }
}

pub(super) fn found(result: Result<Row, ReadFailed>) -> Result<Answer, Failure> {
    match result {
        Ok(row) => match item_of(&row) {
            Ok(item) => Ok(Answer::Row(item)),
            Err(error) => {
                tracing::error!(%error, "an attribute of a row cannot be read");
                Err(Failure::Stopped)
            }
        },
        Err(ReadFailed::TooFewReplicas | ReadFailed::TimedOut(_)) => {
            Err(Failure::NotEnoughReplicas)
        }
        Err(_) => Err(Failure::Busy),
    }
}

/// The row as those of other tables are: its version, then the item.
fn item_of(row: &Row) -> Result<Option<Bytes>, codec::CodecError> {
    let (Some(visible), Some(newest)) = (row.visible(), row.newest()) else {
        return Ok(None);
    };
    let mut item = Item::new();
    for (name, bytes) in visible {
        let value = codec::decode_item(bytes)?.into_values().next();
        let name = String::from_utf8_lossy(name).into_owned();
        item.insert(name, value.unwrap_or(Value::Null));
    }
    let mut out = Vec::new();
    codec::encode_row(shown(newest), &item, &mut out);
    Ok(Some(out.into()))
}
