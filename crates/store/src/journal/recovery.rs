//! Opening a journal: which files belong to it, what they hold, where it ends. Knows nothing
//! of writing, except that a new journal gets its first segment.

mod again;
mod replay;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::replay::{Replaying, peek, read_group};
use super::book::{Book, Chain, Segment};
use super::buffer::AlignedBuffer;
use super::disk::{Disk, SegmentFile};
use super::format::{BLOCK, HeaderBlock, JOURNAL_FORMAT, SegmentHeader};
use super::prepare::file_name;
use super::reader::Window;
use super::{FIRST_SEGMENT_BYTES, JournalSettings, OpenError, Replayed};

/// Says that there was a journal, so that one without its segments is not taken for new.
const MARKER: &str = "JOURNAL";

/// How much is read at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A journal as it was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) book: Book,
    pub(super) chain: Chain,
    pub(super) free: Vec<Arc<Segment>>,
    /// Where the next group goes in the newest live segment.
    pub(super) tail: u64,
    pub(super) sequence_next: u64,
    pub(super) generation_next: u64,
    pub(super) file_next: u32,
}

/// A file and what its header says; `None` if it was never used.
struct Found {
    file: Arc<dyn SegmentFile>,
    bytes: u64,
    header: Option<SegmentHeader>,
}

pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    settings: &JournalSettings,
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<Recovered, OpenError> {
    let at = Directory {
        disk,
        path: directory,
    };
    let marked = at.check_marker(settings)?;
    let found = at.survey(settings)?;
    let newest = found
        .values()
        .filter_map(|found| found.header)
        .max_by_key(|h| h.generation);
    let Some(newest) = newest else {
        if marked {
            // Its first segment was there before the marker was written.
            return Err(OpenError::Missing {
                file: directory.join(file_name(0)),
            });
        }
        return at.create(found, settings);
    };
    let mut replaying = Replaying {
        at: &at,
        found: &found,
        window: Window::new(WINDOW_BYTES),
        book: Book::default(),
        chain: Chain::default(),
        sequence_next: 0,
        replay,
        last_group: None,
    };
    let tail = replaying.follow(newest)?;
    let Replaying {
        book,
        chain,
        sequence_next,
        last_group,
        ..
    } = replaying;
    at.write_last_again(&found, newest, last_group)?;
    if !marked {
        if sequence_next > 1 {
            return Err(OpenError::Missing {
                file: directory.join(MARKER),
            });
        }
        at.mark(settings)?;
    }
    let free = at.free_segments(&found, &chain, sequence_next)?;
    Ok(Recovered {
        book,
        chain,
        free,
        tail,
        sequence_next,
        generation_next: newest.generation + 1,
        file_next: found.keys().next_back().map_or(0, |number| number + 1),
    })
}

struct Directory<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
}

