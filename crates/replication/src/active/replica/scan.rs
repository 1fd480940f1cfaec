//! The scan over all rows that builds the tree: at the start, and after every rise of the floor,
//! when it also removes what need not be kept any more. Knows nothing of other replicas.

use bytes::Bytes;

use super::{Replica, Rows};
use crate::active::merkle::{Tree, leaf_of};
use crate::active::row::Row;
use crate::types::Now;

/// A place in the order of leaves, and within a leaf of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The leaf.
    pub leaf: u32,
    /// The key; nothing stands before the first one.
    pub key: Option<Bytes>,
}

impl Place {
    pub(super) fn of(key: &Bytes) -> Self {
        Self {
            leaf: leaf_of(key),
            key: Some(key.clone()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Scan {
    done: Place,
    pub(super) next_at: Now,
}

impl Replica {
    /// The tree no longer says what the rows are: build it anew.
    pub(super) fn begin_scan(&mut self) {
        self.tree = Tree::default();
        self.scan = Some(Scan::default());
        self.sweep = None;
    }

    /// A row changes. What the scan has not reached yet it will see changed.
    pub(super) fn note_in_tree(&mut self, key: &Bytes, before: &Row, after: &Row) {
        let is_ahead = |scan: &Scan| Place::of(key) > scan.done;
        if !self.scan.as_ref().is_some_and(is_ahead) {
            self.tree.replace(key, before, after);
        }
    }

    pub(super) fn go_on_scanning(&mut self, rows: &impl Rows) {
        let now = self.at.now;
        let rows_max = self.settings.entropy_rows_max;
        let Some(scan) = self.scan.as_mut().filter(|scan| scan.next_at <= now) else {
            return;
        };
        scan.next_at = now + self.settings.scan_every;
        let found = rows.rows_behind(&scan.done, rows_max);
        let is_last = found.len() < rows_max;
        if let Some((key, _)) = found.last() {
            scan.done = Place::of(key);
        }
        for (key, held) in found {
            let row = self.without_garbage(&held);
            self.tree.replace(&key, &Row::default(), &held);
            if row != held {
                self.replace(key, &held, row);
            }
        }
        if is_last {
            self.scan = None;
            if self.meta.is_purging {
                self.meta.is_purging = false;
                self.persist_meta();
            }
        }
    }

    fn without_garbage(&self, held: &Row) -> Row {
        let floor = self.meta.proof.floor;
        if self.meta.is_purging {
            held.above(floor, &Row::default())
        } else {
            held.collected(floor)
        }
    }
}
