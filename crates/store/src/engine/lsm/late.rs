//! The tree of a partition, found on the disk or made only at the first checkpoint, which takes
//! over the memtables that were filled until then. Knows nothing of when there is a checkpoint.

use std::sync::{Arc, OnceLock};

use lsm_tree::{AbstractTree, Memtable, Tree};

use super::blank::Blank;
use super::view::View;

/// A tree that may not be there yet.
pub(super) enum LateTree {
    /// It was found on the disk.
    Found(Tree),
    /// It is made when it is needed.
    Late {
        made: OnceLock<Tree>,
        pattern: Arc<Blank>,
    },
}

impl LateTree {
    pub(super) fn late(pattern: Arc<Blank>) -> Self {
        Self::Late {
            made: OnceLock::new(),
            pattern,
        }
    }

    /// The tree, or what it is to be made from.
    pub(super) fn made(&self) -> Result<&Tree, &Blank> {
        match self {
            Self::Found(tree) => Ok(tree),
            Self::Late { made, pattern } => made.get().ok_or(pattern),
        }
    }

    /// It has been made.
    pub(super) fn keep(&self, tree: Tree) -> &Tree {
        match self {
            Self::Found(found) => found,
            Self::Late { made, .. } => made.get_or_init(|| tree),
        }
    }
}

/// A memtable for a partition without files; `sequence` is that of its first row. A tree numbers
/// its own memtables from below: from above no number is given twice.
pub(super) fn memtable(sequence: u64) -> Arc<Memtable> {
    Arc::new(Memtable::new(u64::MAX - sequence))
}

/// The view with its memtables sealed, for a partition without files. All are sealed as one: there
/// are several only where a flush failed.
pub(super) fn seal(pattern: &Blank, view: &View, sequence: u64) -> View {
    let sealed = if view.sealed().is_empty() {
        Arc::clone(&view.active)
    } else {
        let whole = Memtable::new(view.active.id());
        for memtable in view.sealed_with_active() {
            for row in memtable.iter() {
                whole.insert(row);
            }
        }
        Arc::new(whole)
    };
    View::without_files(&pattern.tree, memtable(sequence), Some(sealed))
}

/// Gives a new tree the memtables of a partition that had no files.
pub(super) fn hand_over(tree: &Tree, view: &View) {
    for sealed in view.sealed().iter().rev() {
        replace_active(tree, sealed);
        tree.rotate_memtable();
    }
    replace_active(tree, &view.active);
}

fn replace_active(tree: &Tree, memtable: &Arc<Memtable>) {
    let mut history = tree.get_version_history_lock();
    let mut latest = history.latest_version();
    latest.active_memtable = Arc::clone(memtable);
    history.replace_latest_version(latest);
}
