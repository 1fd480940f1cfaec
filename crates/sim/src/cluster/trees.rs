//! The trees of a server in a temporary directory, which a crash between two calls leaves as they
//! are: what was in memory alone is gone. Knows nothing of disks that fail.

use std::fs;
use std::io;
use std::path::Path;

use tablestore_store::{Engine, LsmEngine, LsmSettings};
use tempfile::TempDir;

/// Trees that are opened, and their directory.
#[derive(Debug)]
pub(crate) struct Trees {
    // Closed before the directory is removed.
    rows: LsmEngine,
    home: TempDir,
}

impl Trees {
    pub(crate) fn empty() -> Self {
        Self::open(home())
    }

    fn open(home: TempDir) -> Self {
        // Small files, so that some are merged.
        let settings = LsmSettings {
            table_bytes: 16 << 10,
            ..LsmSettings::default()
        };
        let rows = LsmEngine::open(home.path(), &settings);
        let rows = rows.expect("what a crash left can be opened");
        assert!(rows.broken().is_empty(), "damaged: {:?}", rows.broken());
        Self { rows, home }
    }

    pub(crate) fn rows(&self) -> &dyn Engine {
        &self.rows
    }

    /// The files as they are now, opened by another process.
    pub(crate) fn after_crash(&self) -> Self {
        let copy = home();
        copy_all(self.home.path(), copy.path()).expect("a temporary directory can be copied");
        Self::open(copy)
    }
}

fn home() -> TempDir {
    TempDir::with_prefix("tablestore-sim-").expect("there is room for a temporary directory")
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir(&to)?;
            copy_all(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
