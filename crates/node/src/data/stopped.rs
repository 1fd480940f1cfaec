//! Which replicas of this node have stopped because they differ from the others: a small file
//! each, so that a restart does not bring a wrong copy back into service.
//!
//! Knows nothing of why a replica differs nor of how it is built anew.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tablestore_dataplane::Notes;

/// The folder of the data directory that holds the files.
const FOLDER: &str = "stopped";

/// The files of one data directory.
#[derive(Debug, Clone)]
pub(crate) struct StoppedReplicas {
    folder: PathBuf,
}

impl StoppedReplicas {
    pub(crate) fn at(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join(FOLDER),
        }
    }

    fn file(&self, partition: u64) -> PathBuf {
        self.folder.join(format!("{partition:016x}"))
    }

    /// The stopped replicas by partition, each with its reason.
    pub(crate) fn read(&self) -> io::Result<BTreeMap<u64, String>> {
        let mut stopped = BTreeMap::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(stopped),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            // Whatever else lies there, such as a file that was never finished, is none of ours.
            let name = entry.file_name();
            let number = name.to_str().and_then(|n| u64::from_str_radix(n, 16).ok());
            if let Some(partition) = number {
                let why = fs::read(entry.path())?;
                stopped.insert(partition, String::from_utf8_lossy(&why).into_owned());
            }
        }
        Ok(stopped)
    }
}

impl Notes for StoppedReplicas {
    fn keep(&self, partition: u64, why: &str) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let unfinished = self.folder.join(format!("{partition:016x}.new"));
        let mut file = File::create(&unfinished)?;
        file.write_all(why.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.file(partition))?;
        File::open(&self.folder)?.sync_all()?;
        if let Some(data_dir) = self.folder.parent() {
            File::open(data_dir)?.sync_all()?;
        }
        Ok(())
    }

    fn clear(&self, partition: u64) -> io::Result<()> {
        match fs::remove_file(self.file(partition)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_the_next_start_until_it_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let stopped = StoppedReplicas::at(directory.path());
        assert!(stopped.read().unwrap().is_empty());
        stopped.clear(5).unwrap();
        stopped.keep(5, "differs").unwrap();
        stopped.keep(1 << 40, "differs too").unwrap();
        fs::write(directory.path().join("stopped/0000000000000007.new"), "").unwrap();
        let found = StoppedReplicas::at(directory.path()).read().unwrap();
        let expected = [
            (5, "differs".to_owned()),
            (1 << 40, "differs too".to_owned()),
        ];
        assert_eq!(found, BTreeMap::from(expected));
        stopped.clear(5).unwrap();
        assert_eq!(stopped.read().unwrap().len(), 1);
    }
}
