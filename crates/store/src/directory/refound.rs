//! Making a directory one of another cluster: its files of consensus are replaced by others that
//! lie ready, the rows stay. Knows nothing of what is in them, nor of why.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::format::Format;
use super::{DataDirectory, DirectoryError, at, id_text, parse_id, sync_directory, write_format};

/// Where the files of consensus of the next cluster are written.
const STAGED: &str = "control.new";
/// Those of the cluster before; its id follows.
const BEFORE: &str = "control.before-";
/// Names the cluster that the directory is about to belong to.
const MARKER: &str = "REFOUNDING";

impl DataDirectory {
    /// An empty folder for the files of consensus of the next cluster.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn staged(&self) -> Result<PathBuf, DirectoryError> {
        let staged = self.path.join(STAGED);
        match fs::remove_dir_all(&staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&staged, error)),
            _ => fs::create_dir(&staged).map_err(|source| at(&staged, source)),
        }?;
        Ok(staged)
    }

    /// Puts what was written into [`staged`](Self::staged) in the place of the files of consensus,
    /// and the directory into that cluster. What a crash interrupts is finished when the directory
    /// is opened. The files before stay, under the name of their cluster.
    ///
    /// # Errors
    /// If something cannot be moved; call it again, or open the directory.
    pub fn refound(&mut self, cluster: u64) -> Result<(), DirectoryError> {
        sync_directory(&self.path.join(STAGED))?;
        let marker = self.path.join(MARKER);
        let write = || {
            fs::write(&marker, id_text(cluster))?;
            fs::File::open(&marker)?.sync_all()
        };
        write().map_err(|source| at(&marker, source))?;
        sync_directory(&self.path)?;
        self.format = finish(&self.path, self.format.clone())?;
        self.cluster = Some(cluster);
        Ok(())
    }
}

/// Does what an interrupted [`DataDirectory::refound`] left, if there was one.
pub(super) fn finish(path: &Path, format: Format) -> Result<Format, DirectoryError> {
    let marker = path.join(MARKER);
    let cluster = match fs::read_to_string(&marker) {
        Ok(text) => parse_id(path, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(format),
        Err(source) => return Err(at(&marker, source)),
    };
    let (staged, control) = (path.join(STAGED), path.join("control"));
    if staged.is_dir() {
        let before = format.cluster.as_deref().unwrap_or("none");
        let before = path.join(format!("{BEFORE}{before}"));
        if control.is_dir() {
            fs::rename(&control, &before).map_err(|source| at(&before, source))?;
        }
        fs::rename(&staged, &control).map_err(|source| at(&staged, source))?;
        sync_directory(path)?;
    }
    let next = Format {
        cluster: Some(id_text(cluster)),
        ..format
    };
    write_format(path, &next)?;
    fs::remove_file(&marker).map_err(|source| at(&marker, source))?;
    sync_directory(path)?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::super::NewIdentity;
    use super::*;

    fn of_cluster_one() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let mut directory = open(&home);
        directory.set_cluster(1).unwrap();
        fs::write(directory.consensus().join("raft.log"), "old").unwrap();
        home
    }

    fn open(home: &tempfile::TempDir) -> DataDirectory {
        DataDirectory::open(home.path(), NewIdentity { storage: 9 }).unwrap()
    }

    fn assert_refounded(home: &tempfile::TempDir) {
        let directory = open(home);
        assert_eq!((directory.cluster(), directory.storage()), (Some(2), 9));
        let log = |folder: &Path| fs::read_to_string(folder.join("raft.log")).unwrap();
        assert_eq!(log(&directory.consensus()), "new");
        let before = home.path().join("control.before-0000000000000001");
        assert_eq!(log(&before), "old");
    }

    #[test]
    fn the_files_of_the_next_cluster_take_the_place_of_those_before() {
        let home = of_cluster_one();
        let mut directory = open(&home);
        for _ in 0..2 {
            let staged = directory.staged().unwrap();
            assert!(fs::read_dir(&staged).unwrap().next().is_none());
            fs::write(staged.join("raft.log"), "new").unwrap();
        }
        directory.refound(2).unwrap();
        assert_eq!(directory.cluster(), Some(2));
        drop(directory);
        assert_refounded(&home);
    }

    #[test]
    fn what_a_crash_interrupts_is_finished_when_it_is_opened() {
        for crash in 0..3 {
            let home = of_cluster_one();
            let staged = open(&home).staged().unwrap();
            fs::write(staged.join("raft.log"), "new").unwrap();
            let path = home.path();
            fs::write(path.join(MARKER), id_text(2)).unwrap();
            let before = path.join("control.before-0000000000000001");
            if crash > 0 {
                fs::rename(path.join("control"), before).unwrap();
            }
            if crash > 1 {
                fs::rename(&staged, path.join("control")).unwrap();
            }
            assert_refounded(&home);
        }
    }
}
