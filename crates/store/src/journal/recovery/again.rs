//! Making durable what a journal ends with, whatever a failed sync left of it.
//!
//! Knows nothing of what the last group says.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::super::book::Segment;
use super::super::buffer::AlignedBuffer;
use super::super::disk::SegmentFile;
use super::super::format::{BLOCK, SegmentHeader};
use super::super::prepare::file_name;
use super::{Directory, Found, OpenError};

impl Directory<'_> {
    /// Whatever was written last may have been read from memory and not be on the disk: a sync that
    /// fails is told to one process only, and the next one finds the pages as if all were well.
    /// Written once more it is durable, before anything follows it.
    pub(super) fn write_last_again(
        &self,
        found: &BTreeMap<u32, Found>,
        newest: SegmentHeader,
        last_group: Option<(Arc<Segment>, u64, u64)>,
    ) -> Result<(), OpenError> {
        let header = found.iter().find(|(_, one)| one.header == Some(newest));
        if let Some((number, one)) = header {
            let io = |source| self.io(&file_name(*number), source);
            write_again(one.file.as_ref(), 0, BLOCK as u64).map_err(io)?;
        }
        if let Some((segment, offset, bytes)) = last_group {
            let io = |source| self.io(&file_name(segment.file_number), source);
            write_again(segment.file.as_ref(), offset, bytes).map_err(io)?;
        }
        Ok(())
    }
}

fn write_again(file: &dyn SegmentFile, at: u64, bytes: u64) -> io::Result<()> {
    let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut content = AlignedBuffer::zeroed(length);
    file.read(content.bytes_mut(), at)?;
    file.write_durable(content.bytes(), at)
}
