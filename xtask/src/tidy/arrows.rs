//! Which crate may depend on which, and which outside crates the core may not touch. What
//! ARCHITECTURE.md shows of it is compared with the manifests.

use std::fs;

use anyhow::{Context as _, Result};

use super::Offence;
use crate::workspace::{DependencyKind, Package, Workspace};

/// Every crate of the workspace and the crates it depends on, in tests as well: one more is an
/// offence, and so is one less. A new crate is entered here together with the reason for its
/// arrows in ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 18] = [
    ("tablestore-bench", &["tablestore-client"]),
    ("tablestore-ring", &[]),
    ("tablestore-health", &[]),
    ("tablestore-placement", &["tablestore-ring"]),
    ("tablestore-item", &[]),
    ("tablestore-contract", &[]),
    ("tablestore-store", &["tablestore-item"]),
    ("tablestore-replication", &["tablestore-placement"]),
    (
        "tablestore-dataplane",
        &[
            "tablestore-placement",
            "tablestore-store",
            "tablestore-replication",
        ],
    ),
    (
        "tablestore-owned",
        &["tablestore-store", "tablestore-replication"],
    ),
    (
        "tablestore-controller",
        &["tablestore-health", "tablestore-placement"],
    ),
    (
        "tablestore-consensus",
        &[
            "tablestore-placement",
            "tablestore-store",
            "tablestore-controller",
        ],
    ),
    (
        "tablestore-client",
        &["tablestore-contract", "tablestore-item"],
    ),
    (
        "tablestore-sim",
        &[
            "tablestore-health",
            "tablestore-placement",
            "tablestore-store",
            "tablestore-replication",
            "tablestore-dataplane",
            "tablestore-controller",
        ],
    ),
    (
        "tablestore-node",
        &[
            "tablestore-ring",
            "tablestore-health",
            "tablestore-placement",
            "tablestore-store",
            "tablestore-replication",
            "tablestore-dataplane",
            "tablestore-owned",
            "tablestore-controller",
            "tablestore-consensus",
            "tablestore-contract",
            "tablestore-client",
            "tablestore-verify",
        ],
    ),
    ("tablestore-verify", &["tablestore-client"]),
    (
        "custom-strategy",
        &[
            "tablestore-placement",
            "tablestore-client",
            "tablestore-node",
        ],
    ),
    ("xtask", &[]),
];

/// Outside crates that read clocks, open sockets or draw random numbers, and those of ours that
/// may use them. Tests may draw random numbers: they are seeded.
const WORLD: [(&str, &[&str]); 9] = [
    (
        "tokio",
        &[
            "tablestore-bench",
            "tablestore-client",
            "tablestore-consensus",
            "tablestore-owned",
            "tablestore-verify",
            "tablestore-node",
            "custom-strategy",
        ],
    ),
    ("slatedb", &["tablestore-owned"]),
    ("axum", &["tablestore-node"]),
    ("hyper", &["tablestore-node"]),
    ("reqwest", &["tablestore-client", "tablestore-node"]),
    ("openraft", &["tablestore-consensus"]),
    (
        "socket2",
        &[
            "tablestore-consensus",
            "tablestore-verify",
            "tablestore-node",
        ],
    ),
    ("rand", &["tablestore-sim", "tablestore-node"]),
    (
        "rustix",
        &["tablestore-health", "tablestore-store", "tablestore-node"],
    ),
];

/// The document with the figure and the table of crates.
const DOCUMENT: &str = "ARCHITECTURE.md";

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Offence>> {
    let document = fs::read_to_string(workspace.root.join(DOCUMENT)).context(DOCUMENT)?;
    let mut offences = of_manifests(workspace);
    offences.extend(of_document(&document));
    Ok(offences)
}

fn of_manifests(workspace: &Workspace) -> Vec<Offence> {
    let packages = workspace.packages.iter();
    packages
        .flat_map(|package| of_package(workspace, package))
        .collect()
}

