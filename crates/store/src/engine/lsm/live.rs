//! The tree of one partition: writes, checkpoints, compaction. Knows nothing of other
//! partitions.
//!
//! A partition has files from its first checkpoint on. That is as safe as to have them sooner:
//! until then nothing of them was synced, so a start counted on none and removed them, and
//! replayed the journal, which keeps every entry until a checkpoint has it. It spares a node
//! with many partitions that nobody writes to all of their directories, at each start anew.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, Config, InternalValue, Slice, Tree, ValueType};

use super::blank::{self, Blank};
use super::files::tree_error;
use super::late::{self, LateTree};
use super::shared::SharedEngine;
use super::view::View;
use crate::engine::{EngineError, KEY_BYTES_MAX, RowWrite, check_row_key};

/// Where the applied index is kept in a tree.
const APPLIED_KEY: [u8; 2] = [0x00, b'a'];
/// In front of the names of side records.
pub(super) const SIDE_PREFIX: u8 = 0x01;

/// Above all numbers that the tree counts its versions with: those start at 0 at every open.
const SEQUENCE_FIRST: u64 = 1 << 32;

/// At most so many compactions in one call of `maintain`, so that a caller can stop between.
const COMPACTIONS_MAX: usize = 4;

/// The tree of a partition, in use or under construction.
pub(in crate::engine) struct Live {
    pub(super) partition: u64,
    pub(super) path: PathBuf,
    tree: LateTree,
    view: RwLock<Arc<View>>,
    write: Mutex<WriteState>,
    pub(super) applied: AtomicU64,
    pub(super) checkpointed: AtomicU64,
    /// One flush, compaction or removal at a time.
    housekeeping: Mutex<()>,
    /// The directory's entry in its parent is not yet synced.
    entry_unsynced: AtomicBool,
    failed: AtomicBool,
}

/// Held by whoever writes, and by whoever wants to read between whole batches.
pub(super) struct WriteState {
    pub(super) sequence_next: u64,
    /// Something was written since the last seal.
    dirty: bool,
    /// The applied index and the next sequence number of the last seal, until it is flushed.
    sealed: Option<(u64, u64)>,
}

impl Live {
    /// Opens the tree that is on the disk.
    pub(super) fn open(partition: u64, path: PathBuf, config: Config) -> Result<Self, EngineError> {
        let tree = blank::open(&path, config)?;
        let highest = tree.get_highest_persisted_seqno().unwrap_or(0);
        let sequence = highest.max(SEQUENCE_FIRST) + 1;
        let view = View::of(&tree, Vec::new());
        let live = Self::new(partition, path, LateTree::Found(tree), view, sequence);
        let applied = live.stored_index()?;
        live.applied.store(applied, Ordering::Release);
        live.checkpointed.store(applied, Ordering::Release);
        Ok(live)
    }

    /// One that has no files yet, to be made at this path.
    pub(super) fn empty(partition: u64, path: PathBuf, pattern: Arc<Blank>) -> Self {
        let sequence = SEQUENCE_FIRST + 1;
        let view = View::without_files(&pattern.tree, late::memtable(sequence), None);
        Self::new(partition, path, LateTree::late(pattern), view, sequence)
    }

    fn new(partition: u64, path: PathBuf, tree: LateTree, view: View, sequence_next: u64) -> Self {
        Self {
            partition,
            view: RwLock::new(Arc::new(view)),
            entry_unsynced: AtomicBool::new(tree.made().is_err()),
            tree,
            write: Mutex::new(WriteState {
                sequence_next,
                dirty: false,
                sealed: None,
            }),
            applied: AtomicU64::new(0),
            checkpointed: AtomicU64::new(0),
            housekeeping: Mutex::default(),
            failed: AtomicBool::new(false),
            path,
        }
    }

