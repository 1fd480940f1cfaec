//! The raft log file on disk: open and replay, append, sync, rewrite.
//!
//! Space is filled with zeros in chunks ahead of use, so that a sync has no change of the file's
//! size to record, and the header says how far: a file that is shorter was cut. Knows nothing of
//! threads: one owner at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::LogOpenError;
use super::extent::Extent;
use super::frame::{
    self, FILE_FORMAT, FILE_FORMAT_WITHOUT_EXTENT, FILE_HEADER_BYTES, FILE_MARK_BYTES,
};
use super::record::{self, LogContents};

/// Zeros are written ahead in pieces of this size.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;
/// Zeros left below this are replenished when there is nothing else to do.
const SPARE_BYTES_MIN: u64 = CHUNK_BYTES / 4;

/// Whether the directory must have a log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This may be the first start of the node.
    Perhaps,
    /// The node has run before: a log that is missing was lost.
    Surely,
}

/// The open file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Where the next frame goes.
    end: u64,
    /// Up to where zeros have been written.
    filled: u64,
    /// Up to where the content is durable.
    synced_to: u64,
    /// What the header says, durably after the next sync.
    extent: Extent,
    sequence: u64,
    faults: Faults,
}

/// Failures that tests inject.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    #[cfg(test)]
    pub(super) sync_fails: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Faults {
    fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if self.sync_fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        file.sync_data()
    }
}

impl LogFile {
    /// Opens `path` and replays it, or creates it.
    /// Before it changes anything it lets `check` refuse what was read.
    pub(super) fn open<E: From<LogOpenError>>(
        path: &Path,
        expected: Expected,
        faults: Faults,
        check: impl FnOnce(&LogContents) -> Result<(), E>,
    ) -> Result<(Self, LogContents), E> {
        let io_error = |source| LogOpenError::Io {
            file: path.to_owned(),
            source,
        };
        if !path.exists() {
            if expected == Expected::Surely {
                let file = path.to_owned();
                return Err(LogOpenError::Missing { file }.into());
            }
            let log = Self::create(path, &[], 0, faults).map_err(io_error)?;
            return Ok((log, LogContents::default()));
        }
        let mut file = open_for_writing(path).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let file = path.to_owned();
                return Err(LogOpenError::InUse { file }.into());
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source).into()),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        let Found {
            format,
            extent,
            contents,
            end,
            sequence,
        } = Found::read(path, &bytes)?;
        check(&contents)?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            end: end as u64,
            filled: bytes.len() as u64,
            synced_to: end as u64,
            extent,
            sequence,
            faults,
        };
        let settled = if format == FILE_FORMAT_WITHOUT_EXTENT {
            contents
                .encode_whole()
                .and_then(|payload| log.rewrite(&payload))
        } else {
            log.settle(&bytes)
        };
        settled.map_err(io_error)?;
        Ok((log, contents))
    }

    fn create(path: &Path, payload: &[u8], sequence: u64, faults: Faults) -> io::Result<Self> {
        let aside = path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&aside)?;
        file.try_lock()?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            end: 0,
            filled: 0,
            synced_to: 0,
            extent: Extent::default(),
            sequence,
            faults,
        };
        log.write(&frame::file_header())?;
        if !payload.is_empty() {
            log.append(payload)?;
        }
        // Nobody sees the file before the rename, and then all of it is durable.
        log.synced_to = log.end;
        log.state_extent()?;
        log.file.sync_all()?;
        std::fs::rename(&aside, path)?;
        sync_directory(path)?;
        Ok(log)
    }

    /// After a replay: a torn write is erased, and what was read made durable, since it may have
    /// been in the page cache only.
    fn settle(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end as usize;
        if bytes[end..].iter().any(|byte| *byte != 0) {
            self.erase_torn_tail(end, bytes.len())?;
        } else {
            self.file.sync_all()?;
        }
        self.state_extent()?;
        self.file.sync_data()
    }

    /// Writes into the header how long the file is and up to where it is durable.
    fn state_extent(&mut self) -> io::Result<()> {
        let next = Extent {
            number: self.extent.number + 1,
            filled: self.filled,
            durable: self.synced_to,
        };
        let (at, bytes) = next.encode();
        self.file.write_all_at(&bytes, at)?;
        self.extent = next;
        Ok(())
    }

    /// A write that a crash tore must not shine through later frames.
    fn erase_torn_tail(&self, end: usize, file_bytes: usize) -> io::Result<()> {
        tracing::info!(file = %self.path.display(), at = end, "erased a torn write");
        self.file
            .write_all_at(&vec![0; file_bytes - end], end as u64)?;
        self.file.sync_data()
    }

    /// Writes one frame; durable only after [`LogFile::sync`].
    pub(super) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let frame = frame::encode(self.sequence, self.synced_to, payload);
        self.sequence += 1;
        self.write(&frame)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end + bytes.len() as u64;
        while self.filled < end {
            self.fill_chunk()?;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end = end;
        Ok(())
    }

    fn fill_chunk(&mut self) -> io::Result<()> {
        self.file
            .write_all_at(&vec![0; CHUNK_BYTES as usize], self.filled)?;
        self.file.sync_all()?;
        self.filled += CHUNK_BYTES;
        // Durable with the next sync, before which nothing in the new chunk is acknowledged.
        self.state_extent()
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.faults.sync(&self.file)?;
        self.synced_to = self.end;
        Ok(())
    }

    /// Writes zeros ahead if few are left, and notes what is durable; for idle moments.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        if self.filled - self.end < SPARE_BYTES_MIN {
            self.fill_chunk()?;
        }
        if self.extent.durable < self.synced_to {
            self.state_extent()?;
            self.sync()?;
        }
        Ok(())
    }

    /// Notes that everything written is durable; for the end of the node.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.sync()?;
        self.rest()
    }

    /// Replaces the file by one that holds only `payload`, atomically; durable on return.
    pub(super) fn rewrite(&mut self, payload: &[u8]) -> io::Result<()> {
        *self = Self::create(&self.path, payload, self.sequence, self.faults.clone())?;
        Ok(())
    }

    /// How far the file is in use.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }
}

fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

fn corrupt(path: &Path, offset: usize, what: String) -> LogOpenError {
    LogOpenError::Corrupt {
        file: path.to_owned(),
        offset: offset as u64,
        what,
    }
}

/// What a file holds.
struct Found {
    format: u32,
    extent: Extent,
    contents: LogContents,
    /// Where the last intact frame ends.
    end: usize,
    /// The number of the next frame.
    sequence: u64,
}

impl Found {
    fn read(path: &Path, bytes: &[u8]) -> Result<Self, LogOpenError> {
        let format = match frame::read_file_header(bytes) {
            Some(format) if format <= FILE_FORMAT => format,
            Some(found) => {
                return Err(LogOpenError::NewerFormat {
                    file: path.to_owned(),
                    found,
                    supported: FILE_FORMAT,
                });
            }
            None => {
                // Files appear under this name complete, by a rename, so this is no torn start.
                let what = "the header is not that of a raft log".to_owned();
                return Err(corrupt(path, 0, what));
            }
        };
        let extent = if format == FILE_FORMAT_WITHOUT_EXTENT {
            Extent::default()
        } else {
            check_extent(path, bytes)?
        };
        let (contents, end, sequence) = replay(path, bytes, frame::header_bytes(format))?;
        if (end as u64) < extent.durable {
            let what = format!(
                "no intact write begins here, but the file was durable up to byte {}",
                extent.durable
            );
            return Err(corrupt(path, end, what));
        }
        Ok(Self {
            format,
            extent,
            contents,
            end,
            sequence,
        })
    }
}

/// What the header says of the file's length; the file must be as long.
fn check_extent(path: &Path, bytes: &[u8]) -> Result<Extent, LogOpenError> {
    let Some(extent) = Extent::newest(bytes) else {
        let what = "the header does not say how long the file is".to_owned();
        return Err(corrupt(path, bytes.len().min(FILE_MARK_BYTES), what));
    };
    let header = &bytes[..bytes.len().min(FILE_HEADER_BYTES)];
    if let Some(at) = Extent::stray_byte(header, FILE_MARK_BYTES) {
        let what = "the header is not as it was written".to_owned();
        return Err(corrupt(path, at, what));
    }
    if (bytes.len() as u64) < extent.filled {
        let what = format!(
            "the file ends here, but it was {} bytes long",
            extent.filled
        );
        return Err(corrupt(path, bytes.len(), what));
    }
    Ok(extent)
}

/// Contents, end of the last intact frame, next sequence number.
fn replay(
    path: &Path,
    bytes: &[u8],
    first: usize,
) -> Result<(LogContents, usize, u64), LogOpenError> {
    let mut contents = LogContents::default();
    let mut at = first;
    let mut sequence = None;
    while let Some(frame) = frame::decode(bytes, at) {
        if sequence.is_some_and(|due| frame.sequence != due) {
            let what = format!("write number {} is out of order", frame.sequence);
            return Err(corrupt(path, at, what));
        }
        let records = record::decode_all(frame.payload)
            .map_err(|error| corrupt(path, at, format!("unreadable record: {error}")))?;
        let bytes_each = frame.payload.len() / records.len().max(1);
        for record in records {
            contents
                .replay(record, bytes_each)
                .map_err(|what| corrupt(path, at, what))?;
        }
        sequence = Some(frame.sequence + 1);
        at += frame.bytes();
    }
    if frame::is_damaged_beyond(bytes, at) {
        let what = "an acknowledged write is unreadable".to_owned();
        return Err(corrupt(path, at, what));
    }
    Ok((contents, at, sequence.unwrap_or(0)))
}