/// The name of a crate of the server as documents have it; none for what only builds it.
fn short(name: &str) -> Option<&str> {
    name.strip_prefix("tablestore-")
}

/// The longest way from a crate along the arrows.
fn level(name: &str) -> usize {
    let found = ARROWS.iter().find(|(other, _)| *other == name);
    let arrows = found.map_or(&[][..], |(_, arrows)| arrows);
    let below = arrows.iter().map(|to| level(to) + 1);
    below.max().unwrap_or(0)
}

/// Lines of the figure and of the table that must be in the document, and lines of the figure
/// that must not.
fn of_document(document: &str) -> Vec<Offence> {
    let offence = |what: String| Offence {
        path: DOCUMENT.to_owned(),
        line: 0,
        what,
        measure: None,
    };
    let mut missing = Vec::new();
    let mut figure = Vec::new();
    for (name, arrows) in &ARROWS {
        let Some(crate_name) = short(name) else {
            continue;
        };
        let row = format!("| {crate_name} | {} |", level(name));
        if !document.lines().any(|line| line.starts_with(&row)) {
            missing.push(offence(format!("its table of crates has no row `{row}`")));
        }
        if !arrows.is_empty() {
            let targets: Vec<&str> = arrows.iter().filter_map(|to| short(to)).collect();
            figure.push(format!("{crate_name} ──► {}", targets.join(" ")));
        }
    }
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_of_figure = |line: &String| line.split(' ').nth(1) == Some("──►");
    let drawn: Vec<String> = document.lines().map(words).filter(is_of_figure).collect();
    let absent = figure.iter().filter(|line| !drawn.contains(line));
    missing.extend(absent.map(|line| offence(format!("its figure has no line `{line}`"))));
    let surplus = drawn.iter().filter(|line| !figure.contains(line));
    missing.extend(surplus.map(|line| offence(format!("its figure shows what is not: `{line}`"))));
    missing
}

fn of_package(workspace: &Workspace, package: &Package) -> Vec<Offence> {
    let path = super::slashed(workspace.relative(&package.directory.join("Cargo.toml")));
    let offence = |what: String| Offence {
        path: path.clone(),
        line: 0,
        what,
        measure: None,
    };
    let Some((_, permitted)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
        return vec![offence(format!(
            "{} is not in the table of crates",
            package.name
        ))];
    };
    let ours = |name: &str| {
        workspace
            .packages
            .iter()
            .any(|package| package.name == name)
    };
    let mut offences = Vec::new();
    for unused in permitted.iter().filter(|name| !depends_on(package, name)) {
        offences.push(offence(format!(
            "an arrow that is allowed and not there: {} → {unused}",
            package.name
        )));
    }
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if ours(name) && !permitted.contains(&name) && name != package.name {
            offences.push(offence(format!("a new arrow: {} → {name}", package.name)));
        }
        let world = WORLD.iter().find(|(outside, _)| *outside == name);
        let in_tests = dependency.kind == DependencyKind::Dev && name == "rand";
        if let Some((_, users)) = world
            && !users.contains(&package.name.as_str())
            && !in_tests
        {
            offences.push(offence(format!("{} may not use {name}", package.name)));
        }
    }
    offences
}

