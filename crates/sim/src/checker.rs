//! Judges a run: what clients were told against what the replicas hold. Knows nothing of how
//! either came about.

use std::collections::{BTreeMap, BTreeSet};

use tablestore_replication::Entry;

use crate::engine::{Engine, list_hash};

/// One operation of a client, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) partition: usize,
    pub(crate) key: u8,
    pub(crate) is_write: bool,
    /// The longest list of the key that anybody had been told of when this began.
    floor: usize,
    /// The position of an acknowledged write.
    position: Option<usize>,
    /// Attempts whose end is not known for certain.
    pub(crate) open: u32,
}

/// A read that was answered.
#[derive(Clone, Copy, Debug)]
struct SeenList {
    partition: usize,
    key: u8,
    length: usize,
    hash: u64,
    op: u32,
}

/// All that is known from outside, and the first rule that was broken.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    pub(crate) operations: Vec<Operation>,
    known: BTreeMap<(usize, u8), usize>,
    seen: Vec<SeenList>,
    /// Epoch and hash of every entry that any replica applied, by partition and index.
    applied: BTreeMap<usize, Vec<(u64, u64)>>,
    pub(crate) violation: Option<String>,
    pub(crate) writes_acknowledged: u64,
    pub(crate) reads_answered: u64,
}

impl Checker {
    pub(crate) fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    fn known(&self, partition: usize, key: u8) -> usize {
        self.known.get(&(partition, key)).copied().unwrap_or(0)
    }

    fn learn(&mut self, partition: usize, key: u8, length: usize) {
        let known = self.known.entry((partition, key)).or_default();
        *known = length.max(*known);
    }

    /// A client begins an operation; its number.
    pub(crate) fn begin(&mut self, partition: usize, key: u8, is_write: bool) -> u32 {
        self.operations.push(Operation {
            partition,
            key,
            is_write,
            floor: self.known(partition, key),
            position: None,
            open: 0,
        });
        self.operations.len() as u32 - 1
    }

    /// A write is acknowledged at this position.
    pub(crate) fn written(&mut self, op: u32, position: usize) {
        let operation = &mut self.operations[op as usize];
        let (floor, before) = (operation.floor, operation.position);
        operation.position = Some(position);
        let (partition, key) = (operation.partition, operation.key);
        self.learn(partition, key, position);
        self.writes_acknowledged += 1;
        if position <= floor {
            self.fail(|| {
                format!("write {op} got position {position}, but {floor} was known before it")
            });
        }
        if before.is_some_and(|before| before != position) {
            self.fail(|| format!("write {op} was acknowledged at two positions"));
        }
    }

    /// A strong read is answered.
    pub(crate) fn read(&mut self, op: u32, length: usize, hash: u64) {
        let operation = &self.operations[op as usize];
        let (partition, key, floor) = (operation.partition, operation.key, operation.floor);
        self.reads_answered += 1;
        if length < floor {
            self.fail(|| {
                format!("stale read {op}: {length} items of key {key}, {floor} were known before")
            });
        }
        self.learn(partition, key, length);
        self.seen.push(SeenList {
            partition,
            key,
            length,
            hash,
            op,
        });
    }

    /// A replica applies entries: every replica applies the same ones.
    pub(crate) fn applies(&mut self, partition: usize, entries: &[Entry], who: &str) {
        for entry in entries {
            let hash = entry.data.iter().fold(7u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            let fact = (entry.epoch.0, hash);
            let applied = self.applied.entry(partition).or_default();
            let at = entry.index as usize - 1;
            match applied.get(at) {
                Some(known) if *known == fact => {}
                Some(known) => {
                    let known = known.0;
                    let (epoch, index) = (entry.epoch, entry.index);
                    self.fail(|| {
                        format!(
                            "{who} applies {index} of epoch {epoch}, another replica applied \
                             {index} of epoch {known}"
                        )
                    });
                }
                None if at == applied.len() => applied.push(fact),
                None => {
                    let have = applied.len();
                    self.fail(|| format!("{who} applies {at} while nobody applied {have}"));
                }
            }
        }
    }

    /// All is quiet and `state` is what the replicas of the partition hold.
    pub(crate) fn finish(&mut self, partition: usize, state: &Engine) {
        let mut places: BTreeMap<u32, (u8, usize)> = BTreeMap::new();
        let mut twice = BTreeSet::new();
        for (key, list) in &state.lists {
            for (at, op) in list.iter().enumerate() {
                if places.insert(*op, (*key, at + 1)).is_some() {
                    twice.insert(*op);
                }
            }
        }
        if let Some(op) = twice.first() {
            self.fail(|| format!("write {op} was carried out twice"));
        }
        let operations = std::mem::take(&mut self.operations);
        for (op, operation) in operations.iter().enumerate() {
            if operation.partition != partition || !operation.is_write {
                continue;
            }
            let place = places.get(&(op as u32));
            match (operation.position, place) {
                (Some(position), Some((key, at))) => {
                    if (*key, *at) != (operation.key, position) {
                        self.fail(|| format!("write {op} was told {position} and is at {at}"));
                    }
                }
                (Some(_), None) => self.fail(|| format!("acknowledged write {op} is lost")),
                (None, Some(_)) if operation.open == 0 => {
                    self.fail(|| format!("write {op} was refused as not applied and is applied"));
                }
                (None, _) => {}
            }
        }
        self.operations = operations;
        for read in std::mem::take(&mut self.seen) {
            if read.partition != partition {
                self.seen.push(read);
                continue;
            }
            let list = state.list(read.key);
            let same = list
                .get(..read.length)
                .is_some_and(|prefix| list_hash(prefix) == read.hash);
            if !same {
                self.fail(|| format!("read {} saw what never became the state", read.op));
            }
        }
    }
}
