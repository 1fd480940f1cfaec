//! The bytes of a [`Row`], as they travel and lie on disk: one format number, then the fields in
//! order, integers variable-length. Attributes are in the order of their names, so that equal rows
//! have equal bytes. Knows nothing of frames and files.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tablestore_placement::StorageId;

use super::clock::Version;
use super::row::{Cell, Mark, Row};
pub use crate::codec::DecodeError;
use crate::codec::{number, put_number};

/// The format of a row.
pub const ROW_FORMAT: u8 = 1;

const NO_MARK: u8 = 0;
const MARK_PUT: u8 = 1;
const MARK_DELETE: u8 = 2;

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;

/// Appends the row to the buffer.
pub fn encode_row(row: &Row, to: &mut BytesMut) {
    to.put_u8(ROW_FORMAT);
    match row.mark() {
        None => to.put_u8(NO_MARK),
        Some(mark) => {
            to.put_u8(if mark.is_delete {
                MARK_DELETE
            } else {
                MARK_PUT
            });
            put_version(to, mark.version);
        }
    }
    put_number(to, row.attributes().len() as u64);
    for (name, cell) in row.attributes() {
        put_bytes(to, name);
        put_version(to, cell.version);
        match &cell.value {
            None => to.put_u8(TOMBSTONE),
            Some(value) => {
                to.put_u8(VALUE);
                put_bytes(to, value);
            }
        }
    }
}

/// Reads one row that fills the bytes. Names and values share the buffer.
///
/// # Errors
/// The bytes are no row of this version; nothing else happened.
pub fn decode_row(mut from: Bytes) -> Result<Row, DecodeError> {
    let row = row(&mut from)?;
    is_at_end(&from).map(|()| row)
}

pub(crate) fn row(from: &mut Bytes) -> Result<Row, DecodeError> {
    let format = byte(from)?;
    if format != ROW_FORMAT {
        return Err(DecodeError::Kind(format));
    }
    let mark = match byte(from)? {
        NO_MARK => None,
        kind @ (MARK_PUT | MARK_DELETE) => Some(Mark {
            version: version(from)?,
            is_delete: kind == MARK_DELETE,
        }),
        kind => return Err(DecodeError::Kind(kind)),
    };
    let count = number(from)?;
    let mut attributes: Vec<(Bytes, Cell)> = Vec::new();
    // Every attribute takes bytes, so a lie about the count ends at the end of the buffer.
    for _ in 0..count {
        let name = bytes(from)?;
        if attributes.last().is_some_and(|last| last.0 >= name) {
            return Err(DecodeError::Range);
        }
        let version = version(from)?;
        let value = match byte(from)? {
            TOMBSTONE => None,
            VALUE => Some(bytes(from)?),
            kind => return Err(DecodeError::Kind(kind)),
        };
        attributes.push((name, Cell { version, value }));
    }
    let named = attributes.len();
    let row = Row::new(mark, attributes);
    if row.attributes().len() != named {
        return Err(DecodeError::Range);
    }
    Ok(row)
}

pub(crate) fn put_version(to: &mut BytesMut, version: Version) {
    put_number(to, version.wall_ms);
    put_number(to, u64::from(version.counter));
    put_number(to, version.node.0);
}

pub(crate) fn version(from: &mut Bytes) -> Result<Version, DecodeError> {
    Ok(Version {
        wall_ms: number(from)?,
        counter: u32::try_from(number(from)?).map_err(|_| DecodeError::Range)?,
        node: StorageId(number(from)?),
    })
}

pub(crate) fn put_bytes(to: &mut BytesMut, bytes: &[u8]) {
    put_number(to, bytes.len() as u64);
    to.put_slice(bytes);
}

pub(crate) fn bytes(from: &mut Bytes) -> Result<Bytes, DecodeError> {
    let length = number(from)?;
    if length > from.len() as u64 {
        return Err(DecodeError::Short);
    }
    Ok(from.split_to(length as usize))
}

pub(crate) fn byte(from: &mut Bytes) -> Result<u8, DecodeError> {
    if from.is_empty() {
        return Err(DecodeError::Short);
    }
    Ok(from.get_u8())
}

pub(crate) fn flag(from: &mut Bytes) -> Result<bool, DecodeError> {
    match byte(from)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Range),
    }
}

pub(crate) fn list<T>(
    from: &mut Bytes,
    mut item: impl FnMut(&mut Bytes) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = number(from)?;
    // Each item takes at least a byte, so a lie about the count costs nothing.
    if count > from.len() as u64 {
        return Err(DecodeError::Range);
    }
    (0..count).map(|_| item(from)).collect()
}

pub(crate) fn is_at_end(from: &Bytes) -> Result<(), DecodeError> {
    if from.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::Surplus)
    }
}
