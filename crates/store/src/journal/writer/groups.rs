//! Groups that wait for a commit, in one buffer. Knows nothing of segments.

use std::ops::Range;

use super::super::Meta;
use super::super::buffer::AlignedBuffer;
use super::super::format::{GROUP_HEADER_BYTES, Record};

/// Memory that is kept between commits.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

/// Groups that wait for a commit, one after the other.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) buffer: AlignedBuffer,
    /// When a group is closed; 0: never.
    group_bytes_max: usize,
    pub(super) closed: Vec<Group>,
    /// Where the open group begins in the buffer.
    start: usize,
    pub(super) pending: Vec<Pending>,
    /// Where the open group's records begin in `pending`.
    pending_start: usize,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) bytes: Range<usize>,
    pub(super) length: u32,
    pub(super) pending: Range<usize>,
}

/// What a record changes in the books once it is durable.
#[derive(Debug)]
pub(super) enum Pending {
    /// The offset is from the start of the group.
    Entry {
        partition: u64,
        epoch: u64,
        index: u64,
        offset: u64,
    },
    Meta {
        partition: u64,
        meta: Meta,
    },
    Forget {
        partition: u64,
    },
}

impl Groups {
    pub(super) fn closing_at(group_bytes_max: usize) -> Self {
        Self {
            group_bytes_max,
            ..Self::default()
        }
    }

    /// Begins a group if none is open.
    pub(super) fn begin(&mut self) {
        if self.buffer.len() == self.start {
            self.buffer.extend(&[0; GROUP_HEADER_BYTES]);
        }
    }

    /// Adds a record and answers where it begins in its group.
    pub(super) fn add(&mut self, record: &Record<'_>) -> u64 {
        let bytes = self.buffer.len() - self.start + record.data.len();
        if self.group_bytes_max > 0 && bytes > self.group_bytes_max {
            self.close();
        }
        self.begin();
        let offset = self.buffer.len() - self.start;
        record.write(&mut self.buffer);
        offset as u64
    }

    pub(super) fn open_length(&self) -> u32 {
        let length = self.buffer.len() - self.start - GROUP_HEADER_BYTES;
        u32::try_from(length).expect("records are bounded")
    }

    pub(super) fn open_records(&self) -> u32 {
        u32::try_from(self.pending.len() - self.pending_start).unwrap_or(u32::MAX)
    }

    pub(super) fn close(&mut self) {
        if self.buffer.len() == self.start {
            return;
        }
        let length = self.open_length();
        self.buffer.pad();
        self.closed.push(Group {
            bytes: self.start..self.buffer.len(),
            length,
            pending: self.pending_start..self.pending.len(),
        });
        self.start = self.buffer.len();
        self.pending_start = self.pending.len();
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear(BUFFER_BYTES_KEPT);
        self.closed.clear();
        self.pending.clear();
        self.start = 0;
        self.pending_start = 0;
    }
}
