//! What a log entry asks of one row, and how it is applied: by index and current state alone,
//! so that every replica comes to the same rows and the same answers. Knows nothing of logs
//! and of who decides that an entry is committed.

mod effect;
mod single;

use thiserror::Error;

pub use self::effect::Effect;
use self::single::answer;
pub use self::single::{RowChange, apply_to_row, reads_row};
use crate::engine::{Engine, EngineError, RowWrite};
use crate::item::codec::{self, CodecError, Input, VERSION_BYTES};
use crate::item::{Item, Value};
use crate::limits::{ITEM_BYTES_MAX, item_bytes};

const PUT: u8 = 1;
const PATCH: u8 = 2;
const DELETE: u8 = 3;

const ANY: u8 = 0;
const IF_VERSION: u8 = 1;
const IF_ABSENT: u8 = 2;
const IF_PRESENT: u8 = 3;

/// What must hold of the row for a mutation to take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The row has this version.
    IfVersion(u64),
    /// There is no row.
    IfAbsent,
    /// There is a row.
    IfPresent,
}

/// One change of one row. The key is encoded, see [`key`](crate::item::key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The row becomes `item`.
    Put {
        /// The encoded row key.
        key: Vec<u8>,
        /// The attributes, without the key's.
        item: Item,
        /// When to apply it.
        condition: Condition,
    },
    /// Attributes are set and removed; a row that is not there is made of those set.
    Patch {
        /// The encoded row key.
        key: Vec<u8>,
        /// The attributes to set; null is a value.
        set: Item,
        /// The names of attributes to remove; applied before `set`.
        remove: Vec<String>,
        /// When to apply it.
        condition: Condition,
    },
    /// The row is deleted.
    Delete {
        /// The encoded row key.
        key: Vec<u8>,
        /// When to apply it.
        condition: Condition,
    },
}

/// Whether an encoded mutation deletes its row, whatever else it says.
#[must_use]
pub fn is_delete(encoded: &[u8]) -> bool {
    encoded.first() == Some(&DELETE)
}

/// What came of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What it did.
    pub effect: Effect,
    /// The version of the row afterwards; 0 if there is none.
    pub version: u64,
}

/// Applying failed. The replica cannot go on from here: what was applied is unknown until it
/// is opened again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A committed entry is not a mutation: damaged, or written by a newer version.
    #[error("the entry at index {index} is not a mutation")]
    Entry {
        /// The entry's log index.
        index: u64,
        /// What was wrong with it.
        source: CodecError,
    },
    /// A stored row cannot be decoded: the engine's files are damaged.
    #[error("the row changed by the entry at index {index} is damaged")]
    Row {
        /// The entry's log index.
        index: u64,
        /// What was wrong with it.
        source: CodecError,
    },
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[from] EngineError),
}

impl Mutation {
    /// The payload of a log entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.encode_into(&mut out);
        out
    }

    /// Appends the payload of a log entry.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let (kind, condition) = match self {
            Self::Put { condition, .. } => (PUT, condition),
            Self::Patch { condition, .. } => (PATCH, condition),
            Self::Delete { condition, .. } => (DELETE, condition),
        };
        out.push(kind);
        match condition {
            Condition::None => out.push(ANY),
            Condition::IfVersion(version) => {
                out.push(IF_VERSION);
                out.extend_from_slice(&version.to_le_bytes());
            }
            Condition::IfAbsent => out.push(IF_ABSENT),
            Condition::IfPresent => out.push(IF_PRESENT),
        }
        codec::put_bytes(self.key(), out);
        match self {
            Self::Put { item, .. } => codec::encode_item(item, out),
            Self::Patch { set, remove, .. } => {
                codec::put_varint(remove.len() as u128, out);
                for name in remove {
                    codec::put_bytes(name.as_bytes(), out);
                }
                codec::encode_item(set, out);
            }
            Self::Delete { .. } => {}
        }
    }

    /// Reads the payload of a log entry.
    ///
    /// # Errors
    /// If the bytes are not a mutation.
    pub fn decode(payload: &[u8]) -> Result<Self, CodecError> {
        let request = Request::parse(payload)?;
        let (key, condition) = (request.key.to_vec(), request.condition);
        Ok(match request.change {
            Change::Put { item } => Self::Put {
                key,
                item: codec::decode_item(item)?,
                condition,
            },
            Change::Patch { remove, set } => Self::Patch {
                key,
                set: codec::decode_item(set)?,
                remove: remove.into_iter().map(str::to_owned).collect(),
                condition,
            },
            Change::Delete => Self::Delete { key, condition },
        })
    }

    /// The encoded row key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        let (Self::Put { key, .. } | Self::Patch { key, .. } | Self::Delete { key, .. }) = self;
        key
    }

    /// The key of the row that an encoded mutation changes.
    ///
    /// # Errors
    /// If the bytes are not a mutation.
    pub fn key_of(payload: &[u8]) -> Result<&[u8], CodecError> {
        Ok(Request::parse(payload)?.key)
    }
}

/// An encoded mutation, not yet copied out of the payload.
struct Request<'a> {
    key: &'a [u8],
    condition: Condition,
    change: Change<'a>,
}

enum Change<'a> {
    Put { item: &'a [u8] },
    Patch { remove: Vec<&'a str>, set: &'a [u8] },
    Delete,
}

