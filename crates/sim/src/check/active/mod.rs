//! Judges what clients of active tables were told, and what replicas keep, by what the strategy
//! promises: what a majority acknowledged is never lost, and seen by each majority asked later.
//! Of what fewer acknowledged nothing is asked but that somebody wrote it.
//!
//! Values are unlike each other, so that each tells its write. Knows nothing of how a replica
//! merges and of why anything happens.

mod disks;
mod known;
mod read;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};
use tablestore_replication::active::{Row, Version};

use self::disks::Disks;
use self::known::{Hiders, Known};
use self::rule::{Breach, Rule};

pub(crate) use self::read::{text_of, version_of};

/// A request of a client, from 1 on.
pub(crate) type OpId = u64;

/// What a write does to its row, without values: they tell the number of the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The row becomes these attributes.
    Put(Vec<String>),
    /// Attributes are set and removed.
    Patch {
        set: Vec<String>,
        remove: Vec<String>,
    },
    /// The row is deleted.
    Delete,
}

impl Change {
    /// A patch of nothing leaves nothing behind.
    fn is_empty(&self) -> bool {
        matches!(self, Self::Patch { set, remove } if set.is_empty() && remove.is_empty())
    }

    fn sets(&self, name: &str) -> bool {
        match self {
            Self::Put(names) | Self::Patch { set: names, .. } => names.iter().any(|n| n == name),
            Self::Delete => false,
        }
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A change, which so many replicas must have.
    Write { change: Change, w: usize },
    /// The row as so many replicas know it.
    Read { r: usize, strong: bool },
}

#[derive(Clone, Debug)]
struct Op {
    partition: PartitionId,
    key: Bytes,
    /// Who coordinates it.
    node: StorageId,
    asked: Asked,
    /// What every majority knew when it began.
    expected: Known,
    /// The greatest version that was known of its coordinator then.
    newest: Option<Version>,
    version: Option<Version>,
}

/// What is known of a row.
#[derive(Debug, Default)]
struct RowHistory {
    /// What a majority acknowledged or showed.
    expected: Known,
    hiders: Hiders,
    /// How many deletions were asked for.
    deletes: usize,
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Writes acknowledged by a majority or more.
    pub(crate) writes: u64,
    /// Reads answered by a majority or more.
    pub(crate) reads: u64,
}

/// The judge.
#[derive(Debug)]
pub(crate) struct ActiveCheck {
    replicas: usize,
    ops: Vec<Op>,
    rows: BTreeMap<(PartitionId, Bytes), RowHistory>,
    /// Whose each version is.
    stamped: BTreeMap<Version, OpId>,
    /// The greatest version known of each node.
    newest: BTreeMap<StorageId, Version>,
    disks: Disks,
    counts: Counts,
    violation: Option<String>,
}

impl ActiveCheck {
    /// A judge of tables with so many replicas.
    pub(crate) fn new(replicas: usize) -> Self {
        Self {
            replicas,
            ops: Vec::new(),
            rows: BTreeMap::new(),
            stamped: BTreeMap::new(),
            newest: BTreeMap::new(),
            disks: Disks::default(),
            counts: Counts::default(),
            violation: None,
        }
    }

    /// The first breach, in words that begin with the name of its rule.
    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The rows of a partition that were ever asked for.
    pub(crate) fn keys(&self, partition: PartitionId) -> Vec<Bytes> {
        let rows = self.rows.keys().filter(|(of, _)| *of == partition);
        rows.map(|(_, key)| key.clone()).collect()
    }

    /// A client begins to ask a node.
    pub(crate) fn begin(
        &mut self,
        (partition, key): (PartitionId, &Bytes),
        node: StorageId,
        asked: Asked,
    ) -> OpId {
        let history = self.rows.entry((partition, key.clone())).or_default();
        if let Asked::Write { change, .. } = &asked {
            history.deletes += usize::from(*change == Change::Delete);
        }
        self.ops.push(Op {
            partition,
            key: key.clone(),
            node,
            asked,
            expected: history.expected.clone(),
            newest: self.newest.get(&node).copied(),
            version: None,
        });
        self.ops.len() as u64
    }

    /// A member starts anew, with its logs up to these indexes.
    pub(crate) fn restarted(&mut self, member: StorageId, end: impl Fn(PartitionId) -> u64) {
        self.disks.restart(member, end);
    }

    /// A replica put a row into its log.
    pub(crate) fn kept(
        &mut self,
        member: StorageId,
        partition: PartitionId,
        index: u64,
        (key, row): (&Bytes, &Row),
    ) {
        self.disks.keep((member, partition), index, key, row);
        let learned = self.learn_row(partition, key, row);
        let of = |words| format!("{member} keeps of {}: {words}", key.escape_ascii());
        self.heed(
            partition,
            learned.map_err(|(rule, words)| (rule, of(words))),
        );
    }

