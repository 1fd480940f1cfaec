//! A node's data directory: its layout, its lock and its format file. Knows nothing of what
//! the other modules keep in it.
//!
//! ```text
//! FORMAT    who this directory belongs to: JSON, and a last line with its crc32c; replaced
//!           atomically
//! LOCK      held with flock while a process uses the directory
//! journal/  the replication journal
//! rows/     the row engine
//! control/  the log and state of consensus about the cluster map
//! ```

mod aside;
mod format;
mod refound;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use self::format::{Format, parse, render};

/// The format this version writes, and the newest that it reads.
pub const DIRECTORY_FORMAT: u32 = 2;
/// The format whose FORMAT file had no checksum; the next start writes it anew.
const DIRECTORY_FORMAT_UNCHECKED: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_FILE_NEW: &str = "FORMAT.new";
const LOCK_FILE: &str = "LOCK";
/// Starts of which the cluster may know one; FORMAT stays small.
pub const STARTS_MAX: usize = 64;
const FOLDERS: [&str; 3] = ["journal", "rows", "control"];

/// What a directory that is made now will be; ignored for one that exists.
#[derive(Clone, Copy, Debug)]
pub struct NewIdentity {
    /// A random storage id; never used before.
    pub storage: u64,
}

/// Why a data directory cannot be used. Unless said otherwise nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process has the directory open. Stop it, or use another directory.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version wrote it. Start that version.
    #[error("{} has format {found}, but this version supports up to {supported}", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format this version reads.
        supported: u32,
    },
    /// A file is damaged or missing. Restore the directory, or start with an empty one as a
    /// new member.
    #[error(
        "{} is damaged: {reason}; restore the whole data directory as it was when the node last \
         ended, or start the node with an empty one and let it join",
        file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The lock file is gone from a directory in use before: another process that holds it would
    /// not be noticed. Make sure that there is none and create the file, empty.
    #[error("{} is missing: if no process uses the directory, create it empty", file.display())]
    LockMissing {
        /// The file.
        file: PathBuf,
    },
    /// The directory belongs to another cluster. Use the right directory or the right cluster.
    #[error("{} belongs to cluster {found:016x}, not to {expected:016x}", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster it belongs to.
        found: u64,
        /// The cluster that was asked for.
        expected: u64,
    },
    /// The operating system refused. What was being written may or may not be there.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A data directory, locked for this process until it is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    format: Format,
    storage: u64,
    cluster: Option<u64>,
    created: bool,
    _lock: File,
}

