//! Where dependencies come from: the registry and this workspace, nothing else.

use std::fs;

use anyhow::{Context as _, Result};

use super::Offence;
use crate::workspace::Workspace;

/// The lock of the workspace, and those of the benchmarks outside it.
const LOCKS: [&str; 3] = [
    "Cargo.lock",
    "benches/placement/Cargo.lock",
    "benches/ring/Cargo.lock",
];
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Offence>> {
    let mut offences = Vec::new();
    for path in LOCKS {
        let lock = fs::read_to_string(workspace.root.join(path)).context(path)?;
        offences.extend(of_lock(path, &lock));
    }
    Ok(offences)
}

fn of_lock(path: &str, lock: &str) -> Vec<Offence> {
    let foreign = |line: &str| line.starts_with("source = ") && line != REGISTRY;
    let offence = |(index, line): (usize, &str)| Offence {
        path: path.to_owned(),
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
        assert!(of_lock(LOCKS[0], &format!("name = \"a\"\n{REGISTRY}\n")).is_empty());
        let git = "name = \"a\"\nsource = \"git+https://example.org/a?rev=1#1\"\n";
        assert_eq!(of_lock(LOCKS[0], git)[0].line, 2);
    }
}