    /// The tree, whose files are made if they are not there; under the lock of housekeeping. What
    /// a call left that failed midway is written over.
    pub(super) fn made(&self, shared: &SharedEngine) -> Result<&Tree, EngineError> {
        let pattern = match self.tree.made() {
            Ok(tree) => return Ok(tree),
            Err(pattern) => pattern,
        };
        let tree = shared.make_files(pattern, &self.path)?;
        let _write = self.lock_write();
        let view = self.view();
        late::hand_over(&tree, &view);
        self.set_view(View::of(&tree, view.sealed().to_vec()));
        Ok(self.tree.keep(tree))
    }

    /// The partition is being removed: whoever still wants to flush it must not make its files
    /// again. Under the lock of housekeeping.
    pub(super) fn end(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn lock_write(&self) -> MutexGuard<'_, WriteState> {
        self.write.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_housekeeping(&self) -> MutexGuard<'_, ()> {
        self.housekeeping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_view(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.view().get(key).map_err(|error| self.error(error))
    }

    fn stored_index(&self) -> Result<u64, EngineError> {
        match self.get(&APPLIED_KEY)? {
            None => Ok(0),
            Some(value) => match <[u8; 8]>::try_from(&*value) {
                Ok(index) => Ok(u64::from_le_bytes(index)),
                Err(_) => Err(EngineError::Corrupt {
                    path: self.path.clone(),
                    reason: "an applied index that is not 8 bytes long".to_owned(),
                }),
            },
        }
    }

    pub(super) fn apply(&self, index: u64, writes: &[RowWrite<'_>]) -> Result<(), EngineError> {
        for write in writes {
            check_row_key(write.key)?;
        }
        let mut state = self.lock_write();
        let applied = self.applied.load(Ordering::Acquire);
        if index <= applied {
            return Err(EngineError::Index { index, applied });
        }
        self.insert(
            &mut state,
            writes.iter().map(|write| (write.key, write.value)),
        );
        state.dirty = true;
        self.applied.store(index, Ordering::Release);
        Ok(())
    }

    /// Inserts into the active memtable, which changes only under the lock of `state`.
    fn insert<'a>(
        &self,
        state: &mut WriteState,
        writes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        let view = self.view();
        for (key, value) in writes {
            let sequence = state.sequence_next;
            let key = Slice::from(key);
            view.active.insert(match value {
                Some(value) => {
                    InternalValue::from_components(key, value, sequence, ValueType::Value)
                }
                None => InternalValue::new_tombstone(key, sequence),
            });
            state.sequence_next = sequence + 1;
        }
    }

    /// Adds rows below the applied index; for a content under construction.
    pub(super) fn put_rows(&self, rows: &[RowWrite<'_>]) -> Result<(), EngineError> {
        for row in rows {
            check_row_key(row.key)?;
        }
        let mut state = self.lock_write();
        state.dirty = true;
        self.insert(&mut state, rows.iter().map(|row| (row.key, row.value)));
        Ok(())
    }

    pub(super) fn put_side(&self, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        check_side(side)?;
        self.put_side_locked(&mut self.lock_write(), side);
        Ok(())
    }

    fn put_side_locked(&self, state: &mut WriteState, side: &[RowWrite<'_>]) {
        let mut name = Vec::new();
        for record in side {
            name.clear();
            name.push(SIDE_PREFIX);
            name.extend_from_slice(record.key);
            self.insert(state, std::iter::once((&name[..], record.value)));
            state.dirty = true;
        }
    }

    pub(super) fn set_applied(&self, index: u64) {
        let mut state = self.lock_write();
        state.dirty = true;
        self.applied.store(index, Ordering::Release);
    }

    /// Draws the line of the next checkpoint; see the trait. Waits for no disk, unless a flush
    /// or compaction of this very partition is just writing its manifest.
    pub(super) fn seal(&self, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        check_side(side)?;
        self.check_usable()?;
        let mut state = self.lock_write();
        self.put_side_locked(&mut state, side);
        if !state.dirty {
            return Ok(());
        }
        let index = self.applied.load(Ordering::Acquire);
        let stored = index.to_le_bytes();
        self.insert(
            &mut state,
            std::iter::once((&APPLIED_KEY[..], Some(&stored[..]))),
        );
        let view = self.view();
        self.set_view(match self.tree.made() {
            Ok(tree) => {
                tree.rotate_memtable();
                View::of(tree, view.sealed_with_active())
            }
            Err(pattern) => late::seal(pattern, &view, state.sequence_next),
        });
        state.dirty = false;
        state.sealed = Some((index, state.sequence_next));
        Ok(())
    }

    /// Makes what was sealed durable and answers the index of the checkpoint that then stands.
    pub(super) fn flush(&self, shared: &SharedEngine) -> Result<u64, EngineError> {
        let _housekeeping = self.lock_housekeeping();
        self.check_usable()?;
        if self.lock_write().sealed.is_none() {
            return Ok(self.checkpointed.load(Ordering::Acquire));
        }
        let tree = self.made(shared).map_err(|error| self.fail(error))?;
        let (sealed, flushing) = {
            let mut state = self.lock_write();
            (state.sealed.take(), self.view().sealed().to_vec())
        };
        let Some((index, watermark)) = sealed else {
            return Ok(self.checkpointed.load(Ordering::Acquire));
        };
        let flush = || {
            let lock = tree.get_flush_lock();
            tree.flush(&lock, watermark)
        };
        if let Err(error) = flush() {
            // The memtables are still sealed: the next flush writes them.
            let mut state = self.lock_write();
            state.sealed = state.sealed.or(Some((index, watermark)));
            return Err(self.fail(self.error(error)));
        }
        self.renew_view(tree, &flushing);
        if self.entry_unsynced.load(Ordering::Acquire) {
            let synced = shared.sync_directory();
            synced.inspect_err(|_| self.failed.store(true, Ordering::Release))?;
            self.entry_unsynced.store(false, Ordering::Release);
        }
        self.checkpointed.store(index, Ordering::Release);
        Ok(index)
    }

    /// Takes a new view after tables changed; the memtables in `flushed` are among them now.
    fn renew_view(&self, tree: &Tree, flushed: &[Arc<lsm_tree::Memtable>]) {
        // No seal may come between: it also sets the view.
        let _write = self.lock_write();
        let mut sealed = self.view().sealed().to_vec();
        sealed.retain(|memtable| !flushed.iter().any(|done| Arc::ptr_eq(done, memtable)));
        self.set_view(View::of(tree, sealed));
    }

    pub(super) fn compact(&self, strategy: &Arc<Leveled>) -> Result<bool, EngineError> {
        let _housekeeping = self.lock_housekeeping();
        self.check_usable()?;
        let Ok(tree) = self.tree.made() else {
            return Ok(false);
        };
        for _ in 0..COMPACTIONS_MAX {
            let before = tree.current_version().id();
            let watermark = self.lock_write().sequence_next;
            let strategy = Arc::clone(strategy);
            tree.compact(strategy, watermark)
                .map_err(|error| self.fail(self.error(error)))?;
            if tree.current_version().id() == before {
                return Ok(false);
            }
            self.renew_view(tree, &[]);
        }
        Ok(true)
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.tree.made().map_or(0, |tree| tree.disk_space())
    }

    /// After a failed write the manifest on disk is unknown, so nothing is written any more. A
    /// full disk is told before the manifest is replaced: the old one stands, and what was written
    /// of the new one is written anew.
    fn fail(&self, error: EngineError) -> EngineError {
        if !error.is_disk_full() {
            self.failed.store(true, Ordering::Release);
        }
        error
    }

    fn check_usable(&self) -> Result<(), EngineError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(EngineError::Poisoned {
                partition: self.partition,
            });
        }
        Ok(())
    }

    pub(super) fn error(&self, error: lsm_tree::Error) -> EngineError {
        tree_error(&self.path, error)
    }
}

fn check_side(side: &[RowWrite<'_>]) -> Result<(), EngineError> {
    match side.iter().find(|record| record.key.len() >= KEY_BYTES_MAX) {
        Some(long) => Err(EngineError::InvalidKey {
            length: long.key.len(),
        }),
        None => Ok(()),
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
