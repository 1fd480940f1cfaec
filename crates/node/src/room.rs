//! Whether there is room on the disk: a mark below which new rows are refused, and a reserve file
//! that is given up before the journal, the votes and the map could find the disk full.
//!
//! Knows nothing of requests; how much is free is told to it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::FallocateFlags;
use tablestore_placement::StorageId;

/// How often the free space is looked at: the fastest disks fill a small part of a segment
/// meanwhile.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The name of the reserve in the data directory.
const RESERVE: &str = "reserve";

/// What other threads may know.
#[derive(Debug, Default)]
pub(crate) struct Room {
    full: AtomicBool,
    /// Members whose disks are full, as the controller last told.
    full_members: Mutex<BTreeSet<StorageId>>,
    /// How often any of it changed.
    changes: AtomicU64,
}

impl Room {
    /// Whether this node's disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(crate) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::AcqRel) != full {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The controller says whose disks are full.
    pub(crate) fn set_full_members(&self, members: BTreeSet<StorageId>) {
        let mut known = self.lock();
        if *known != members {
            *known = members;
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How it is, if it has changed since it was `seen`; and what to call that.
    pub(crate) fn changed(&self, seen: u64) -> Option<(u64, bool, BTreeSet<StorageId>)> {
        let changes = self.changes.load(Ordering::Acquire);
        (changes != seen).then(|| (changes, self.is_full(), self.lock().clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<StorageId>> {
        self.full_members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes free at which something is done. All follow from the size of a segment of the journal,
/// the largest thing that is ever written at once.
#[derive(Debug, Clone, Copy)]
struct Marks {
    /// The size of the reserve: the next segment, whatever else fails.
    reserve: u64,
    /// New rows are refused below this, and taken again from `accept` on.
    refuse: u64,
    accept: u64,
    /// The reserve is given up below this.
    release: u64,
}

/// What is to be done about the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Keep,
    Release,
    Make,
}

impl Marks {
    fn of(segment_bytes: u64) -> Self {
        Self {
            reserve: segment_bytes,
            refuse: segment_bytes.saturating_mul(2),
            accept: segment_bytes.saturating_mul(3),
            release: segment_bytes,
        }
    }

    /// Whether the disk counts as full now, and what to do. A reserve that is missing is not
    /// free: it is to be made first.
    fn next(&self, was_full: bool, has_reserve: bool, free: u64) -> (bool, Step) {
        let missing = if has_reserve { 0 } else { self.reserve };
        let spare = free.saturating_sub(missing);
        let full = spare < self.refuse || (was_full && spare < self.accept);
        let step = match has_reserve {
            true if free < self.release => Step::Release,
            false if spare >= self.accept => Step::Make,
            _ => Step::Keep,
        };
        (full, step)
    }
}

/// Watches the room of one data directory.
#[derive(Debug)]
pub(crate) struct Watch {
    marks: Marks,
    reserve: PathBuf,
    full: bool,
}

impl Watch {
    pub(crate) fn new(data_dir: &Path, segment_bytes: u64) -> Self {
        Self {
            marks: Marks::of(segment_bytes),
            reserve: data_dir.join(RESERVE),
            full: false,
        }
    }

    /// Looks once at how much is free; says whether the disk counts as full. What cannot be read
    /// changes nothing.
    pub(crate) fn look(&mut self, free: io::Result<u64>) -> bool {
        let free = match free {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "the free space cannot be read");
                return self.full;
            }
        };
        let has_reserve = fs::metadata(&self.reserve).is_ok_and(|m| m.len() == self.marks.reserve);
        let (full, step) = self.marks.next(self.full, has_reserve, free);
        if full != self.full {
            if full {
                tracing::error!(
                    free,
                    "the disk is full: new rows are refused, deletes go on"
                );
            } else {
                tracing::info!(free, "there is room on the disk again");
            }
        }
        self.full = full;
        let done = match step {
            Step::Keep => Ok(()),
            Step::Release => fs::remove_file(&self.reserve),
            Step::Make => self.make(),
        };
        if let Err(error) = done {
            tracing::warn!(?step, %error, "the reserve on the disk is not as it should be");
        }
        full
    }

    /// Takes the blocks without writing them; where that is not possible, by writing zeros.
    fn make(&self) -> io::Result<()> {
        let file = File::create(&self.reserve)?;
        let bytes = self.marks.reserve;
        let taken = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
        let made = match taken {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let mut zeros = io::Read::take(io::repeat(0), bytes);
                io::copy(&mut zeros, &mut &file).map(drop)
            }
            Err(error) => Err(error.into()),
        };
        if made.is_err() {
            fs::remove_file(&self.reserve)?;
        }
        made.and_then(|()| file.sync_all())
    }
}

/// Gives the reserve up at once if the disk has less than that left: a start writes before anybody
/// watches.
pub(crate) fn make_room(data_dir: &Path, segment_bytes: u64) {
    let reserve = data_dir.join(RESERVE);
    let is_short = free_bytes(data_dir).is_ok_and(|free| free < Marks::of(segment_bytes).release);
    if !is_short || !reserve.exists() {
        return;
    }
    match fs::remove_file(&reserve) {
        Ok(()) => tracing::warn!("the disk is full: the reserve was given up for this start"),
        Err(error) => tracing::warn!(%error, "the reserve on the disk cannot be given up"),
    }
}

/// The bytes that the file system of a directory has left for this process.
pub(crate) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    const SEGMENT: u64 = 1 << 16;

    #[test]
    fn o14_a_disk_that_fills_refuses_then_gives_the_reserve_and_recovers_in_that_order() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = directory.path().join(RESERVE);
        let mut watch = Watch::new(directory.path(), SEGMENT);
        assert!(!watch.look(Ok(100 * SEGMENT)));
        assert_eq!(fs::metadata(&reserve).unwrap().len(), SEGMENT);
        assert!(!watch.look(Ok(2 * SEGMENT)));
        assert!(watch.look(Ok(2 * SEGMENT - 1)), "refuses below the mark");
        assert!(reserve.exists());
        assert!(
            watch.look(Err(io::Error::other("no disk"))),
            "nothing is known, nothing changes"
        );
        assert!(watch.look(Ok(SEGMENT - 1)));
        assert!(!reserve.exists(), "the journal may have it");
        // What the reserve gave back is no room for new rows.
        assert!(watch.look(Ok(2 * SEGMENT)));
        assert!(watch.look(Ok(3 * SEGMENT)));
        assert!(!reserve.exists());
        assert!(!watch.look(Ok(4 * SEGMENT)), "room again");
        assert!(reserve.exists(), "and the reserve is made anew");
        assert!(!watch.look(Ok(3 * SEGMENT)));
    }

    #[test]
    fn o14_a_node_without_a_reserve_counts_it_as_taken() {
        let marks = Marks::of(SEGMENT);
        assert_eq!(
            marks.next(false, false, 3 * SEGMENT - 1),
            (true, Step::Keep)
        );
        assert_eq!(marks.next(false, false, 3 * SEGMENT), (false, Step::Keep));
        assert_eq!(marks.next(false, false, 4 * SEGMENT), (false, Step::Make));
        assert_eq!(marks.next(true, true, 3 * SEGMENT - 1), (true, Step::Keep));
    }

    #[test]
    fn whoever_asks_learns_of_each_change_once() {
        let room = Room::default();
        assert_eq!(room.changed(0), None);
        room.set_full(false);
        room.set_full_members([StorageId(2)].into());
        let (seen, full, members) = room.changed(0).unwrap();
        assert_eq!((full, members), (false, [StorageId(2)].into()));
        room.set_full_members([StorageId(2)].into());
        assert_eq!(room.changed(seen), None);
        room.set_full(true);
        assert!(room.changed(seen).unwrap().1);
    }
}
