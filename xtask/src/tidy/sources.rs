//! Where dependencies come from: the registry and this workspace, nothing else.

use std::fs;

use anyhow::{Context as _, Result};

use super::Offence;
use crate::workspace::Workspace;

const LOCK: &str = "Cargo.lock";
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Offence>> {
    Ok(of_lock(
        &fs::read_to_string(workspace.root.join(LOCK)).context(LOCK)?,
    ))
}

fn of_lock(lock: &str) -> Vec<Offence> {
    let foreign = |line: &str| line.starts_with("source = ") && line != REGISTRY;
    let offence = |(index, line): (usize, &str)| Offence {
        path: LOCK.to_owned(),
        line: index + 1,
        what: format!("a dependency that is not from the registry: {line}"),
        measure: None,
    };
    lock.lines()
        .enumerate()
        .filter(|(_, line)| foreign(line))
        .map(offence)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_from_elsewhere_is_an_offence() {
        assert!(of_lock(&format!("name = \"a\"\n{REGISTRY}\n")).is_empty());
        let git = "name = \"a\"\nsource = \"git+https://example.org/a?rev=1#1\"\n";
        assert_eq!(of_lock(git)[0].line, 2);
    }
}
