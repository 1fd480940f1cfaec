//! Which crate may depend on which, and which outside crates the core may not touch.

use super::Offence;
use crate::workspace::{DependencyKind, Package, Workspace};

/// Every crate of the workspace and the crates it may depend on, in tests as well. A new crate
/// is entered here together with the reason for its arrows in ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 16] = [
    ("tablestore-bench", &[]),
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
            "tablestore-ring",
            "tablestore-health",
            "tablestore-placement",
            "tablestore-store",
            "tablestore-replication",
            "tablestore-dataplane",
            "tablestore-controller",
            "tablestore-client",
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
            "tablestore-controller",
            "tablestore-consensus",
            "tablestore-contract",
            "tablestore-client",
            "tablestore-verify",
        ],
    ),
    ("tablestore-verify", &["tablestore-client"]),
    ("xtask", &[]),
];

/// Outside crates that read clocks, open sockets or draw random numbers, and those of ours that
/// may use them. Tests may draw random numbers: they are seeded.
const WORLD: [(&str, &[&str]); 8] = [
    (
        "tokio",
        &[
            "tablestore-bench",
            "tablestore-client",
            "tablestore-consensus",
            "tablestore-verify",
            "tablestore-node",
        ],
    ),
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

pub(crate) fn check(workspace: &Workspace) -> Vec<Offence> {
    workspace
        .packages
        .iter()
        .flat_map(|package| of_package(workspace, package))
        .collect()
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Dependency;

    fn offences(name: &str, dependencies: &[(&str, DependencyKind)]) -> Vec<String> {
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
            .map(|(other, _)| package(other, &[]))
            .collect();
        packages.retain(|other| other.name != name);
        packages.push(package(name, dependencies));
        let root = PathBuf::new();
        let workspace = Workspace {
            target: root.clone(),
            root,
            packages,
        };
        check(&workspace)
            .into_iter()
            .map(|offence| offence.what)
            .collect()
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
