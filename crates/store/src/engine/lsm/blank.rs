//! Making empty trees quickly. `lsm-tree` syncs half a dozen times for each; here that happens
//! once for a pattern, and every further tree is a copy of it that is not synced at all: the
//! first checkpoint, just before which it is made, syncs everything that it needs. A crash between
//! leaves a directory that may hold anything, which is recognised and removed. Knows nothing of
//! rows.

use std::fs;
use std::io;
use std::path::Path;

use lsm_tree::file::{CURRENT_VERSION_FILE, TABLES_FOLDER};
use lsm_tree::{AnyTree, Config, Tree};

use super::files::{io_at, tree_error};
use crate::engine::EngineError;

/// An empty tree as a pattern for others.
pub(super) struct Blank {
    files: Vec<(std::ffi::OsString, Vec<u8>)>,
    /// The pattern itself. Its directory is gone, so it is only looked at.
    pub(super) tree: Tree,
}

impl Blank {
    /// Makes the pattern in the directory `path`, which is gone afterwards.
    pub(super) fn make(path: &Path, config: Config) -> Result<Self, EngineError> {
        let tree = open(path, config)?;
        let read = || -> io::Result<_> {
            let mut files = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    files.push((entry.file_name(), fs::read(entry.path())?));
                }
            }
            fs::remove_dir_all(path)?;
            Ok(files)
        };
        let files = read().map_err(|source| io_at(path, source))?;
        Ok(Self { files, tree })
    }

    /// Makes an empty tree in the directory `path`, without a sync.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), EngineError> {
        let copy = || -> io::Result<()> {
            fs::create_dir_all(path.join(TABLES_FOLDER))?;
            for (name, content) in &self.files {
                fs::write(path.join(name), content)?;
            }
            Ok(())
        };
        copy().map_err(|source| io_at(path, source))
    }
}

/// Opens a tree, and makes it if it is not there.
pub(super) fn open(path: &Path, config: Config) -> Result<Tree, EngineError> {
    match config.open() {
        Ok(AnyTree::Standard(tree)) => Ok(tree),
        Ok(AnyTree::Blob(_)) => Err(EngineError::Corrupt {
            path: path.to_owned(),
            reason: "it is a tree of another kind".to_owned(),
        }),
        Err(error) => Err(tree_error(path, error)),
    }
}

/// Whether the tree in a directory never made a checkpoint: no table, and no manifest after
/// the first, which is the empty tree's.
pub(super) fn is_blank(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path.join(TABLES_FOLDER)) {
        Ok(mut tables) => {
            if tables.next().is_some() {
                return Ok(false);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let current = match fs::read(path.join(CURRENT_VERSION_FILE)) {
        Ok(current) => current,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    match current.first_chunk::<8>() {
        Some(id) => Ok(*id == [0; 8]),
        // Never written, or lost: later manifests tell.
        None => Ok(!has_later_manifest(path)?),
    }
}

/// Refuses a directory in use without the file that names its manifest, where the library would
/// make an empty tree in the place of that one, and a manifest that is not as it was written.
pub(super) fn check_current(path: &Path) -> Result<(), EngineError> {
    let current = path.join(CURRENT_VERSION_FILE);
    let corrupt = |path: &Path, reason: String| EngineError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let content = match fs::read(&current) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let reason = "it is missing, but the partition has been in use".to_owned();
            return Err(corrupt(&current, reason));
        }
        Err(source) => return Err(io_at(&current, source)),
    };
    let Some((manifest, checksum)) = manifest_of(&content) else {
        return Err(corrupt(&current, "it does not name a manifest".to_owned()));
    };
    let manifest = path.join(manifest);
    let content = fs::read(&manifest).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => corrupt(&manifest, "it is missing".to_owned()),
        _ => io_at(&manifest, source),
    })?;
    if xxhash_rust::xxh3::xxh3_128(&content) != checksum {
        return Err(corrupt(
            &manifest,
            "it does not have its checksum".to_owned(),
        ));
    }
    Ok(())
}

/// The manifest that a `current` file names, and its checksum: number 8, xxh3 16, kind 1, all
/// little-endian. The library does not look at the checksum, and panics at what is wrong inside.
fn manifest_of(current: &[u8]) -> Option<(String, u128)> {
    let (number, rest) = current.split_first_chunk::<8>()?;
    let (checksum, rest) = rest.split_first_chunk::<16>()?;
    let number = u64::from_le_bytes(*number);
    (rest == [0]).then(|| (format!("v{number}"), u128::from_le_bytes(*checksum)))
}

/// Whether there is a manifest after the first, `v0`.
fn has_later_manifest(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix('v'));
        if number.is_some_and(|number| number.parse::<u64>().is_ok_and(|number| number > 0)) {
            return Ok(true);
        }
    }
    Ok(false)
}
