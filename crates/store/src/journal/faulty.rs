//! A disk in memory that fails as real ones do: an error at the n-th write, a write of which
//! only some blocks arrive, writes that were reported and never arrive. Knows nothing of what
//! is written.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, SegmentFile};
use super::format::BLOCK;

/// What goes wrong at one write. After an error every further write fails too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing arrives, and the write fails.
    Error,
    /// The blocks whose bit is set arrive (bits repeat after 64), and the write fails.
    Torn(u64),
    /// Nothing arrives, and the write is reported as done; later ones arrive.
    Lost,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    writes: u64,
    fault: Option<(u64, Fault)>,
    broken: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk(Arc<Mutex<State>>);

impl FaultyDisk {
    /// The fault happens at the write with this number, counted from 0 over all files.
    pub(super) fn failing(at: u64, fault: Fault) -> Self {
        let disk = Self::default();
        disk.lock().fault = Some((at, fault));
        disk
    }

    /// The disk as it is after a crash: what arrived, and no more faults.
    pub(super) fn after_crash(&self) -> Self {
        let files = self.lock().files.clone();
        Self(Arc::new(Mutex::new(State {
            files,
            ..State::default()
        })))
    }

    pub(super) fn writes(&self) -> u64 {
        self.lock().writes
    }

    pub(super) fn edit<T>(&self, edit: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        edit(&mut self.lock().files)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken() -> io::Error {
    io::Error::other("input/output error")
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        if !self.lock().files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(FaultyFile {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn create(
        &self,
        name: &str,
        bytes: u64,
        _pause: &dyn Fn(),
    ) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.lock();
        if state.broken {
            return Err(broken());
        }
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        state.files.insert(name.to_owned(), vec![0; bytes]);
        drop(state);
        self.open(name)
    }

    fn write_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.broken {
            return Err(broken());
        }
        state.files.insert(name.to_owned(), content.to_vec());
        Ok(())
    }

    fn read_small(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.lock().files.get(name).cloned())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        if state.broken {
            return Err(broken());
        }
        state.files.remove(name);
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    name: String,
}

impl SegmentFile for FaultyFile {
    fn write_durable(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        assert_eq!(
            bytes.as_ptr().align_offset(BLOCK),
            0,
            "memory must be aligned"
        );
        assert_eq!(
            (bytes.len() % BLOCK, at % BLOCK as u64),
            (0, 0),
            "blocks must be whole"
        );
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let mut state = self.disk.lock();
        if state.broken {
            return Err(broken());
        }
        let number = state.writes;
        state.writes += 1;
        let fault = state
            .fault
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault);
        let arriving = match fault {
            None => u64::MAX,
            Some(Fault::Torn(mask)) => mask,
            Some(Fault::Error | Fault::Lost) => 0,
        };
        let file = state.files.get_mut(&self.name).ok_or_else(broken)?;
        assert!(
            at + bytes.len() <= file.len(),
            "writes stay within the file"
        );
        for (block, content) in bytes.chunks(BLOCK).enumerate() {
            if arriving & (1 << (block % 64)) != 0 {
                let at = at + block * BLOCK;
                file[at..at + BLOCK].copy_from_slice(content);
            }
        }
        match fault {
            None | Some(Fault::Lost) => Ok(()),
            Some(Fault::Error | Fault::Torn(_)) => {
                state.broken = true;
                Err(broken())
            }
        }
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let state = self.disk.lock();
        let file = state.files.get(&self.name).ok_or_else(broken)?;
        let content = file
            .get(at..at + bytes.len())
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        bytes.copy_from_slice(content);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files.get(&self.name).map_or(0, Vec::len) as u64)
    }
}
