//! Putting everything in a data directory aside, so that it begins anew. Knows nothing of why.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DataDirectory, DirectoryError, LOCK_FILE, at, sync_directory};

/// Folders with what was put aside begin with this; a number follows.
const ASIDE: &str = "aside-";
/// Names the folder to which everything is being moved.
const ASIDE_MARKER: &str = "PUTTING-ASIDE";

impl DataDirectory {
    /// Moves everything in the directory to a folder of its own within it, so that it can be
    /// opened as a new one. What a crash interrupts is finished when the directory is opened.
    ///
    /// # Errors
    /// If something cannot be moved; call it again, or open the directory.
    pub fn put_aside(self) -> Result<PathBuf, DirectoryError> {
        let aside = (1..)
            .map(|number| self.path.join(format!("{ASIDE}{number}")))
            .find(|folder| !folder.exists())
            .expect("some number is free");
        fs::create_dir(&aside).map_err(|source| at(&aside, source))?;
        let marker = self.path.join(ASIDE_MARKER);
        let name = aside.file_name().unwrap_or_default();
        fs::write(&marker, name.as_encoded_bytes()).map_err(|source| at(&marker, source))?;
        sync_directory(&self.path)?;
        finish(&self.path)?;
        Ok(aside)
    }
}

/// Moves what an interrupted [`DataDirectory::put_aside`] left, if there was one.
pub(super) fn finish(path: &Path) -> Result<(), DirectoryError> {
    let marker = path.join(ASIDE_MARKER);
    let name = match fs::read_to_string(&marker) {
        Ok(name) => name,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(at(&marker, source)),
    };
    let aside = path.join(&name);
    if !name.starts_with(ASIDE) || name.contains(std::path::MAIN_SEPARATOR) || !aside.is_dir() {
        return Err(DirectoryError::Corrupt {
            file: marker,
            reason: format!("{name:?} is no folder beside it"),
        });
    }
    let entries = fs::read_dir(path).map_err(|source| at(path, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| at(path, source))?;
        let name = entry.file_name();
        let stays = [LOCK_FILE, ASIDE_MARKER]
            .iter()
            .any(|stays| name == **stays)
            || name.as_encoded_bytes().starts_with(ASIDE.as_bytes());
        if !stays {
            let from = entry.path();
            fs::rename(&from, aside.join(name)).map_err(|source| at(&from, source))?;
        }
    }
    sync_directory(&aside)?;
    fs::remove_file(&marker).map_err(|source| at(&marker, source))?;
    sync_directory(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::NewIdentity;
    use super::*;

    fn open(path: &Path, storage: u64) -> DataDirectory {
        DataDirectory::open(path, NewIdentity { storage }).unwrap()
    }

    #[test]
    fn what_is_put_aside_is_whole_and_the_directory_is_new() {
        let home = tempfile::tempdir().unwrap();
        for number in 1..=3_u64 {
            let mut directory = open(home.path(), number);
            assert!(directory.created());
            directory.begin_incarnation(number).unwrap();
            fs::write(directory.rows().join("rows"), number.to_string()).unwrap();
            let aside = directory.put_aside().unwrap();
            assert_eq!(aside, home.path().join(format!("aside-{number}")));
            assert_eq!(
                fs::read_to_string(aside.join("rows/rows")).unwrap(),
                number.to_string()
            );
        }
        // Each is a directory that can be opened where it lies.
        fs::write(home.path().join("aside-2/LOCK"), b"").unwrap();
        let second = open(&home.path().join("aside-2"), 9);
        assert_eq!((second.storage(), second.incarnation()), (2, 1));
    }

    #[test]
    fn what_a_crash_interrupted_is_finished_when_the_directory_is_opened() {
        let home = tempfile::tempdir().unwrap();
        let mut directory = open(home.path(), 1);
        directory.begin_incarnation(1).unwrap();
        drop(directory);
        // As after the first of several renames.
        fs::create_dir(home.path().join("aside-1")).unwrap();
        fs::write(home.path().join(ASIDE_MARKER), "aside-1").unwrap();
        fs::rename(home.path().join("rows"), home.path().join("aside-1/rows")).unwrap();
        let directory = open(home.path(), 2);
        assert_eq!((directory.storage(), directory.created()), (2, true));
        let aside: std::collections::BTreeSet<_> = fs::read_dir(home.path().join("aside-1"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let whole = ["FORMAT", "control", "journal", "rows"].map(str::to_owned);
        assert_eq!(aside, whole.into_iter().collect());
        assert!(!home.path().join(ASIDE_MARKER).exists());
    }

    #[test]
    fn a_marker_that_names_no_folder_beside_it_is_refused() {
        for name in ["aside-7", "../elsewhere", "rows", ""] {
            let home = tempfile::tempdir().unwrap();
            drop(open(home.path(), 1));
            fs::write(home.path().join(ASIDE_MARKER), name).unwrap();
            let new = NewIdentity { storage: 2 };
            let error = DataDirectory::open(home.path(), new).unwrap_err();
            assert!(error.to_string().contains(ASIDE_MARKER), "{error}");
        }
    }
}
