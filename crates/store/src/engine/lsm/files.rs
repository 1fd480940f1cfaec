//! The directories of partitions: `<partition>.<generation>`, both in hex. The greatest
//! generation counts; `.new` and `.old` mark what is not finished and what is being removed.
//! Knows nothing of what is in them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::blank::is_blank;
use crate::engine::EngineError;

/// Added to the name of a directory that is not finished.
pub(super) const UNFINISHED: &str = "new";
/// Added to the name of a directory that is being removed.
const REMOVED: &str = "old";

/// Copies of one partition that are kept aside: each comes from one loss of the map, so more than
/// this is no accident any more.
const ASIDE_MAX: u32 = 1_000;

/// The name of a partition's directory.
pub(super) fn directory_name(partition: u64, generation: u32) -> String {
    format!("{partition:016x}.{generation:08x}")
}

/// Removes what is not the newest finished content of a partition; answers what is.
pub(super) fn clean(path: &Path) -> Result<BTreeMap<u64, (u32, PathBuf)>, EngineError> {
    let mut found: BTreeMap<u64, (u32, PathBuf)> = BTreeMap::new();
    let mut leftovers = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| io_at(path, source))? {
        let entry = entry.map_err(|source| io_at(path, source))?;
        let name = entry.file_name();
        match parse_name(&name.to_string_lossy()) {
            Some((_, _, true)) if blank(&entry.path())? => leftovers.push(entry.path()),
            Some((partition, generation, true)) => match found.get(&partition) {
                Some((newer, _)) if *newer > generation => leftovers.push(entry.path()),
                _ => {
                    let older = found.insert(partition, (generation, entry.path()));
                    leftovers.extend(older.map(|(_, path)| path));
                }
            },
            Some((_, _, false)) => leftovers.push(entry.path()),
            None => {
                let reason = "not a partition's directory".to_owned();
                return Err(EngineError::Corrupt {
                    path: entry.path(),
                    reason,
                });
            }
        }
    }
    for leftover in leftovers {
        fs::remove_dir_all(&leftover).map_err(|source| io_at(&leftover, source))?;
    }
    Ok(found)
}

fn blank(path: &Path) -> Result<bool, EngineError> {
    is_blank(path).map_err(|source| io_at(path, source))
}

/// Partition, generation, and whether the directory was finished.
fn parse_name(name: &str) -> Option<(u64, u32, bool)> {
    let mut parts = name.splitn(3, '.');
    let partition = u64::from_str_radix(parts.next()?, 16).ok()?;
    let generation = u32::from_str_radix(parts.next()?, 16).ok()?;
    Some((partition, generation, parts.next().is_none()))
}

/// Removes all contents of a partition so that a crash midway brings back none but the last.
pub(super) fn remove_all(path: &Path, partition: u64) -> Result<(), EngineError> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| io_at(path, source))? {
        let entry = entry.map_err(|source| io_at(path, source))?;
        match parse_name(&entry.file_name().to_string_lossy()) {
            Some((of, generation, true)) if of == partition => {
                directories.push((generation, entry.path()));
            }
            _ => {}
        }
    }
    // The greatest generation counts, so it goes last.
    directories.sort_unstable();
    for (_, directory) in directories {
        let old = directory.with_added_extension(REMOVED);
        fs::rename(&directory, &old).map_err(|source| io_at(&directory, source))?;
        sync_directory(path)?;
        fs::remove_dir_all(&old).map_err(|source| io_at(&old, source))?;
    }
    Ok(())
}

/// Moves the content of a partition out of the engine's directory `path`, to the folder beside it;
/// durable on return. Never onto what was put aside before.
pub(super) fn move_aside(
    path: &Path,
    partition: u64,
    content: &Path,
) -> Result<PathBuf, EngineError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("-aside");
    let aside = path.with_file_name(name);
    fs::create_dir_all(&aside).map_err(|source| io_at(&aside, source))?;
    let free = (1..=ASIDE_MAX)
        .map(|number| aside.join(format!("{partition:016x}-{number}")))
        .find(|place| !place.exists());
    let Some(place) = free else {
        let source = io::Error::other("there are too many copies of this partition");
        return Err(io_at(&aside, source));
    };
    fs::rename(content, &place).map_err(|source| io_at(content, source))?;
    sync_directory(&aside)?;
    sync_directory(path)?;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        sync_directory(parent)?;
    }
    Ok(place)
}

pub(super) fn sync_directory(path: &Path) -> Result<(), EngineError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| io_at(path, source))
}

pub(super) fn io_at(path: &Path, source: io::Error) -> EngineError {
    EngineError::Io {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn tree_error(path: &Path, error: lsm_tree::Error) -> EngineError {
    match error {
        lsm_tree::Error::Io(source) => io_at(path, source),
        other => EngineError::Corrupt {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    }
}
