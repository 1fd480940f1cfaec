//! Whether the README's table of crates is the workspace.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result};

use super::Offence;
use crate::workspace::Workspace;

const README: &str = "README.md";

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Offence>> {
    let readme = fs::read_to_string(workspace.root.join(README)).context(README)?;
    let folders = workspace.packages.iter().map(|package| {
        let folder = workspace.relative(&package.directory);
        super::slashed(folder)
    });
    Ok(compare(&readme, &folders.collect()))
}

/// The first cells of the table are the crates' folders, as code.
fn compare(readme: &str, folders: &BTreeSet<String>) -> Vec<Offence> {
    let cell = |line: &str| -> Option<String> {
        let folder = line.strip_prefix("| `")?.split('`').next()?;
        (folder.starts_with("crates/") || folder == "xtask").then(|| folder.to_owned())
    };
    let listed: BTreeSet<String> = readme.lines().filter_map(cell).collect();
    let offence = |what: String| Offence {
        path: README.to_owned(),
        line: 0,
        what,
        measure: None,
    };
    let missing = folders.difference(&listed);
    let missing = missing.map(|folder| offence(format!("the table of crates lacks {folder}")));
    let gone = listed.difference(folders);
    let gone = gone.map(|folder| offence(format!("the table of crates has {folder}, none other")));
    missing.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_crates_equals_the_workspace() {
        let folders = BTreeSet::from(["crates/ring".to_owned(), "xtask".to_owned()]);
        let readme = "# x\n\n| crate | what |\n|---|---|\n| `crates/ring` | r |\n| `xtask` | x |\n";
        assert!(compare(readme, &folders).is_empty());
        assert_eq!(compare("", &folders).len(), 2);
        assert_eq!(compare(&readme.replace("ring", "rung"), &folders).len(), 2);
    }
}
