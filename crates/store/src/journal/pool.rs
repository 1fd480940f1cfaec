//! The files that may become the next segment: prepared ones and those that were freed.
//! Knows nothing of groups.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::book::Segment;
use super::disk::Disk;
use super::format::BLOCK;
use super::prepare::{Prepared, Preparer, file_name};

/// Who makes the next segment while the present one fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preparing {
    /// A thread.
    Beside,
    /// Nobody: it is made by whoever needs it.
    #[cfg(any(test, feature = "testing"))]
    WhenNeeded,
}

#[derive(Debug)]
pub(super) struct Pool {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    segment_bytes: u64,
    free: Vec<Arc<Segment>>,
    preparer: Option<Preparer>,
    file_next: u32,
    /// How often a segment was not ready when it was needed.
    pub(super) waited: u64,
}

impl Pool {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        segment_bytes: u64,
        free: Vec<Arc<Segment>>,
        file_next: u32,
        preparing: Preparing,
    ) -> Self {
        let preparer = match preparing {
            Preparing::Beside => start_preparer(&disk),
            #[cfg(any(test, feature = "testing"))]
            Preparing::WhenNeeded => None,
        };
        Self {
            disk,
            directory,
            segment_bytes,
            free,
            preparer,
            file_next,
            waited: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.free.len()
    }

    /// Takes back a segment that nothing needs any more.
    pub(super) fn add(&mut self, segment: Arc<Segment>) {
        self.free.push(segment);
    }

    /// A file of at least this size, which the caller gives a generation.
    pub(super) fn take(&mut self, bytes: u64) -> io::Result<Segment> {
        let ready = self.preparer.as_mut().and_then(Preparer::poll);
        self.add_prepared(ready);
        if let Some(found) = self.take_free(bytes) {
            return Ok(found);
        }
        if self.preparer.as_ref().is_some_and(Preparer::is_busy) {
            self.waited += 1;
            let ready = self.preparer.as_mut().and_then(Preparer::wait);
            self.add_prepared(ready);
            if let Some(found) = self.take_free(bytes) {
                return Ok(found);
            }
        }
        self.make(bytes.next_multiple_of(BLOCK as u64).max(self.segment_bytes))
    }

    fn make(&mut self, bytes: u64) -> io::Result<Segment> {
        let name = file_name(self.file_next);
        let made = Prepared {
            file_number: self.file_next,
            file: self.disk.create(&name, bytes, &|| ())?,
            bytes,
        };
        self.file_next += 1;
        Ok(self.segment(made))
    }

    /// Makes a free segment now, unless there is one or it is being prepared.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn prepare_now(&mut self) -> io::Result<()> {
        if !self.has_free() && self.preparer.is_none() {
            let made = self.make(self.segment_bytes)?;
            self.free.push(Arc::new(made));
        }
        Ok(())
    }

    fn has_free(&self) -> bool {
        let bytes = self.segment_bytes;
        self.free.iter().any(|segment| segment.bytes >= bytes)
    }

    /// A free file that is large enough and that nobody reads.
    fn take_free(&mut self, bytes: u64) -> Option<Segment> {
        let bytes = bytes.max(self.segment_bytes);
        let fits = |free: &Arc<Segment>| free.bytes >= bytes && Arc::strong_count(free) == 1;
        let at = self.free.iter().position(fits)?;
        Arc::into_inner(self.free.swap_remove(at))
    }

    fn add_prepared(&mut self, result: Option<io::Result<Prepared>>) {
        match result {
            None => {}
            Some(Ok(prepared)) => self.free.push(Arc::new(self.segment(prepared))),
            // Tried once more when a segment is needed; then it counts.
            Some(Err(error)) => tracing::warn!(%error, "cannot prepare a segment"),
        }
    }

    fn segment(
        &self,
        Prepared {
            file_number,
            file,
            bytes,
        }: Prepared,
    ) -> Segment {
        let path = self.directory.join(file_name(file_number));
        Segment {
            path,
            file_number,
            file,
            generation: 0,
            bytes,
        }
    }

    /// Sees to it that there is a free segment when this one is full.
    pub(super) fn prepare_next(&mut self) {
        if self.has_free() {
            return;
        }
        if let Some(preparer) = &mut self.preparer
            && !preparer.is_busy()
        {
            preparer.request(self.file_next, self.segment_bytes);
            self.file_next += 1;
        }
    }

    /// Removes free files that are too small to be used again, such as the first one, and those
    /// beyond so many: what a burst left behind. The newest header must no longer name any of them.
    pub(super) fn drop_surplus(&mut self, kept_max: usize) {
        let (bytes, disk) = (self.segment_bytes, &self.disk);
        let mut kept = 0;
        self.free.retain(|segment| {
            let is_read = Arc::strong_count(segment) > 1;
            let is_kept = is_read || (segment.bytes >= bytes && kept < kept_max);
            kept += usize::from(is_kept);
            if !is_kept && let Err(error) = disk.remove(&file_name(segment.file_number)) {
                tracing::warn!(path = %segment.path.display(), %error, "a free segment stays");
            }
            is_kept
        });
    }
}

fn start_preparer(disk: &Arc<dyn Disk>) -> Option<Preparer> {
    match Preparer::start(Arc::clone(disk)) {
        Ok(preparer) => Some(preparer),
        Err(error) => {
            tracing::warn!(%error, "no thread to prepare segments: commits will wait for them");
            None
        }
    }
}
