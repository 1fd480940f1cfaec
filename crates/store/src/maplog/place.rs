//! Where the file of a raft log is, behind traits so that tests can make it fail. Knows nothing
//! of what is in it.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The one place of a raft log's file.
pub trait LogPlace: fmt::Debug + Send + Sync {
    /// What errors name.
    fn path(&self) -> &Path;

    /// Opens the file; `None` if there is none. While someone else has it open, the error is
    /// [`io::ErrorKind::WouldBlock`].
    fn open(&self) -> io::Result<Option<Box<dyn LogBytes>>>;

    /// Puts a file with this content in the place of what is there, as one; durable on return.
    fn replace(&self, content: &[u8]) -> io::Result<Box<dyn LogBytes>>;
}

/// The open file of a raft log.
pub trait LogBytes: fmt::Debug + Send {
    /// All of it.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// Writes within the file or on from its end; durable only after [`sync`](Self::sync).
    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes all that was written durable, the length included.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file of the operating system.
#[derive(Debug)]
pub struct RealPlace {
    path: PathBuf,
}

impl RealPlace {
    /// The file at this path, in a directory that exists.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl LogPlace for RealPlace {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> io::Result<Option<Box<dyn LogBytes>>> {
        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        lock(&file)?;
        Ok(Some(Box::new(RealBytes(file))))
    }

    fn replace(&self, content: &[u8]) -> io::Result<Box<dyn LogBytes>> {
        let aside = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let mut file = options.open(&aside)?;
        lock(&file)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&aside, &self.path)?;
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        File::open(directory)?.sync_all()?;
        Ok(Box::new(RealBytes(file)))
    }
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(source) => source,
    })
}

#[derive(Debug)]
struct RealBytes(File);

impl LogBytes for RealBytes {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// A file that is laid out before there is one.
#[derive(Debug, Default)]
pub(super) struct Draft(Vec<u8>);

impl LogBytes for Draft {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let end = at + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
