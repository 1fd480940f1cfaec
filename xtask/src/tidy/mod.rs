//! The rules of the house that no compiler checks.
//!
//! Each check is one file and answers with offences; here they are gathered, those on the list
//! of permitted ones are taken away, and what is left is a failure. Knows nothing about what
//! the code does.

mod allowed;
mod arrows;
mod limits;
mod readme;
mod sources;
mod testdata;
mod text;
mod traits;
mod world;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offence {
    /// Where, as a path from the root.
    pub(crate) path: String,
    /// Line in the file; 0 is the file as a whole.
    pub(crate) line: usize,
    /// What is wrong and what to do about it.
    pub(crate) what: String,
    /// For limits: what is measured, and how much of it there is.
    pub(crate) measure: Option<Measure>,
}

/// A quantity with a limit, which may be on the list of permitted offences.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Measure {
    /// `file-lines`, `function-lines NAME`, …
    pub(crate) subject: String,
    pub(crate) amount: usize,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path, line, what, ..
        } = self;
        if *line == 0 {
            write!(f, "{path}: {what}")
        } else {
            write!(f, "{path}:{line}: {what}")
        }
    }
}

/// A file of Rust in the workspace.
#[derive(Debug)]
pub(crate) struct RustFile {
    /// As seen from the root, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) source: String,
    /// The same with comments and the insides of strings blanked out, lines and columns kept.
    pub(crate) code: String,
}

impl RustFile {
    pub(crate) fn new(path: impl Into<String>, source: impl Into<String>) -> Self {
        let source = source.into();
        Self {
            path: path.into(),
            code: text::blanked(&source),
            source,
        }
    }

    /// Whether it holds nothing but tests.
    pub(crate) fn is_test(&self) -> bool {
        let folders = ["/tests/", "/benches/"];
        folders.iter().any(|folder| self.path.contains(folder)) || self.path.ends_with("/tests.rs")
    }

    pub(crate) fn offence(&self, line: usize, what: impl Into<String>) -> Offence {
        Offence {
            path: self.path.clone(),
            line,
            what: what.into(),
            measure: None,
        }
    }
}

pub(crate) fn run(workspace: &Workspace, shrink: bool) -> Result<()> {
    let files = rust_files(workspace)?;
    let mut offences = Vec::new();
    offences.extend(arrows::check(workspace)?);
    offences.extend(world::check(&files));
    offences.extend(limits::check(&files));
    offences.extend(readme::check(workspace)?);
    offences.extend(sources::check(workspace)?);
    offences.extend(testdata::check(workspace, &files)?);
    offences.extend(traits::check(&files));
    let list = workspace.root.join(allowed::FILE);
    if shrink {
        let permitted = fs::read_to_string(&list).ok();
        fs::write(&list, allowed::shrunk(permitted.as_deref(), &offences)?)?;
        return run(workspace, false);
    }
    let permitted = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let mut left = allowed::apply(&permitted, &offences)?;
    left.sort();
    for offence in &left {
        println!("{offence}");
    }
    if !left.is_empty() {
        bail!("{} offences against the rules of the house", left.len());
    }
    println!("{} files keep the rules of the house", files.len());
    Ok(())
}

fn rust_files(workspace: &Workspace) -> Result<Vec<RustFile>> {
    let mut files = Vec::new();
    for package in &workspace.packages {
        for path in files_below(&package.directory)? {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path)?;
                files.push(RustFile::new(slashed(workspace.relative(&path)), source));
            }
        }
    }
    Ok(files)
}

/// All files below `directory`, in order, without build output and hidden folders.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        entries.push(entry?.path());
    }
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            files.extend(files_below(&path)?);
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

pub(crate) fn slashed(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