impl DataDirectory {
    /// Opens a directory, and makes it first if it is not there or empty.
    ///
    /// # Errors
    /// If it is in use, of a newer format, damaged, or cannot be read and written.
    pub fn open(path: impl Into<PathBuf>, new: NewIdentity) -> Result<Self, DirectoryError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|source| at(&path, source))?;
        let lock = lock(&path)?;
        aside::finish(&path)?;
        let file = path.join(FORMAT_FILE);
        let format = match fs::read(&file) {
            Ok(bytes) => Some(parse(&path, &bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(at(&file, source)),
        };
        let created = format.is_none();
        let format = match format {
            Some(format) => format,
            None => create(&path, new)?,
        };
        let format = refound::finish(&path, format)?;
        for folder in FOLDERS {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        }
        sync_directory(&path)?;
        let storage = parse_id(&path, &format.storage)?;
        let cluster = format
            .cluster
            .as_deref()
            .map(|id| parse_id(&path, id))
            .transpose()?;
        Ok(Self {
            path,
            format,
            storage,
            cluster,
            created,
            _lock: lock,
        })
    }

    /// Deletes what [`open`](Self::open) made and what was written since; only of a directory that
    /// this call of `open` made.
    ///
    /// # Errors
    /// If it was there before, or something cannot be deleted.
    pub fn discard(self) -> Result<(), DirectoryError> {
        if !self.created {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(at(&self.path, source));
        }
        for folder in FOLDERS {
            let folder = self.path.join(folder);
            fs::remove_dir_all(&folder).map_err(|source| at(&folder, source))?;
        }
        for file in [FORMAT_FILE, LOCK_FILE] {
            let file = self.path.join(file);
            fs::remove_file(&file).map_err(|source| at(&file, source))?;
        }
        // One that was there before, and empty, may not be ours to delete.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory was made by this call of [`open`](Self::open).
    #[must_use]
    pub fn created(&self) -> bool {
        self.created
    }

    /// The storage id, made with the directory.
    #[must_use]
    pub fn storage(&self) -> u64 {
        self.storage
    }

    /// The cluster the directory belongs to, once it does.
    #[must_use]
    pub fn cluster(&self) -> Option<u64> {
        self.cluster
    }

    /// The last incarnation that was begun; 0 before the first.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.format.incarnation
    }

    /// Where the replication journal goes.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the row engine goes.
    #[must_use]
    pub fn rows(&self) -> PathBuf {
        self.path.join("rows")
    }

    /// Where the files of consensus go.
    #[must_use]
    pub fn consensus(&self) -> PathBuf {
        self.path.join("control")
    }

    /// Makes the directory a member of a cluster for good; again with the same id does nothing.
    ///
    /// # Errors
    /// If it belongs to another cluster, or the format file cannot be written.
    pub fn set_cluster(&mut self, cluster: u64) -> Result<(), DirectoryError> {
        match self.cluster {
            Some(found) if found == cluster => return Ok(()),
            Some(found) => {
                let path = self.path.clone();
                return Err(DirectoryError::OtherCluster {
                    path,
                    found,
                    expected: cluster,
                });
            }
            None => {}
        }
        let format = Format {
            cluster: Some(id_text(cluster)),
            ..self.format.clone()
        };
        write_format(&self.path, &format)?;
        self.format = format;
        self.cluster = Some(cluster);
        Ok(())
    }

    /// The starts begun in this directory of which the cluster may know one: the last
    /// [`STARTS_MAX`], and the one that it took last.
    ///
    /// # Errors
    /// If one of them is not an id.
    pub fn starts(&self) -> Result<Vec<u64>, DirectoryError> {
        let starts = self.format.taken.iter().chain(&self.format.starts);
        starts.map(|id| parse_id(&self.path, id)).collect()
    }

    /// Begins a new incarnation: one more than the last, durable when this returns. `start` is a
    /// random id for it.
    ///
    /// # Errors
    /// If the format file cannot be written; then the incarnation must not be used.
    pub fn begin_incarnation(&mut self, start: u64) -> Result<u64, DirectoryError> {
        let mut format = self.format.clone();
        format.incarnation += 1;
        format.starts.push(id_text(start));
        if format.starts.len() > STARTS_MAX {
            format.starts.remove(0);
        }
        self.replace_format(format)?;
        Ok(self.format.incarnation)
    }

    /// The cluster has taken the start that was begun last.
    ///
    /// # Errors
    /// If the format file cannot be written; call it again.
    pub fn start_taken(&mut self) -> Result<(), DirectoryError> {
        let mut format = self.format.clone();
        format.taken = format.starts.last().cloned();
        self.replace_format(format)
    }

    fn replace_format(&mut self, format: Format) -> Result<(), DirectoryError> {
        write_format(&self.path, &format)?;
        self.format = format;
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let file = path.join(LOCK_FILE);
    let lock = OpenOptions::new()
        .create(!path.join(FORMAT_FILE).exists())
        .truncate(false)
        .write(true)
        .open(&file)
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DirectoryError::LockMissing { file: file.clone() },
            _ => at(&file, source),
        })?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::InUse {
            path: path.to_owned(),
        }),
        Err(errno) => Err(at(&file, errno.into())),
    }
}

