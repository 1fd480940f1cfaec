//! The files of a journal, behind a trait so that tests can make them fail. Knows nothing of
//! what is in them.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::buffer::AlignedBuffer;
use super::format::BLOCK;

/// In the name of a file that is not finished; removed when the journal is opened.
const UNFINISHED: &str = ".tmp";
/// How much of a new file is written at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// Where a journal's files are.
#[cfg_attr(
    not(any(test, feature = "testing")),
    expect(unreachable_pub, reason = "reached through `testing`")
)]
pub trait Disk: fmt::Debug + Send + Sync {
    /// The files there are; unfinished ones are removed.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for durable writes.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>>;

    /// Makes a file of zeros; it and its name are durable when this returns. `pause` is
    /// called after each piece.
    fn create(&self, name: &str, bytes: u64, pause: &dyn Fn()) -> io::Result<Arc<dyn SegmentFile>>;

    /// Makes a small file with this content, durably.
    fn write_small(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// The content of a small file; `None` if there is none.
    fn read_small(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file of a journal. Reads and writes are of whole, aligned blocks in aligned memory.
#[cfg_attr(
    not(any(test, feature = "testing")),
    expect(unreachable_pub, reason = "reached through `testing`")
)]
pub trait SegmentFile: fmt::Debug + Send + Sync {
    /// Writes within the length of the file; durable when this returns.
    fn write_durable(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Fills `bytes`.
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;

    /// The length of the file.
    fn bytes(&self) -> io::Result<u64>;
}

/// A directory of the operating system.
#[derive(Debug)]
pub(super) struct RealDisk {
    path: PathBuf,
    /// Whether files can be written past the page cache. Where not (tmpfs), a write is
    /// followed by fdatasync; it is as durable, and slower.
    direct: bool,
}

impl RealDisk {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let direct = supports_direct(path);
        if !direct {
            tracing::info!(path = %path.display(), "no O_DIRECT here: using fdatasync");
        }
        Ok(Self {
            path: path.to_owned(),
            direct,
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn write_zeros(&self, path: &Path, bytes: u64, pause: &dyn Fn()) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        if self.direct {
            options.custom_flags(OFlags::DIRECT.bits().cast_signed());
        }
        let file = options.open(path)?;
        let piece = AlignedBuffer::zeroed(PIECE_BYTES);
        let mut at = 0;
        while at < bytes {
            let length = usize::try_from(bytes - at)
                .unwrap_or(usize::MAX)
                .min(PIECE_BYTES);
            file.write_all_at(piece.slice(0..length), at)?;
            if !self.direct {
                file.sync_data()?;
            }
            at += length as u64;
            pause();
        }
        file.sync_all()
    }

    fn real_file(&self, file: File) -> Arc<dyn SegmentFile> {
        Arc::new(RealFile {
            file,
            direct: self.direct,
        })
    }
}

/// Tries it on a file: opening alone is not refused everywhere where writing is.
fn supports_direct(path: &Path) -> bool {
    let probe = path.join(format!("probe{UNFINISHED}"));
    let attempt = || -> io::Result<()> {
        let mut options = direct_options();
        let file = options.create(true).truncate(true).open(&probe)?;
        let mut block = AlignedBuffer::zeroed(BLOCK);
        file.write_all_at(block.bytes(), 0)?;
        file.read_exact_at(block.bytes_mut(), 0)
    };
    let supported = attempt().is_ok();
    let _ = fs::remove_file(&probe);
    supported
}

/// `rustix` gives `O_DSYNC` the value of `O_SYNC`, which would also write the file's times.
const DSYNC: i32 = 0o10000;

fn direct_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let direct = OFlags::DIRECT.bits().cast_signed();
    options.read(true).write(true).custom_flags(direct | DSYNC);
    options
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            } else {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let path = self.path.join(name);
        let file = if self.direct {
            direct_options().open(path)?
        } else {
            OpenOptions::new().read(true).write(true).open(path)?
        };
        Ok(self.real_file(file))
    }

    fn create(&self, name: &str, bytes: u64, pause: &dyn Fn()) -> io::Result<Arc<dyn SegmentFile>> {
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        if let Err(error) = self.write_zeros(&unfinished, bytes, pause) {
            // Gives the space back where the disk was full.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        fs::rename(&unfinished, self.path.join(name))?;
        self.sync_directory()?;
        self.open(name)
    }

    fn write_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        let mut file = File::create(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path.join(name))?;
        self.sync_directory()
    }

    fn read_small(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))?;
        self.sync_directory()
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// Opened with `O_DIRECT` and `O_DSYNC`.
    direct: bool,
}

impl SegmentFile for RealFile {
    fn write_durable(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        if self.direct {
            Ok(())
        } else {
            self.file.sync_data()
        }
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
