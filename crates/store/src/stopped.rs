//! Which replicas of this node have stopped because they differ from the others: a small file
//! each, so that a restart does not bring a wrong copy back into service.
//!
//! Knows nothing of why a replica differs nor of how it is built anew.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of the data directory that holds the files.
const FOLDER: &str = "stopped";

/// Where small files are.
pub trait Notes: fmt::Debug + Send + Sync {
    /// The names of all files, finished or not, in any order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// The content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes or replaces a file, as one and durably.
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Removes a file, if there is one.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// The stopped replicas of one data directory; a cheap handle.
#[derive(Debug, Clone)]
pub struct StoppedReplicas {
    notes: Arc<dyn Notes>,
}

impl StoppedReplicas {
    /// Those of a data directory of the operating system.
    #[must_use]
    pub fn at(data_dir: &Path) -> Self {
        Self::on(Arc::new(Folder {
            path: data_dir.join(FOLDER),
        }))
    }

    /// Those in a folder of their own.
    #[must_use]
    pub fn on(notes: Arc<dyn Notes>) -> Self {
        Self { notes }
    }

    /// The stopped replicas by partition, each with its reason.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(&self) -> io::Result<BTreeMap<u64, String>> {
        let mut stopped = BTreeMap::new();
        for name in self.notes.names()? {
            // Whatever else lies there, such as a file that was never finished, is none of ours.
            if let Ok(partition) = u64::from_str_radix(&name, 16) {
                let why = self.notes.read(&name)?;
                stopped.insert(partition, String::from_utf8_lossy(&why).into_owned());
            }
        }
        Ok(stopped)
    }

    /// Notes durably that a replica has stopped. Blocks for a sync.
    ///
    /// # Errors
    /// If the file cannot be written. It may be there or not.
    pub fn keep(&self, partition: u64, why: &str) -> io::Result<()> {
        self.notes.write(&file_name(partition), why.as_bytes())
    }

    /// Forgets it: the replica is gone or is built anew.
    ///
    /// # Errors
    /// If the file cannot be removed. It is still there.
    pub fn clear(&self, partition: u64) -> io::Result<()> {
        self.notes.remove(&file_name(partition))
    }
}

fn file_name(partition: u64) -> String {
    format!("{partition:016x}")
}

/// A folder of the operating system, made with its first file.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Notes for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        entries.map(name).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        let unfinished = self.path.join(format!("{name}.new"));
        let mut file = File::create(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path.join(name))?;
        File::open(&self.path)?.sync_all()?;
        if let Some(parent) = self.path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::testing::SimDisk;
    use crate::testing::golden::{Golden, dump, lay_out};

    /// What `keep` leaves, as number 2 of the data directory has it.
    const GOLDEN: Golden<'_> = Golden {
        format: "the files of stopped replicas",
        number: "DIRECTORY_FORMAT",
        file: "stopped-directory-2.txt",
        text: include_str!("../testdata/stopped-directory-2.txt"),
    };
    const KEPT: [(u64, &str); 2] = [
        (3 << 32 | 17, "differs from the others: \u{fc}ber 17"),
        (0xffff_ffff << 32, ""),
    ];

    #[test]
    fn the_bytes_of_stopped_replicas_do_not_change() {
        let directory = tempfile::tempdir().unwrap();
        let stopped = StoppedReplicas::at(directory.path());
        for (partition, why) in KEPT {
            stopped.keep(partition, why).unwrap();
        }
        GOLDEN.check(&dump(directory.path()).unwrap());
    }

    #[test]
    fn stopped_replicas_of_the_golden_file_are_read() {
        let directory = tempfile::tempdir().unwrap();
        lay_out(GOLDEN.text, directory.path()).unwrap();
        let found = StoppedReplicas::at(directory.path()).read().unwrap();
        let expected = KEPT.map(|(partition, why)| (partition, why.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
    }

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

    #[test]
    fn a_crash_keeps_what_was_settled() {
        for seed in 0..20 {
            let disk = SimDisk::new(seed).folder(FOLDER);
            let stopped = StoppedReplicas::on(Arc::new(disk.clone()));
            stopped.clear(5).unwrap();
            stopped.keep(5, "differs").unwrap();
            disk.settle();
            stopped.keep(6, "differs too").unwrap();
            assert_eq!(stopped.read().unwrap().len(), 2);
            let after = StoppedReplicas::on(Arc::new(disk.crash()));
            let found = after.read().unwrap();
            assert_eq!(found[&5], "differs");
            assert!(found.get(&6).is_none_or(|why| why == "differs too"));
        }
    }
}
