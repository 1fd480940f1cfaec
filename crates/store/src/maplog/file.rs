//! The raft log file: open and replay, append, sync, rewrite.
//!
//! Space is filled with zeros in chunks ahead of use, so that a sync has no change of the file's
//! size to record, and the header says how far: a file that is shorter was cut. Knows nothing of
//! threads: one owner at a time.

use std::io;
use std::sync::Arc;

use super::LogSettings;
use super::contents::LogContents;
use super::entry::Entry;
use super::error::LogOpenError;
use super::extent::Extent;
use super::found::Found;
use super::frame::{self, FILE_FORMAT_WITHOUT_EXTENT, FILE_HEADER_BYTES};
use super::log::MapLog;
use super::place::{Draft, LogBytes, LogPlace};

/// Whether the directory must have a log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This may be the first start of the node.
    Perhaps,
    /// The node has run before: a log that is missing was lost.
    Surely,
}

/// The open file of a log. After a failure it does nothing any more but answer with it: a sync
/// that failed once cannot be repeated (what it was to write may be gone).
#[derive(Debug)]
pub struct LogFile {
    place: Arc<dyn LogPlace>,
    file: Box<dyn LogBytes>,
    chunk_bytes: u64,
    /// Where the next frame goes.
    end: u64,
    /// Up to where zeros have been written.
    filled: u64,
    /// Up to where the content is durable.
    synced_to: u64,
    /// What the header says, durably after the next sync.
    extent: Extent,
    sequence: u64,
    failed: Option<String>,
}

