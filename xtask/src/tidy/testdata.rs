//! Whether every file of test data is named by a test of its crate.

use anyhow::Result;

use super::{Offence, RustFile, files_below, slashed};
use crate::workspace::Workspace;

pub(crate) fn check(workspace: &Workspace, files: &[RustFile]) -> Result<Vec<Offence>> {
    let mut data = Vec::new();
    for package in &workspace.packages {
        for path in files_below(&package.directory)? {
            data.push(slashed(workspace.relative(&path)));
        }
    }
    data.retain(|path| path.contains("/testdata/"));
    Ok(unread(&data, files))
}

/// A file counts as read if its name stands in a source file of the same crate.
fn unread(data: &[String], files: &[RustFile]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for path in data {
        let Some((folder, inside)) = path.split_once("/testdata/") else {
            continue;
        };
        let name = inside.rsplit('/').next().unwrap_or(inside);
        let of_crate = |file: &&RustFile| {
            file.path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if !files
            .iter()
            .filter(of_crate)
            .any(|file| file.source.contains(name))
        {
            let what = "no test of its crate names this file".to_owned();
            offences.push(Offence {
                path: path.clone(),
                line: 0,
                what,
                measure: None,
            });
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_data_that_no_test_names_is_an_offence() {
        let data = [
            "crates/a/testdata/x.txt".to_owned(),
            "crates/a/testdata/s/y.txt".to_owned(),
        ];
        let naming = |path| RustFile::new(path, "include_str!(\"../testdata/x.txt\")");
        let found = |path| unread(&data, &[naming(path)]).len();
        assert_eq!(found("crates/a/tests/t.rs"), 1);
        assert_eq!(
            found("crates/ab/tests/t.rs"),
            2,
            "another crate's test does not count"
        );
    }
}