impl Directory<'_> {
    fn file(&self, number: u32) -> PathBuf {
        self.path.join(file_name(number))
    }

    fn io(&self, name: &str, source: io::Error) -> OpenError {
        OpenError::Io {
            path: self.path.join(name),
            source,
        }
    }

    fn marker(settings: &JournalSettings) -> String {
        format!(
            "tablestore journal {JOURNAL_FORMAT} {:016x}\n",
            settings.journal_id
        )
    }

    fn mark(&self, settings: &JournalSettings) -> Result<(), OpenError> {
        let content = Self::marker(settings);
        self.disk
            .write_small(MARKER, content.as_bytes())
            .map_err(|source| self.io(MARKER, source))
    }

    fn check_marker(&self, settings: &JournalSettings) -> Result<bool, OpenError> {
        let file = || self.path.join(MARKER);
        let content = self
            .disk
            .read_small(MARKER)
            .map_err(|source| self.io(MARKER, source))?;
        let Some(content) = content else {
            return Ok(false);
        };
        if content == Self::marker(settings).as_bytes() {
            return Ok(true);
        }
        let text = String::from_utf8_lossy(&content);
        let mut words = text.split_whitespace().skip(2);
        match words.next().map(str::parse::<u32>) {
            Some(Ok(found)) if found > JOURNAL_FORMAT => Err(OpenError::NewerFormat {
                file: file(),
                found,
                supported: JOURNAL_FORMAT,
            }),
            _ => Err(OpenError::Foreign { file: file() }),
        }
    }

    /// Opens all files and reads their headers.
    fn survey(&self, settings: &JournalSettings) -> Result<BTreeMap<u32, Found>, OpenError> {
        let names = self.disk.list().map_err(|source| OpenError::Io {
            path: self.path.into(),
            source,
        })?;
        let mut found = BTreeMap::new();
        for name in names {
            if name == MARKER {
                continue;
            }
            let number = name
                .strip_prefix("segment-")
                .and_then(|number| u32::from_str_radix(number, 16).ok())
                .filter(|number| file_name(*number) == name);
            let Some(number) = number else {
                return Err(OpenError::Foreign {
                    file: self.path.join(name),
                });
            };
            found.insert(number, self.examine(&name, number, settings)?);
        }
        Ok(found)
    }

    fn examine(
        &self,
        name: &str,
        number: u32,
        settings: &JournalSettings,
    ) -> Result<Found, OpenError> {
        let path = self.path.join(name);
        let io = |source| self.io(name, source);
        let file = self.disk.open(name).map_err(io)?;
        let bytes = file.bytes().map_err(io)?;
        if bytes < BLOCK as u64 {
            let expected = BLOCK as u64;
            return Err(OpenError::Truncated {
                file: path,
                found: bytes,
                expected,
            });
        }
        let mut block = AlignedBuffer::zeroed(BLOCK);
        file.read(block.bytes_mut(), 0).map_err(io)?;
        let header = match SegmentHeader::decode(block.bytes()) {
            HeaderBlock::Blank => None,
            HeaderBlock::Segment(header) => Some(header),
            HeaderBlock::NewerFormat(found) => {
                let supported = JOURNAL_FORMAT;
                return Err(OpenError::NewerFormat {
                    file: path,
                    found,
                    supported,
                });
            }
            HeaderBlock::Damaged => {
                let reason = "not a segment's header".to_owned();
                return Err(OpenError::Corrupt {
                    file: path,
                    offset: 0,
                    reason,
                });
            }
        };
        if let Some(header) = header {
            if header.journal_id != settings.journal_id || header.file != number {
                return Err(OpenError::Foreign { file: path });
            }
            if header.size != bytes {
                let expected = header.size;
                return Err(OpenError::Truncated {
                    file: path,
                    found: bytes,
                    expected,
                });
            }
        }
        Ok(Found {
            file,
            bytes,
            header,
        })
    }

    /// Makes a new journal: the first segment, then the marker.
    fn create(
        &self,
        found: BTreeMap<u32, Found>,
        settings: &JournalSettings,
    ) -> Result<Recovered, OpenError> {
        // Files that were prepared before the first start got any further.
        for number in found.into_keys() {
            let name = file_name(number);
            self.disk
                .remove(&name)
                .map_err(|source| self.io(&name, source))?;
        }
        let bytes = settings.segment_bytes.min(FIRST_SEGMENT_BYTES);
        let name = file_name(0);
        let header = SegmentHeader {
            file: 0,
            journal_id: settings.journal_id,
            generation: 1,
            size: bytes,
            first_sequence: 1,
            oldest_generation: 1,
            oldest_file: 0,
        };
        let make = || {
            let file = self.disk.create(&name, bytes, &|| ())?;
            file.write_durable(header.encode().bytes(), 0)?;
            Ok(file)
        };
        let file = make().map_err(|source| self.io(&name, source))?;
        self.mark(settings)?;
        let segment = Segment {
            path: self.path.join(&name),
            file_number: 0,
            file,
            generation: 1,
            bytes,
        };
        let segment = Arc::new(segment);
        let mut book = Book::default();
        book.segments.insert(1, Arc::clone(&segment));
        let mut chain = Chain::default();
        chain.push(segment);
        Ok(Recovered {
            book,
            chain,
            free: Vec::new(),
            tail: BLOCK as u64,
            sequence_next: 1,
            generation_next: 2,
            file_next: 1,
        })
    }

    /// The files that are not part of the chain. Those of a later generation than the chain
    /// begins with must be empty: otherwise the chain broke in the middle.
    fn free_segments(
        &self,
        found: &BTreeMap<u32, Found>,
        chain: &Chain,
        sequence_next: u64,
    ) -> Result<Vec<Arc<Segment>>, OpenError> {
        let oldest = chain.live.front().map_or(0, |live| live.segment.generation);
        let mut free = Vec::new();
        for (&number, found) in found {
            if chain
                .live
                .iter()
                .any(|live| live.segment.file_number == number)
            {
                continue;
            }
            let segment = self.segment(number, found);
            if segment.generation >= oldest {
                self.check_empty_from(&segment, BLOCK as u64, sequence_next, chain)?;
            }
            free.push(Arc::new(segment));
        }
        Ok(free)
    }

    fn segment(&self, number: u32, found: &Found) -> Segment {
        Segment {
            path: self.file(number),
            file_number: number,
            file: Arc::clone(&found.file),
            generation: found.header.map_or(0, |header| header.generation),
            bytes: found.bytes,
        }
    }

    /// Makes sure that no valid group follows the end of the journal: it would have been
    /// acknowledged, so what lies before it is damaged and not just unfinished.
    fn check_empty_from(
        &self,
        segment: &Segment,
        from: u64,
        sequence_next: u64,
        chain: &Chain,
    ) -> Result<(), OpenError> {
        let mut window = Window::new(WINDOW_BYTES);
        let mut offset = from;
        while offset < segment.bytes {
            let header = peek(&mut window, segment, offset)?.filter(|header| {
                header.generation == segment.generation && header.sequence >= sequence_next
            });
            if let Some(header) = header
                && read_group(&mut window, segment, offset, header)?.is_some()
            {
                let newest = chain.live.back().map(|live| &live.segment);
                let (file, at) = match newest {
                    Some(newest) if newest.file_number != segment.file_number => {
                        (newest.path.clone(), newest.bytes)
                    }
                    _ => (segment.path.clone(), from),
                };
                return Err(OpenError::Corrupt {
                    file,
                    offset: at,
                    reason: format!(
                        "group {sequence_next} is damaged or missing, but group {} follows in \
                         {} at byte {offset}",
                        header.sequence,
                        segment.path.display()
                    ),
                });
            }
            offset += BLOCK as u64;
        }
        Ok(())
    }
}
