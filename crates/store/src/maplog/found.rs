//! Reading a raft log file, and what of it is accepted. Knows nothing of writing.

use std::path::Path;

use super::contents::LogContents;
use super::entry::Entry;
use super::error::LogOpenError;
use super::extent::Extent;
use super::frame::{
    self, FILE_FORMAT, FILE_FORMAT_WITHOUT_EXTENT, FILE_HEADER_BYTES, FILE_MARK_BYTES,
};
use super::record::{self, Record};

/// Says why an entry that is whole cannot be used.
pub(super) type Readable<'a> = &'a dyn Fn(&Entry) -> Result<(), String>;

/// What a file holds.
pub(super) struct Found {
    pub(super) format: u32,
    pub(super) extent: Extent,
    pub(super) contents: LogContents,
    /// Where the last intact frame ends.
    pub(super) end: usize,
    /// The number of the next frame.
    pub(super) sequence: u64,
}

impl Found {
    pub(super) fn read(
        path: &Path,
        bytes: &[u8],
        readable: Readable<'_>,
    ) -> Result<Self, LogOpenError> {
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
        let (contents, end, sequence) = replay(path, bytes, frame::header_bytes(format), readable)?;
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
    readable: Readable<'_>,
) -> Result<(LogContents, usize, u64), LogOpenError> {
    let mut contents = LogContents::default();
    let mut at = first;
    let mut sequence = None;
    while let Some(frame) = frame::decode(bytes, at) {
        if sequence.is_some_and(|due| frame.sequence != due) {
            let what = format!("write number {} is out of order", frame.sequence);
            return Err(corrupt(path, at, what));
        }
        let records = decode(frame.payload, readable)
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

fn decode(payload: &[u8], readable: Readable<'_>) -> Result<Vec<Record>, String> {
    let records = record::decode_all(payload)?;
    for record in &records {
        if let Record::Entry(entry) = record {
            readable(entry)?;
        }
    }
    Ok(records)
}

fn corrupt(path: &Path, offset: usize, what: String) -> LogOpenError {
    LogOpenError::Corrupt {
        file: path.to_owned(),
        offset: offset as u64,
        what,
    }
}