/// Writes the first format file, unless there are data that it should have belonged to.
fn create(path: &Path, new: NewIdentity) -> Result<Format, DirectoryError> {
    for folder in FOLDERS {
        let folder = path.join(folder);
        let holds_data = match fs::read_dir(&folder) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(at(&folder, source)),
        };
        if holds_data {
            return Err(DirectoryError::Corrupt {
                file: path.join(FORMAT_FILE),
                reason: format!("it is missing, but {} holds data", folder.display()),
            });
        }
    }
    let format = Format {
        format: DIRECTORY_FORMAT,
        storage: id_text(new.storage),
        cluster: None,
        incarnation: 0,
        taken: None,
        starts: Vec::new(),
    };
    write_format(path, &format)?;
    Ok(format)
}

fn write_format(path: &Path, format: &Format) -> Result<(), DirectoryError> {
    let new = path.join(FORMAT_FILE_NEW);
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&render(format)?)?;
        file.sync_all()?;
        fs::rename(&new, path.join(FORMAT_FILE))
    };
    write().map_err(|source| at(&new, source))?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), DirectoryError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| at(path, source))
}

fn id_text(id: u64) -> String {
    format!("{id:016x}")
}

fn parse_id(path: &Path, text: &str) -> Result<u64, DirectoryError> {
    u64::from_str_radix(text, 16).map_err(|_| DirectoryError::Corrupt {
        file: path.join(FORMAT_FILE),
        reason: format!("{text:?} is not an id"),
    })
}

