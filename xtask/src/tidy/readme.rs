//! Whether the README's table of crates is the workspace, and its commands are those that are
//! tested.

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
    let mut offences = compare(&readme, &folders.collect());
    offences.extend(commands(&readme));
    Ok(offences)
}

/// The two commands of the README's beginning: `ci` runs the first, and is the second.
fn commands(readme: &str) -> Vec<Offence> {
    let shown = |command: &str| readme.lines().any(|line| is_command(line, command));
    [crate::demo::IN_README, "cargo xtask ci"]
        .into_iter()
        .filter(|command| !shown(command))
        .map(|command| {
            offence(format!(
                "the command `{command}`, which is tested, is not shown"
            ))
        })
        .collect()
}

/// Whether a line is this command, with a comment or none.
fn is_command(line: &str, command: &str) -> bool {
    let rest = line.strip_prefix(command).map(str::trim_start);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

fn offence(what: String) -> Offence {
    Offence {
        path: README.to_owned(),
        line: 0,
        what,
        measure: None,
    }
}

fn is_crate(folder: &str) -> bool {
    ["crates/", "examples/"]
        .iter()
        .any(|root| folder.starts_with(root))
}

/// The first cells of the table are the crates' folders, as code.
fn compare(readme: &str, folders: &BTreeSet<String>) -> Vec<Offence> {
    let cell = |line: &str| -> Option<String> {
        let folder = line.strip_prefix("| `")?.split('`').next()?;
        (is_crate(folder) || folder == "xtask").then(|| folder.to_owned())
    };
    let listed: BTreeSet<String> = readme.lines().filter_map(cell).collect();
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
    #[test]
    fn the_commands_that_are_tested_are_shown() {
        let readme = "```sh\ncargo run --release -- demo    # three\ncargo xtask ci\n```\n";
        assert!(commands(readme).is_empty());
        assert_eq!(commands(&readme.replace(" ci", " ci --quick")).len(), 1);
        assert_eq!(commands(&readme.replace("-- demo", "demo")).len(), 1);
    }
}
