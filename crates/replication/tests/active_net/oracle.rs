//! What clients know: which writes were acknowledged before a read began, and what the read must
//! therefore show. Knows nothing of replicas.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_replication::Ticket;
use tablestore_replication::active::coordinator::{ReadFailed, WriteFailed};
use tablestore_replication::active::{Quorum, Row, Version};

type Keyed = BTreeMap<Bytes, Row>;

pub struct Oracle {
    replicas: usize,
    /// Every change that was ever sent, by its version.
    changes: BTreeMap<Version, (Bytes, Row)>,
    /// What was acknowledged, by how many replicas have it.
    acknowledged: BTreeMap<usize, Keyed>,
    writes: BTreeMap<Ticket, (Bytes, usize)>,
    reads: BTreeMap<Ticket, (Bytes, Row, bool)>,
    pub written: BTreeMap<Ticket, Result<Version, WriteFailed>>,
    pub found: BTreeMap<Ticket, Result<Row, ReadFailed>>,
    /// What contradicts the guarantees.
    pub violations: Vec<String>,
}

impl Oracle {
    pub fn new(replicas: usize) -> Self {
        Self {
            replicas,
            changes: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            written: BTreeMap::new(),
            found: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    fn count(&self, quorum: Quorum) -> usize {
        match quorum {
            Quorum::Majority => self.replicas / 2 + 1,
            Quorum::Count(count) => count as usize,
        }
    }

    pub fn write_begins(&mut self, ticket: Ticket, key: Bytes, quorum: Quorum) {
        self.writes.insert(ticket, (key, self.count(quorum)));
    }

    /// A change is on its way. Repairs carry parts of several changes, which are known already.
    pub fn attempted(&mut self, key: &Bytes, change: &Row) {
        if let Some(version) = change.newest() {
            let known = self.changes.entry(version);
            known.or_insert_with(|| (key.clone(), change.clone()));
        }
    }

    pub fn write_done(&mut self, ticket: Ticket, result: Result<Version, WriteFailed>) {
        self.written.insert(ticket, result);
        let (key, count) = self
            .writes
            .remove(&ticket)
            .expect("a write is answered once");
        if let Ok(version) = result {
            let change = self.changes.get(&version).expect("it was sent").1.clone();
            let rows = self.acknowledged.entry(count).or_default();
            rows.entry(key).or_default().merge(&change);
        }
    }

    /// What every read by a majority must show.
    pub fn expected(&self, key: &Bytes, asked: usize) -> Row {
        let mut expected = Row::default();
        for (count, rows) in &self.acknowledged {
            if count + asked > self.replicas
                && let Some(row) = rows.get(key)
            {
                expected.merge(row);
            }
        }
        expected
    }

    pub fn read_begins(&mut self, ticket: Ticket, key: Bytes, quorum: Quorum, strong: bool) {
        let quorum = if strong { Quorum::Majority } else { quorum };
        let expected = self.expected(&key, self.count(quorum));
        self.reads.insert(ticket, (key, expected, strong));
    }

    pub fn read_done(&mut self, ticket: Ticket, result: Result<Row, ReadFailed>) {
        let (key, expected, strong) = self.reads.remove(&ticket).expect("answered once");
        if let Ok(row) = &result {
            self.check(&key, &expected, row);
            if strong {
                let majority = self.count(Quorum::Majority);
                let rows = self.acknowledged.entry(majority).or_default();
                rows.entry(key).or_default().merge(row);
            }
        }
        self.found.insert(ticket, result);
    }

    /// Whether the row shows everything expected, or what is newer.
    pub fn check(&mut self, key: &Bytes, expected: &Row, row: &Row) {
        for (name, cell) in row.attributes() {
            let origin = self.changes.get(&cell.version);
            let written = origin.and_then(|(_, change)| change.attributes().get(name));
            if written != Some(cell) {
                self.violations
                    .push(format!("{key:?}: nobody wrote {cell:?}"));
            }
        }
        let mut together = row.clone();
        together.merge(expected);
        let visible = row.visible().unwrap_or_default();
        for (name, value) in &visible {
            if together.visible().unwrap_or_default().get(name) != Some(value) {
                self.violations
                    .push(format!("{key:?}: {name:?} is stale or came back"));
            }
        }
        for (name, cell) in expected.attributes() {
            let is_shown = row.attributes().get(name) >= Some(cell) || cell.value.is_none();
            let hides = |(other, change): &(Bytes, Row)| {
                let mut merged = change.clone();
                merged.merge(&Row::new(None, [(name.clone(), cell.clone())]));
                let left = merged.attributes().get(name);
                other == key && left.is_none_or(|left| left.value.is_none())
            };
            if !is_shown && !self.changes.values().any(hides) {
                self.violations.push(format!("{key:?}: {name:?} is lost"));
            }
        }
    }
}