    /// The logs of a member are durable up to these indexes.
    pub(crate) fn synced(&mut self, member: StorageId, end: impl Fn(PartitionId) -> u64) {
        self.disks.synced(member, end);
    }

    /// A node acknowledges a write: that is on so many disks by now.
    pub(crate) fn acknowledges(&mut self, op: OpId, version: Version) {
        let Some(of) = self.op(op) else { return };
        let Asked::Write { change, w } = &of.asked else {
            return;
        };
        if change.is_empty() {
            return;
        }
        let (partition, w) = (of.partition, *w);
        let holders = self.disks.holders(partition, &of.key, version, change);
        if holders < w {
            let key = of.key.escape_ascii();
            let words =
                format!("write {op} of {key} is acknowledged, and {holders} of {w} have it");
            self.heed(partition, Err((Rule::Unsynced, words)));
        }
    }

    /// A client is told that a write was done.
    pub(crate) fn written(&mut self, op: OpId, version: Version) {
        let Some(of) = self.op(op).cloned() else {
            return;
        };
        let learned = self.learn(op, version);
        self.heed(of.partition, learned);
        let Asked::Write { change, w } = &of.asked else {
            let words = format!("read {op} is told a version");
            return self.heed(of.partition, Err((Rule::Foreign, words)));
        };
        let is_majority = w * 2 > self.replicas;
        let history = self.rows.entry((of.partition, of.key)).or_default();
        history.hiders.note(version, change);
        if is_majority {
            history.expected.write(version, change);
            self.counts.writes += 1;
        }
    }

    fn op(&self, op: OpId) -> Option<&Op> {
        self.ops.get(usize::try_from(op).ok()?.checked_sub(1)?)
    }

    /// A write has this version.
    fn learn(&mut self, op: OpId, version: Version) -> Result<(), Breach> {
        let stamp = |words: String| Err((Rule::Stamp, format!("write {op}: {words}")));
        let Some(of) = self.op(op) else {
            return Err((Rule::Foreign, format!("there is no write {op}")));
        };
        match of.version {
            Some(known) if known == version => return Ok(()),
            Some(known) => return stamp(format!("has {known:?}, and now {version:?}")),
            None => {}
        }
        if version.node != of.node {
            return stamp(format!("{:?} was asked, and it has {version:?}", of.node));
        }
        if let Some(before) = of.newest.filter(|before| *before >= version) {
            return stamp(format!("{version:?} comes after {before:?}"));
        }
        if let Some(other) = self.stamped.insert(version, op) {
            return stamp(format!("has {version:?} of write {other}"));
        }
        let at = usize::try_from(op - 1).expect("it was found there");
        self.ops[at].version = Some(version);
        let newest = self.newest.entry(version.node).or_insert(version);
        *newest = version.max(*newest);
        Ok(())
    }

    fn learn_row(&mut self, partition: PartitionId, key: &Bytes, row: &Row) -> Result<(), Breach> {
        for (name, cell) in row.attributes() {
            let name = String::from_utf8_lossy(name).into_owned();
            match &cell.value {
                Some(value) => {
                    let op = self.writer_of((partition, key), &name, &read::stored_text(value)?)?;
                    self.learn(op, cell.version)?;
                }
                None => {
                    let history = self.rows.entry((partition, key.clone())).or_default();
                    let removed = history.hiders.removed.entry(name).or_default();
                    removed.insert(cell.version);
                }
            }
        }
        let Some(mark) = row.mark() else {
            return Ok(());
        };
        let history = self.rows.entry((partition, key.clone())).or_default();
        if !mark.is_delete {
            history.hiders.puts.insert(mark.version);
            return Ok(());
        }
        history.hiders.deletes.insert(mark.version);
        let (seen, asked) = (history.hiders.deletes.len(), history.deletes);
        if seen > asked {
            let words = format!("{seen} deletions, and {asked} were asked for");
            return Err((Rule::Stamp, words));
        }
        Ok(())
    }

    /// The write that set an attribute to this, if it was of this row.
    fn writer_of(
        &self,
        (partition, key): (PartitionId, &Bytes),
        name: &str,
        text: &str,
    ) -> Result<OpId, Breach> {
        let number: String = text.chars().take_while(char::is_ascii_digit).collect();
        let op: OpId = number.parse().unwrap_or(0);
        let is_own = self.op(op).is_some_and(|of| {
            let sets = matches!(&of.asked, Asked::Write { change, .. } if change.sets(name));
            sets && of.partition == partition && of.key == key
        });
        if is_own {
            return Ok(op);
        }
        let shown: String = text.chars().take(30).collect();
        Err((Rule::Foreign, format!("{name} is {shown:?}")))
    }

    fn heed(&mut self, partition: PartitionId, judged: Result<(), Breach>) {
        if let Err((rule, words)) = judged {
            let violation = || format!("{}: {rule}: {words} (partition {partition})", rule.name());
            self.violation.get_or_insert_with(violation);
        }
    }
}
