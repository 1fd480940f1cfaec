//! The file of a raft log on a simulated disk. Knows nothing of what is in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SimDisk;
use super::state::State;
use crate::maplog::{LogBytes, LogPlace};

impl SimDisk {
    /// The place of a raft log's file in this folder. No other process can have it open.
    #[must_use]
    pub fn log_place(&self, name: &str) -> Arc<dyn LogPlace> {
        Arc::new(SimPlace {
            shared: Arc::clone(&self.shared),
            path: PathBuf::from(self.full_name(name)),
            name: self.full_name(name),
        })
    }
}

#[derive(Debug)]
struct SimPlace {
    shared: Arc<Mutex<State>>,
    path: PathBuf,
    name: String,
}

impl SimPlace {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> Box<dyn LogBytes> {
        Box::new(SimBytes {
            shared: Arc::clone(&self.shared),
            name: self.name.clone(),
        })
    }
}

impl LogPlace for SimPlace {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> io::Result<Option<Box<dyn LogBytes>>> {
        let is_there = self.lock().files.contains_key(&self.name);
        Ok(is_there.then(|| self.file()))
    }

    fn replace(&self, content: &[u8]) -> io::Result<Box<dyn LogBytes>> {
        self.lock().put(&self.name, Some(content.to_vec()))?;
        Ok(self.file())
    }
}

#[derive(Debug)]
struct SimBytes {
    shared: Arc<Mutex<State>>,
    name: String,
}

impl SimBytes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogBytes for SimBytes {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let state = self.lock();
        let length = state.length(&self.name)?;
        state.read(&self.name, 0, length)
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.lock().write(&self.name, at, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.lock().sync(&self.name)
    }
}
