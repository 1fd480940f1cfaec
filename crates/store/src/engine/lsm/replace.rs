//! Building another content of a partition aside and switching it in by one rename. Knows
//! nothing of where the content comes from.
//!
//! The new content has a directory of a greater generation; while it is built its name ends
//! in `.new`. The rename makes it the one that counts, and the older one a leftover.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::SharedEngine;
use super::files::{UNFINISHED, io_at};
use super::live::Live;
use crate::engine::{EngineError, Replacement, RowWrite};

/// Flushed when the memtable of a content under construction is larger; bounds its memory.
const MEMTABLE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct LsmReplacement {
    partition: u64,
    shared: Arc<SharedEngine>,
    /// Where the content goes when it is finished.
    target: PathBuf,
    /// Where it is built, until it is finished.
    building: PathBuf,
    live: Option<Live>,
}

impl LsmReplacement {
    pub(super) fn begin(partition: u64, shared: Arc<SharedEngine>) -> Result<Self, EngineError> {
        let target = shared.next_directory(partition);
        let building = target.with_added_extension(UNFINISHED);
        let live = shared.make_empty(partition, building.clone())?;
        live.made(&shared)?;
        Ok(Self {
            partition,
            shared,
            target,
            building,
            live: Some(live),
        })
    }

    fn live(&self) -> Result<&Live, EngineError> {
        self.live.as_ref().ok_or(EngineError::NoPartition {
            partition: self.partition,
        })
    }

    fn flush_if_large(&self) -> Result<(), EngineError> {
        let live = self.live()?;
        if live.view().unflushed_bytes() > MEMTABLE_BYTES_MAX {
            live.seal(&[])?;
            live.flush(&self.shared)?;
        }
        Ok(())
    }
}

impl Replacement for LsmReplacement {
    fn put(&mut self, rows: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.live()?.put_rows(rows)?;
        self.flush_if_large()
    }

    fn put_side(&mut self, side: &[RowWrite<'_>]) -> Result<(), EngineError> {
        self.live()?.put_side(side)?;
        self.flush_if_large()
    }

    fn finish(mut self: Box<Self>, index: u64) -> Result<(), EngineError> {
        let live = self.live()?;
        live.set_applied(index);
        live.seal(&[])?;
        live.flush(&self.shared)?;
        // Closed first: a tree remembers the path of its files.
        self.live = None;
        fs::rename(&self.building, &self.target).map_err(|source| io_at(&self.building, source))?;
        self.shared.sync_directory()?;
        let live = self.shared.open_tree(self.partition, self.target.clone())?;
        self.shared.switch(self.partition, live);
        Ok(())
    }
}

impl Drop for LsmReplacement {
    fn drop(&mut self) {
        self.live = None;
        match fs::remove_dir_all(&self.building) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // The next start removes it: its name says that it is not finished.
                tracing::warn!(path = %self.building.display(), %error, "unfinished rows stay");
            }
            _ => {}
        }
    }
}
