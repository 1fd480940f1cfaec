//! The bytes of the format file: JSON, and a line with its checksum. Knows nothing of where it lies
//! nor of when it is replaced.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DIRECTORY_FORMAT, DIRECTORY_FORMAT_UNCHECKED, DirectoryError, FORMAT_FILE};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Format {
    pub(super) format: u32,
    pub(super) storage: String,
    pub(super) cluster: Option<String>,
    pub(super) incarnation: u64,
    /// The start that the cluster took last.
    #[serde(default)]
    pub(super) taken: Option<String>,
    /// The last starts begun, the newest last. One of these and `taken` is the start that the
    /// cluster knows, unless this is an older copy of the directory.
    #[serde(default)]
    pub(super) starts: Vec<String>,
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Format, DirectoryError> {
    /// Read first, since a newer format may have other fields.
    #[derive(Deserialize)]
    struct Number {
        format: u32,
    }
    let corrupt = |reason: String| DirectoryError::Corrupt {
        file: path.join(FORMAT_FILE),
        reason,
    };
    let checked = without_checksum(bytes);
    let text = checked.unwrap_or(bytes);
    let number = serde_json::from_slice(text).map(|number: Number| number.format);
    match number {
        Ok(found) if found > DIRECTORY_FORMAT => {
            return Err(DirectoryError::NewerFormat {
                path: path.to_owned(),
                found,
                supported: DIRECTORY_FORMAT,
            });
        }
        Ok(DIRECTORY_FORMAT) if checked.is_some() => {}
        Ok(DIRECTORY_FORMAT_UNCHECKED) if checked.is_none() => {}
        _ => return Err(corrupt("its content does not have its checksum".to_owned())),
    }
    let format: Format =
        serde_json::from_slice(text).map_err(|error| corrupt(error.to_string()))?;
    Ok(Format {
        format: DIRECTORY_FORMAT,
        ..format
    })
}

/// The last line of a format file with this text.
fn checksum_line(text: &[u8]) -> String {
    format!("\ncrc32c {:08x}\n", crc32c::crc32c(text))
}

/// The text of a format file, if its last line is right.
pub(super) fn without_checksum(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.len().checked_sub(checksum_line(&[]).len())?;
    let (text, line) = bytes.split_at(length);
    (line == checksum_line(text).as_bytes()).then_some(text)
}

pub(super) fn render(format: &Format) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(format)?;
    let line = checksum_line(&text);
    text.extend_from_slice(line.as_bytes());
    Ok(text)
}
