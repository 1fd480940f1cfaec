//! The rows of an active replica: those in the engine, and above them what is on its way to the
//! journal. Nothing reaches the engine before it is durable in the journal, so that no checkpoint
//! is ever ahead of the log.
//!
//! The order of leaves, in which replicas compare their rows, is kept in memory: all keys of the
//! partition, which is why their number is bounded. Knows nothing of messages.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use tablestore_replication::active::merkle::leaf_of;
use tablestore_replication::active::{Place, ReplicaMeta, Row, Rows, codec};
use tablestore_store::Engine;
use tablestore_store::engine::EngineError;

use super::entry::{Stored, apply};

/// A place in the order in which replicas compare.
pub(super) type Order = BTreeSet<(u32, Bytes)>;

/// What is on its way to the journal.
#[derive(Debug)]
struct Pending {
    token: u64,
    index: u64,
    stored: Stored,
}

/// The rows of one replica.
#[derive(Debug)]
pub(crate) struct ActiveRows<E> {
    engine: Arc<E>,
    partition: u64,
    order: Order,
    /// Bounded by what the core lets wait for the disk.
    pending: VecDeque<Pending>,
    /// The newest bytes of each row in it, and under which token.
    newest: BTreeMap<Bytes, (u64, Option<Bytes>)>,
    /// What of the meta is in the journal, for the next checkpoint.
    durable_meta: ReplicaMeta,
    /// A row could not be read: what the core made of it must not be carried out.
    failed: Cell<bool>,
}

impl<E: Engine> ActiveRows<E> {
    pub(super) fn new(engine: Arc<E>, partition: u64, order: Order, meta: ReplicaMeta) -> Self {
        Self {
            engine,
            partition,
            order,
            pending: VecDeque::new(),
            newest: BTreeMap::new(),
            durable_meta: meta,
            failed: Cell::new(false),
        }
    }

    /// Shows what was stored under this token from now on.
    pub(super) fn keep(&mut self, token: u64, index: u64, stored: Stored) {
        if let Stored::Row(key, value) = &stored {
            let place = (leaf_of(key), key.clone());
            if value.is_some() {
                self.order.insert(place);
            } else {
                self.order.remove(&place);
            }
            self.newest.insert(key.clone(), (token, value.clone()));
        }
        self.pending.push_back(Pending {
            token,
            index,
            stored,
        });
    }

    /// Everything up to this token is in the journal: it goes to the engine.
    ///
    /// # Errors
    /// If the engine fails; the replica cannot go on.
    pub(super) fn synced(&mut self, token: u64) -> Result<(), EngineError> {
        let mut stored = Vec::new();
        let mut last = None;
        while let Some(one) = self.pending.pop_front_if(|one| one.token <= token) {
            if let Stored::Row(key, _) = &one.stored
                && self.newest.get(key).is_some_and(|(of, _)| *of == one.token)
            {
                self.newest.remove(key);
            }
            last = Some(one.index);
            stored.push(one.stored);
        }
        let Some(index) = last else { return Ok(()) };
        if let Some(meta) = apply(self.engine.as_ref(), self.partition, index, stored)? {
            self.durable_meta = meta;
        }
        Ok(())
    }

    /// What a checkpoint keeps beside the rows that are in the engine now.
    pub(super) fn durable_meta(&self) -> &ReplicaMeta {
        &self.durable_meta
    }

    /// Whether a row could not be read.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// How many keys there are, and whether this is one of them.
    pub(super) fn keys_with(&self, key: &Bytes) -> (usize, bool) {
        let is_known = self.order.contains(&(leaf_of(key), key.clone()));
        (self.order.len(), is_known)
    }

    fn bytes_of(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.newest.get(key) {
            Some((_, value)) => Ok(value.clone()),
            None => self.engine.get(self.partition, key),
        }
    }
}

impl<E: Engine> Rows for ActiveRows<E> {
    fn row(&self, key: &[u8]) -> Row {
        let failed = |error: &dyn std::error::Error| {
            tracing::error!(partition = self.partition, %error, "a row could not be read");
            self.failed.set(true);
            Row::default()
        };
        match self.bytes_of(key) {
            Ok(None) => Row::default(),
            Ok(Some(bytes)) => codec::decode_row(bytes).unwrap_or_else(|error| failed(&error)),
            Err(error) => failed(&error),
        }
    }

    fn rows_behind(&self, place: &Place, rows_max: usize) -> Vec<(Bytes, Row)> {
        // An empty key stands before all others.
        let from = match &place.key {
            Some(key) => Bound::Excluded((place.leaf, key.clone())),
            None => Bound::Included((place.leaf, Bytes::new())),
        };
        let behind = self.order.range((from, Bound::Unbounded)).take(rows_max);
        behind
            .map(|(_, key)| (key.clone(), self.row(key)))
            .collect()
    }
}
