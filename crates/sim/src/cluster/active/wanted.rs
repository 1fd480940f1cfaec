//! What clients of the active table want: rows put, patched, deleted and read, each time by as many
//! replicas as they like. Knows nothing of how it is asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_dataplane::ActiveRequest;
use tablestore_replication::active::Quorum;
use tablestore_store::mutation::Condition;
use tablestore_store::{Item, KeyValue, Mutation, Value, key};

use super::World;
use crate::check::active::{Asked, Change, OpId, text_of};

/// The attributes of all rows.
const ATTRIBUTES: [&str; 3] = ["a", "b", "c"];
/// How often a client says nothing of how many replicas it wants.
const DEFAULTS_PER_MILLE: u64 = 600;

/// A request without its number.
#[derive(Debug)]
pub(super) struct Wanted {
    key: Bytes,
    quorum: Quorum,
    /// How many replicas that is.
    count: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Change(Change),
    Read { strong: bool },
}

pub(super) fn key_of(number: u64) -> Bytes {
    let key = KeyValue::String(format!("r{number}"));
    Bytes::from(key::encode_row_key(&key, None))
}

impl Wanted {
    pub(super) fn asked(&self) -> Asked {
        match &self.what {
            What::Change(change) => Asked::Write {
                change: change.clone(),
                w: self.count,
            },
            What::Read { strong } => Asked::Read {
                r: self.count,
                strong: *strong,
            },
        }
    }

    pub(super) fn request(self, op: OpId, filler: usize) -> ActiveRequest {
        let (quorum, key) = (self.quorum, self.key);
        let item = |names: Vec<String>| -> Item {
            let text = |name| (name, Value::String(text_of(op, filler)));
            names.into_iter().map(text).collect::<BTreeMap<_, _>>()
        };
        let condition = Condition::None;
        let mutation = match self.what {
            What::Read { strong } => {
                return ActiveRequest::Read {
                    key,
                    quorum,
                    strong,
                };
            }
            What::Change(Change::Put(names)) => Mutation::Put {
                key: key.to_vec(),
                item: item(names),
                condition,
            },
            What::Change(Change::Patch { set, remove }) => Mutation::Patch {
                key: key.to_vec(),
                set: item(set),
                remove,
                condition,
            },
            What::Change(Change::Delete) => Mutation::Delete {
                key: key.to_vec(),
                condition,
            },
        };
        ActiveRequest::write(mutation, quorum).expect("it has no condition")
    }
}

impl World {
    /// A change; in a probe the row is put, and a majority must have it.
    pub(super) fn next_change(&mut self, key: &Bytes, is_probe: bool) -> Wanted {
        let change = match self.chance.active.below(20) {
            _ if is_probe => Change::Put(vec![ATTRIBUTES[0].to_owned()]),
            0..=4 => Change::Delete,
            5..=9 => Change::Put(self.some_attributes()),
            number => {
                let (mut set, mut remove) = (self.some_attributes(), Vec::new());
                if number < 13 {
                    remove = self.some_attributes();
                    set.retain(|name| !remove.contains(name));
                }
                Change::Patch { set, remove }
            }
        };
        self.wanted(key, What::Change(change), is_probe)
    }

    /// A read; in a probe a strong one.
    pub(super) fn next_read(&mut self, key: &Bytes, is_probe: bool) -> Wanted {
        let strong = is_probe || self.chance.active.happens(600);
        self.wanted(key, What::Read { strong }, strong)
    }

    fn wanted(&mut self, key: &Bytes, what: What, by_majority: bool) -> Wanted {
        let replicas = u64::from(self.scenario.replicas);
        let majority = (replicas / 2 + 1) as usize;
        let is_default = by_majority || self.chance.active.happens(DEFAULTS_PER_MILLE);
        let counted = self.chance.active.between(1, replicas);
        let (quorum, count) = if is_default {
            (Quorum::Majority, majority)
        } else {
            (Quorum::Count(counted as u32), counted as usize)
        };
        Wanted {
            key: key.clone(),
            quorum,
            count,
            what,
        }
    }

    fn some_attributes(&mut self) -> Vec<String> {
        let bits = self.chance.active.below(1 << ATTRIBUTES.len());
        let chosen = ATTRIBUTES.iter().enumerate();
        let chosen = chosen.filter(|(at, _)| bits >> at & 1 == 1);
        chosen.map(|(_, name)| (*name).to_owned()).collect()
    }
}