fn at(path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::format::without_checksum;
    use super::*;
    use crate::testing::golden::Golden;

    const NEW: NewIdentity = NewIdentity { storage: 0xabc };

    #[test]
    fn identity_survives_and_incarnations_rise() {
        let home = tempfile::tempdir().unwrap();
        let mut first = DataDirectory::open(home.path().join("d"), NEW).unwrap();
        assert!(first.created());
        assert_eq!(
            (first.storage(), first.cluster(), first.incarnation()),
            (0xabc, None, 0)
        );
        assert_eq!(first.begin_incarnation(71).unwrap(), 1);
        first.set_cluster(7).unwrap();
        drop(first);
        let other = NewIdentity { storage: 0xdef };
        let mut again = DataDirectory::open(home.path().join("d"), other).unwrap();
        assert!(!again.created());
        assert_eq!(
            (again.storage(), again.cluster(), again.incarnation()),
            (0xabc, Some(7), 1)
        );
        assert_eq!(again.begin_incarnation(72).unwrap(), 2);
        assert!(again.journal().is_dir() && again.rows().is_dir() && again.consensus().is_dir());
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let held = DataDirectory::open(home.path(), NEW).unwrap();
        let error = DataDirectory::open(home.path(), NEW).unwrap_err();
        assert!(matches!(error, DirectoryError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(home.path().to_str().unwrap()));
        drop(held);
        DataDirectory::open(home.path(), NEW).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_even_if_its_fields_are_unknown() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("LOCK"), b"").unwrap();
        fs::write(home.path().join("FORMAT"), br#"{"format":3,"who":1}"#).unwrap();
        let error = DataDirectory::open(home.path(), NEW).unwrap_err();
        assert!(matches!(
            error,
            DirectoryError::NewerFormat {
                found: 3,
                supported: 2,
                ..
            }
        ));
    }

    #[test]
    fn a_damaged_or_missing_format_file_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("LOCK"), b"").unwrap();
        fs::write(home.path().join("FORMAT"), b"{").unwrap();
        let error = DataDirectory::open(home.path(), NEW).unwrap_err();
        assert!(matches!(&error, DirectoryError::Corrupt { file, .. } if file.ends_with("FORMAT")));
        fs::remove_file(home.path().join("FORMAT")).unwrap();
        fs::create_dir(home.path().join("journal")).unwrap();
        fs::write(home.path().join("journal/x"), b"x").unwrap();
        let error = DataDirectory::open(home.path(), NEW).unwrap_err();
        assert!(error.to_string().contains("holds data"), "{error}");
    }

    #[test]
    fn o12_a_directory_of_another_cluster_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let mut directory = DataDirectory::open(home.path(), NEW).unwrap();
        directory.set_cluster(7).unwrap();
        directory.set_cluster(7).unwrap();
        let error = directory.set_cluster(8).unwrap_err();
        assert!(matches!(
            error,
            DirectoryError::OtherCluster {
                found: 7,
                expected: 8,
                ..
            }
        ));
        assert_eq!(directory.cluster(), Some(7));
    }

    #[test]
    fn the_format_file_is_these_bytes() {
        let home = tempfile::tempdir().unwrap();
        let mut directory = DataDirectory::open(home.path(), NEW).unwrap();
        directory.set_cluster(0xc1).unwrap();
        directory.begin_incarnation(0x51).unwrap();
        let written = fs::read_to_string(home.path().join("FORMAT")).unwrap();
        let golden = Golden {
            format: "the file FORMAT of a data directory",
            number: "DIRECTORY_FORMAT",
            file: "directory-format-2.txt",
            text: include_str!("../testdata/directory-format-2.txt"),
        };
        golden.check(&written);
    }

    #[test]
    fn the_start_that_was_taken_and_the_last_ones_begun_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let mut directory = DataDirectory::open(home.path(), NEW).unwrap();
        assert!(directory.starts().unwrap().is_empty());
        directory.begin_incarnation(1).unwrap();
        directory.start_taken().unwrap();
        for start in 2..=200 {
            directory.begin_incarnation(start).unwrap();
        }
        drop(directory);
        let directory = DataDirectory::open(home.path(), NEW).unwrap();
        let starts = directory.starts().unwrap();
        assert_eq!(starts.len(), STARTS_MAX + 1);
        assert_eq!((starts[0], starts[STARTS_MAX]), (1, 200));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_the_format_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(home.path(), NEW).unwrap());
        let file = home.path().join("FORMAT");
        let whole = fs::read(&file).unwrap();
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        });
        for damaged in flipped.chain((0..whole.len()).map(|cut| whole[..cut].to_vec())) {
            fs::write(&file, &damaged).unwrap();
            let error = DataDirectory::open(home.path(), NEW).unwrap_err();
            assert!(error.to_string().contains("FORMAT is damaged"), "{error}");
            assert_eq!(fs::read(&file).unwrap(), damaged);
        }
    }

    #[test]
    fn a_directory_of_the_format_without_a_checksum_is_taken_over_by_its_next_start() {
        let home = tempfile::tempdir().unwrap();
        let old = br#"{ "format": 1, "storage": "0000000000000abc", "cluster": null,
            "incarnation": 4 }"#;
        let file = home.path().join("FORMAT");
        fs::write(&file, old).unwrap();
        fs::write(home.path().join("LOCK"), b"").unwrap();
        let mut directory = DataDirectory::open(home.path(), NEW).unwrap();
        assert_eq!(
            fs::read(&file).unwrap(),
            old,
            "a start may still be refused"
        );
        assert_eq!(directory.begin_incarnation(0x51).unwrap(), 5);
        assert!(without_checksum(&fs::read(&file).unwrap()).is_some());
    }

    #[test]
    fn a_lock_file_that_is_gone_or_no_file_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(home.path(), NEW).unwrap());
        let lock = home.path().join("LOCK");
        fs::remove_file(&lock).unwrap();
        let error = DataDirectory::open(home.path(), NEW).unwrap_err();
        assert!(
            matches!(error, DirectoryError::LockMissing { .. }),
            "{error}"
        );
        fs::create_dir(&lock).unwrap();
        let error = DataDirectory::open(home.path(), NEW).unwrap_err();
        assert!(error.to_string().contains("LOCK"), "{error}");
    }

    #[test]
    fn a_replacement_that_was_not_finished_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(home.path(), NEW).unwrap());
        fs::write(home.path().join("FORMAT.new"), b"{\"for").unwrap();
        assert_eq!(
            DataDirectory::open(home.path(), NEW).unwrap().storage(),
            0xabc
        );
    }
}
