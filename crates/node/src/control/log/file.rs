//! The raft log file on disk: open and replay, append, sync, rewrite.
//!
//! Space is filled with zeros in chunks ahead of use, so that a sync has no change of the file's
//! size to record. Knows nothing of threads: one owner at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{self, FILE_FORMAT, FILE_HEADER_BYTES};
use super::record::{self, LogContents};

/// Zeros are written ahead in pieces of this size.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;
/// Zeros left below this are replenished when there is nothing else to do.
const SPARE_BYTES_MIN: u64 = CHUNK_BYTES / 4;

/// Why the raft log could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogOpenError {
    /// The file system refused something; see the source. Correct it and start again.
    #[error("cannot use the raft log {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Someone else has the file open. Stop the other node.
    #[error("{} is in use", file.display())]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// A newer version wrote the file. Start that version.
    #[error("{} has format {found}, this version knows up to {supported}", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// Something that had been durable is damaged. The node must not go on with it: it may have
    /// promised a vote that it no longer knows. Give the node a new data directory.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
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
    /// Opens or creates `path` and replays it.
    pub(super) fn open(path: &Path, faults: Faults) -> Result<(Self, LogContents), LogOpenError> {
        let io_error = |source| LogOpenError::Io {
            file: path.to_owned(),
            source,
        };
        if !path.exists() {
            let log = Self::create(path, &[], 0, faults).map_err(io_error)?;
            return Ok((log, LogContents::default()));
        }
        let mut file = open_for_writing(path).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LogOpenError::InUse {
                    file: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        match frame::read_file_header(&bytes) {
            Some(FILE_FORMAT) => {}
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
        }
        let (contents, end, sequence) = replay(path, &bytes)?;
        let log = Self {
            path: path.to_owned(),
            file,
            end: end as u64,
            filled: bytes.len() as u64,
            synced_to: end as u64,
            sequence,
            faults,
        };
        if bytes[end..].iter().any(|byte| *byte != 0) {
            log.erase_torn_tail(end, bytes.len()).map_err(io_error)?;
        } else {
            // What was read may have been in the page cache only.
            log.file.sync_data().map_err(io_error)?;
        }
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
            sequence,
            faults,
        };
        log.write(&frame::file_header())?;
        if !payload.is_empty() {
            log.append(payload)?;
        }
        log.file.sync_all()?;
        log.synced_to = log.end;
        std::fs::rename(&aside, path)?;
        sync_directory(path)?;
        Ok(log)
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
        Ok(())
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.faults.sync(&self.file)?;
        self.synced_to = self.end;
        Ok(())
    }

    /// Writes zeros ahead if few are left; for idle moments.
    pub(super) fn replenish(&mut self) -> io::Result<()> {
        if self.filled - self.end < SPARE_BYTES_MIN {
            self.fill_chunk()?;
        }
        Ok(())
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

/// Contents, end of the last intact frame, next sequence number.
fn replay(path: &Path, bytes: &[u8]) -> Result<(LogContents, usize, u64), LogOpenError> {
    let mut contents = LogContents::default();
    let mut at = FILE_HEADER_BYTES;
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