fn depends_on(package: &Package, name: &str) -> bool {
    let mut dependencies = package.dependencies.iter();
    dependencies.any(|dependency| dependency.name == name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Dependency;

    /// What is wrong when a crate has all arrows that it may have, and these dependencies.
    fn offences(name: &str, dependencies: &[(&str, DependencyKind)]) -> Vec<String> {
        let found = ARROWS.iter().find(|(other, _)| *other == name);
        let arrows = found.map_or(&[][..], |(_, arrows)| arrows);
        let arrows = arrows.iter().map(|to| (*to, DependencyKind::Normal));
        let all: Vec<_> = arrows.chain(dependencies.iter().copied()).collect();
        offences_with(name, &all)
    }

    /// What is wrong when a crate has just these dependencies.
    fn offences_with(name: &str, dependencies: &[(&str, DependencyKind)]) -> Vec<String> {
        let package = |name: &str, dependencies: &[(&str, DependencyKind)]| Package {
            name: name.to_owned(),
            directory: PathBuf::from("crates").join(name),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: *kind,
                })
                .collect(),
        };
        let mut packages: Vec<_> = ARROWS
            .iter()
            .map(|(other, arrows)| {
                let arrows = arrows.iter().map(|to| (*to, DependencyKind::Normal));
                package(other, &arrows.collect::<Vec<_>>())
            })
            .collect();
        packages.retain(|other| other.name != name);
        packages.push(package(name, dependencies));
        let root = PathBuf::new();
        let workspace = Workspace {
            target: root.clone(),
            root,
            packages,
        };
        let offences = of_manifests(&workspace).into_iter();
        offences.map(|offence| offence.what).collect()
    }

    #[test]
    fn an_arrow_that_is_allowed_and_not_there_is_an_offence() {
        use DependencyKind::{Dev, Normal};
        assert_eq!(
            offences_with("tablestore-placement", &[]),
            ["an arrow that is allowed and not there: tablestore-placement → tablestore-ring"]
        );
        for kind in [Normal, Dev] {
            let found = offences_with("tablestore-placement", &[("tablestore-ring", kind)]);
            assert!(found.is_empty(), "{found:?}");
        }
        let one = [("tablestore-health", Normal)];
        let found = offences_with("tablestore-controller", &one);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_document_that_shows_other_arrows_or_levels_is_an_offence() {
        let mut document = String::new();
        for (name, arrows) in &ARROWS {
            let Some(crate_name) = short(name) else {
                continue;
            };
            document += &format!("| {crate_name} | {} | nothing |\n", level(name));
            if !arrows.is_empty() {
                let targets: Vec<&str> = arrows.iter().filter_map(|to| short(to)).collect();
                document += &format!("   {crate_name}  ──►  {}\n", targets.join(" "));
            }
        }
        assert_eq!(of_document(&document), []);
        let more = document.replace(
            "replication  ──►  placement",
            "replication ──► placement ring",
        );
        assert_eq!(
            of_document(&more).len(),
            2,
            "one line is absent, one is surplus"
        );
        let without = document.replace("| ring | 0 |", "| ring | 1 |");
        assert_eq!(of_document(&without).len(), 1);
    }

    #[test]
    fn a_new_arrow_is_an_offence_in_tests_too() {
        use DependencyKind::{Build, Dev, Normal};
        for kind in [Normal, Dev, Build] {
            let found = offences("tablestore-ring", &[("tablestore-health", kind)]);
            assert_eq!(found, ["a new arrow: tablestore-ring → tablestore-health"]);
            assert!(offences("tablestore-placement", &[("tablestore-ring", kind)]).is_empty());
            assert_eq!(
                offences("tablestore-node", &[("tablestore-sim", kind)]).len(),
                1
            );
            assert_eq!(
                offences("tablestore-sim", &[("tablestore-node", kind)]).len(),
                1
            );
        }
    }

    #[test]
    fn the_core_may_not_reach_for_the_world() {
        use DependencyKind::{Dev, Normal};
        assert_eq!(
            offences("tablestore-replication", &[("tokio", Normal)]).len(),
            1
        );
        assert_eq!(
            offences("tablestore-replication", &[("tokio", Dev)]).len(),
            1
        );
        assert_eq!(offences("tablestore-ring", &[("rand", Normal)]).len(), 1);
        assert!(offences("tablestore-ring", &[("rand", Dev)]).is_empty());
        assert!(offences("tablestore-node", &[("tokio", Normal)]).is_empty());
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_an_offence() {
        assert_eq!(offences("tablestore-extra", &[]).len(), 1);
    }
}