impl<'a> Request<'a> {
    fn parse(payload: &'a [u8]) -> Result<Self, CodecError> {
        let mut input = Input { bytes: payload };
        let kind = input.byte()?;
        let condition = match input.byte()? {
            ANY => Condition::None,
            IF_VERSION => Condition::IfVersion(input.u64()?),
            IF_ABSENT => Condition::IfAbsent,
            IF_PRESENT => Condition::IfPresent,
            _ => return Err(input.error("an unknown condition")),
        };
        let key = input.sized()?;
        let change = match kind {
            PUT => Change::Put { item: input.bytes },
            PATCH => {
                let count = input.length()?;
                let mut remove = Vec::with_capacity(count);
                for _ in 0..count {
                    let name = std::str::from_utf8(input.sized()?);
                    remove.push(name.map_err(|_| input.error("a name that is not UTF-8"))?);
                }
                Change::Patch {
                    remove,
                    set: input.bytes,
                }
            }
            DELETE if input.bytes.is_empty() => Change::Delete,
            DELETE => return Err(input.error("bytes after a delete")),
            _ => return Err(input.error("an unknown mutation")),
        };
        Ok(Self {
            key,
            condition,
            change,
        })
    }

    /// Whether the answer depends on the row as it is. A blind put never reads.
    fn reads(&self) -> bool {
        self.condition != Condition::None || !matches!(self.change, Change::Put { .. })
    }
}

/// Applies committed entries, in order of index, and answers for each. The engine's applied
/// index is then that of the last entry. Entries see the effect of those before them.
///
/// # Errors
/// If an entry cannot be understood or the engine fails.
pub fn apply_mutations(
    engine: &dyn Engine,
    partition: u64,
    entries: &[(u64, &[u8])],
) -> Result<Vec<Applied>, ApplyError> {
    let mut results = Vec::with_capacity(entries.len());
    let mut pending = Pending::default();
    for &(index, payload) in entries {
        let request =
            Request::parse(payload).map_err(|source| ApplyError::Entry { index, source })?;
        let current = if request.reads() {
            pending.write(engine, partition)?;
            engine.get(partition, request.key)?
        } else {
            None
        };
        pending.index = index;
        results.push(answer(index, &request, current.as_deref(), &mut pending)?);
    }
    pending.write(engine, partition)?;
    Ok(results)
}

fn change<'a>(
    index: u64,
    request: &Request<'a>,
    current: Option<&[u8]>,
    pending: &mut Pending<'a>,
) -> Result<Applied, ApplyError> {
    let applied = Applied {
        effect: Effect::Done,
        version: index,
    };
    match &request.change {
        Change::Put { item } => {
            pending.put(request.key, |out| {
                out.extend_from_slice(&index.to_le_bytes());
                out.extend_from_slice(item);
            });
            Ok(applied)
        }
        Change::Patch { remove, set } => {
            let mut item = match current {
                Some(value) => {
                    codec::decode_row(value)
                        .map_err(|source| ApplyError::Row { index, source })?
                        .1
                }
                None => Item::new(),
            };
            for name in remove {
                item.remove(*name);
            }
            let set = codec::decode_item(set).map_err(|source| ApplyError::Entry { index, source });
            item.extend::<std::collections::BTreeMap<String, Value>>(set?);
            if request.key.len() + item_bytes(&item) > ITEM_BYTES_MAX {
                let version = match current {
                    Some(value) => row_version(index, value)?,
                    None => 0,
                };
                return Ok(Applied {
                    effect: Effect::TooLarge,
                    version,
                });
            }
            pending.put(request.key, |out| codec::encode_row(index, &item, out));
            Ok(applied)
        }
        Change::Delete if current.is_none() => Ok(Applied {
            effect: Effect::Absent,
            version: 0,
        }),
        Change::Delete => {
            pending.writes.push((request.key, None));
            Ok(Applied {
                effect: Effect::Done,
                version: 0,
            })
        }
    }
}

fn row_version(index: u64, value: &[u8]) -> Result<u64, ApplyError> {
    match codec::split_row(value) {
        Ok((version, _)) => Ok(version),
        Err(source) => Err(ApplyError::Row { index, source }),
    }
}

/// Writes that wait to go to the engine in one batch, their values in one buffer.
#[derive(Default)]
struct Pending<'a> {
    index: u64,
    values: Vec<u8>,
    writes: Vec<(&'a [u8], Option<std::ops::Range<usize>>)>,
    /// The last index the engine was given.
    written: u64,
}

impl<'a> Pending<'a> {
    fn put(&mut self, key: &'a [u8], encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.values.len();
        self.values.reserve(VERSION_BYTES);
        encode(&mut self.values);
        self.writes.push((key, Some(start..self.values.len())));
    }

    fn write(&mut self, engine: &dyn Engine, partition: u64) -> Result<(), EngineError> {
        if self.index == self.written {
            return Ok(());
        }
        let writes: Vec<RowWrite<'_>> = self
            .writes
            .iter()
            .map(|(key, value)| RowWrite {
                key,
                value: value.clone().map(|at| &self.values[at]),
            })
            .collect();
        engine.apply(partition, self.index, &writes)?;
        self.writes.clear();
        self.values.clear();
        self.written = self.index;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