impl LogFile {
    /// Opens the file and replays it, or creates it if none can be expected. `readable` says of
    /// each entry why it cannot be used. Before anything is changed, `check` may refuse what was
    /// read.
    ///
    /// # Errors
    /// If the file is missing, cut or damaged, or cannot be used, or `check` refuses it.
    pub fn open<E: From<LogOpenError>>(
        place: Arc<dyn LogPlace>,
        settings: LogSettings,
        expected: Expected,
        readable: &dyn Fn(&Entry) -> Result<(), String>,
        check: impl FnOnce(&LogContents) -> Result<(), E>,
    ) -> Result<(Self, MapLog), E> {
        let path = place.path().to_owned();
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::WouldBlock => LogOpenError::InUse { file: path.clone() },
            _ => LogOpenError::Io {
                file: path.clone(),
                source,
            },
        };
        let Some(mut file) = place.open().map_err(io_error)? else {
            if expected == Expected::Surely {
                return Err(LogOpenError::Missing { file: path }.into());
            }
            let log = Self::create(place, settings, &[], 0).map_err(io_error)?;
            return Ok((log, MapLog::new(LogContents::default(), settings)));
        };
        let bytes = file.read().map_err(io_error)?;
        let found = Found::read(&path, &bytes, readable)?;
        check(&found.contents)?;
        let mut log = Self {
            place,
            file,
            chunk_bytes: chunk_bytes(settings),
            end: found.end as u64,
            filled: bytes.len() as u64,
            synced_to: found.end as u64,
            extent: found.extent,
            sequence: found.sequence,
            failed: None,
        };
        let settled = if found.format == FILE_FORMAT_WITHOUT_EXTENT {
            log.rewrite(&found.contents.encode_whole())
        } else {
            log.settle(&bytes)
        };
        settled.map_err(io_error)?;
        Ok((log, MapLog::new(found.contents, settings)))
    }

    fn create(
        place: Arc<dyn LogPlace>,
        settings: LogSettings,
        payload: &[u8],
        sequence: u64,
    ) -> io::Result<Self> {
        let mut log = Self {
            place,
            file: Box::new(Draft::default()),
            chunk_bytes: chunk_bytes(settings),
            end: 0,
            filled: 0,
            synced_to: 0,
            extent: Extent::default(),
            sequence,
            failed: None,
        };
        log.lay_out(payload)?;
        Ok(log)
    }

    /// Writes a whole file with this payload, and puts it in its place.
    fn lay_out(&mut self, payload: &[u8]) -> io::Result<()> {
        self.file = Box::new(Draft::default());
        (self.end, self.filled, self.synced_to) = (0, 0, 0);
        self.extent = Extent::default();
        self.write(&frame::file_header())?;
        if !payload.is_empty() {
            self.append_frame(payload)?;
        }
        // Nobody sees the file before the rename, and then all of it is durable.
        self.synced_to = self.end;
        self.state_extent()?;
        let content = self.file.read()?;
        self.file = self.place.replace(&content)?;
        Ok(())
    }

    /// After a replay: a torn write is erased, and what was read made durable, since it may have
    /// been in the page cache only.
    fn settle(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end as usize;
        if bytes[end..].iter().any(|byte| *byte != 0) {
            // It must not shine through later frames.
            tracing::info!(file = %self.place.path().display(), at = end, "erased a torn write");
            self.file.write(&vec![0; bytes.len() - end], self.end)?;
        }
        // Written once more: a sync that failed was told to one process only, and for the next one
        // the pages in memory pass for written.
        self.file.write(&bytes[..end], 0)?;
        self.file.sync()?;
        self.state_extent()?;
        self.file.sync()
    }

    /// Writes into the header how long the file is and up to where it is durable.
    fn state_extent(&mut self) -> io::Result<()> {
        let next = Extent {
            number: self.extent.number + 1,
            filled: self.filled,
            durable: self.synced_to,
        };
        let (at, bytes) = next.encode();
        self.file.write(&bytes, at)?;
        self.extent = next;
        Ok(())
    }

    /// Does something unless something failed before, and remembers if it fails.
    fn unless_failed(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if let Some(reason) = &self.failed {
            return Err(io::Error::other(reason.clone()));
        }
        let result = act(self);
        if let Err(error) = &result {
            tracing::error!(%error, "the raft log failed");
            self.failed = Some(format!("the raft log failed before: {error}"));
        }
        result
    }

    /// Appends records as one write; durable only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// If it failed, now or before.
    pub fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.unless_failed(|log| log.append_frame(records))
    }

    fn append_frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let frame = frame::encode(self.sequence, self.synced_to, payload);
        self.sequence += 1;
        self.write(&frame)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end + bytes.len() as u64;
        while self.filled < end {
            self.fill_chunk()?;
        }
        self.file.write(bytes, self.end)?;
        self.end = end;
        Ok(())
    }

    fn fill_chunk(&mut self) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(self.chunk_bytes).map_err(io::Error::other)?];
        self.file.write(&zeros, self.filled)?;
        self.file.sync()?;
        self.filled += self.chunk_bytes;
        // Durable with the next sync, before which nothing in the new chunk is acknowledged.
        self.state_extent()
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// If it failed, now or before. What was written may be gone then.
    pub fn sync(&mut self) -> io::Result<()> {
        self.unless_failed(Self::sync_all)
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.synced_to = self.end;
        Ok(())
    }

    /// Writes zeros ahead if few are left, and notes what is durable; for idle moments.
    ///
    /// # Errors
    /// If it failed, now or before.
    pub fn rest(&mut self) -> io::Result<()> {
        self.unless_failed(Self::replenish)
    }

    fn replenish(&mut self) -> io::Result<()> {
        if self.filled - self.end < self.chunk_bytes / SPARE_PART {
            self.fill_chunk()?;
        }
        if self.extent.durable < self.synced_to {
            self.state_extent()?;
            self.sync_all()?;
        }
        Ok(())
    }

    /// Makes everything written durable and notes that it is; for the end of the node.
    ///
    /// # Errors
    /// If it failed, now or before.
    pub fn finish(&mut self) -> io::Result<()> {
        self.unless_failed(|log| {
            log.sync_all()?;
            log.replenish()
        })
    }

    /// Replaces the file by one that holds only these records, atomically; durable on return.
    ///
    /// # Errors
    /// If it failed, now or before.
    pub fn rewrite(&mut self, records: &[u8]) -> io::Result<()> {
        self.unless_failed(|log| log.lay_out(records))
    }

    /// How far the file is in use.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end
    }
}

/// When less than this part of a chunk is left as zeros, they are replenished in idle moments.
const SPARE_PART: u64 = 4;

fn chunk_bytes(settings: LogSettings) -> u64 {
    settings.chunk_bytes.max(FILE_HEADER_BYTES as u64)
}
