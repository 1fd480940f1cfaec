//! A disk in memory that fails as real ones do, one seed one run: what is not settled may be lost
//! in a crash, writes fail, go astray or rot, room runs out. Knows nothing of what is written.

mod crash;
mod log_place;
mod state;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::state::{Files, State};
use crate::journal::disk::{Disk, SegmentFile};
use crate::journal::format::BLOCK;
use crate::stopped::Notes;

/// What fails next on a [`SimDisk`], once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The bytes of the next write.
    Write,
    /// The next sync, and with it all that it was to make durable.
    Sync,
    /// The next file that is made, replaced or removed: nothing of it happens.
    Name,
}

/// A disk in memory; a cheap handle of one of its folders. Single-threaded use makes it
/// deterministic.
///
/// What is written can be read at once, but is durable only when the host says so with
/// [`settle`](Self::settle): so a sync can take time although the call that asked for it has
/// returned. A process that is killed is opened again on the same handle; a machine that loses
/// its power on what [`crash`](Self::crash) answers.
///
/// The order of writes and syncs is kept in a crash: what was written before a sync that was done
/// is whole. Folders are independent of each other, like files of different threads.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
    /// Empty, or ends with a slash.
    folder: String,
}

/// The files of a folder with those of the folders in it, as they were durable at one moment.
#[derive(Clone, Debug, Default)]
pub struct SimImage(Files);

/// A moment in the history of a disk, for [`SimDisk::settle_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimMark(u64);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(State::new(seed), String::new())
    }

    fn of(state: State, folder: String) -> Self {
        Self {
            shared: Arc::new(Mutex::new(state)),
            folder,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// A folder of this one, on the same disk. It needs not be made.
    #[must_use]
    pub fn folder(&self, name: &str) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            folder: format!("{}{name}/", self.folder),
        }
    }

    /// Whether what is synced is durable at once, without a call of [`settle`](Self::settle).
    pub fn set_prompt(&self, is_prompt: bool) {
        self.lock().is_prompt = is_prompt;
    }

    /// Now: for a sync that ends later, of what is written until now.
    #[must_use]
    pub fn mark(&self) -> SimMark {
        SimMark(self.lock().step_next)
    }

    /// What was synced in this folder until now is durable, and with it which files there are.
    /// Writes that no sync followed are not.
    pub fn settle(&self) {
        self.settle_to(self.mark());
    }

    /// The same for what was synced until then.
    pub fn settle_to(&self, mark: SimMark) {
        self.lock().settle(&self.folder, mark.0);
    }

    /// Whether something in this folder waits to be [settled](Self::settle).
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        let state = self.lock();
        let mut synced = state.steps.iter().filter(|step| step.is_synced());
        synced.any(|step| step.name.starts_with(&self.folder))
    }

    /// The whole disk as it is after a crash now, as the same folder of it. What was not settled
    /// happened up to some point; there a file or its name is there as a whole or not, and of
    /// writes that no sync followed each sector is old or new. Failures that were ordered are
    /// forgotten; the settings stay. This disk is not changed.
    #[must_use]
    pub fn crash(&self) -> Self {
        Self::of(self.lock().crash(), self.folder.clone())
    }

    /// Whether a sector that was being written at a crash may hold anything at all. The formats
    /// of journal and raft log rely on sectors that are old or new, so it is off at first: with
    /// it a crash may leave a header that is refused.
    pub fn set_garbled(&self, is_garbled: bool) {
        self.lock().is_garbled = is_garbled;
    }

    /// What is durable.
    #[must_use]
    pub fn image(&self) -> SimImage {
        let mut files = self.lock().settled();
        files.retain(|name, _| name.starts_with(&self.folder));
        SimImage(files)
    }

    /// Puts an image of this folder back, whatever was done since.
    pub fn restore(&self, image: &SimImage) {
        self.lock().restore(&self.folder, &image.0);
    }

    /// Lets something fail once, wherever on the disk it happens next. What failed to be written
    /// can be read until a crash and is gone then; later writes and syncs succeed.
    pub fn fail_next(&self, failing: Failing) {
        self.lock().failing = Some(failing);
    }

    /// Nothing that was to fail or to go astray does so any more.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.failing = None;
        state.is_misdirecting = false;
    }

    /// Whether there is no room: files that would be made or grow are refused with
    /// [`io::ErrorKind::StorageFull`].
    pub fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Flips a bit of this byte, durably. `false` if there is no such byte.
    pub fn rot(&self, name: &str, at: u64) -> bool {
        let name = self.full_name(name);
        usize::try_from(at).is_ok_and(|at| self.lock().rot(&name, at))
    }

    /// The next write, wherever on the disk, goes to another block of its file, if it has one.
    pub fn misdirect_next(&self) {
        self.lock().is_misdirecting = true;
    }

    /// Removes a file by no doing of its owner, durably. `false` if there is none.
    pub fn remove_file(&self, name: &str) -> bool {
        let name = self.full_name(name);
        self.lock().lose(&name)
    }

    /// The names of the files in this folder, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let state = self.lock();
        let names = state.files.keys();
        let names = names.filter_map(|name| name.strip_prefix(&*self.folder));
        let direct = names.filter(|name| !name.contains('/'));
        direct.map(str::to_owned).collect()
    }

    /// How much the files in this folder, and in those in it, hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let state = self.lock();
        let files = state.files.iter();
        let files = files.filter(|(name, _)| name.starts_with(&self.folder));
        files.map(|(_, content)| content.len() as u64).sum()
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let name = self.full_name(name);
        self.lock().length(&name)?;
        Ok(Arc::new(SimSegment {
            shared: Arc::clone(&self.shared),
            name,
        }))
    }

    fn create(
        &self,
        name: &str,
        bytes: u64,
        _pause: &dyn Fn(),
    ) -> io::Result<Arc<dyn SegmentFile>> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.lock()
            .put(&self.full_name(name), Some(vec![0; bytes]))?;
        self.open(name)
    }

    fn write_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.lock()
            .put(&self.full_name(name), Some(content.to_vec()))
    }

    fn read_small(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let (name, state) = (self.full_name(name), self.lock());
        match state.files.get(&name) {
            Some(content) => state.read(&name, 0, content.len()).map(Some),
            None => Ok(None),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (name, mut state) = (self.full_name(name), self.lock());
        state.length(&name)?;
        state.put(&name, None)
    }
}

impl Notes for SimDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let found = self.read_small(name)?;
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.write_small(name, content)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match Disk::remove(self, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct SimSegment {
    shared: Arc<Mutex<State>>,
    name: String,
}

impl SimSegment {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentFile for SimSegment {
    fn write_durable(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let whole = bytes.len().is_multiple_of(BLOCK) && at.is_multiple_of(BLOCK as u64);
        assert!(whole, "blocks must be whole");
        let aligned = bytes.as_ptr().align_offset(BLOCK) == 0;
        assert!(aligned, "memory must be aligned");
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let mut state = self.lock();
        let length = state.length(&self.name)?;
        assert!(at + bytes.len() <= length, "writes stay within the file");
        state.write(&self.name, at, bytes)?;
        state.sync(&self.name)
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let content = self.lock().read(&self.name, at, bytes.len())?;
        bytes.copy_from_slice(&content);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.lock().length(&self.name)? as u64)
    }
}

#[cfg(test)]
mod tests;
