//! Builds what measures and runs it: the loader with the server, the ring beside other crates, or
//! the planner of layouts.
//!
//! Knows nothing about what is measured.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::workspace::{Workspace, cargo};
use crate::{demo, run};

/// A clean release build of the loader, on two slow cores.
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The longest run takes some ten minutes.
const RUN_LIMIT: Duration = Duration::from_secs(3600);

/// The benchmark of the ring is a package outside the workspace, with other crates in its tree.
pub(crate) const RING_MANIFEST: &str = "benches/ring/Cargo.toml";
/// So is that of layouts: what it takes is no test.
const PLACEMENT_MANIFEST: &str = "benches/placement/Cargo.toml";

pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    match arguments.split_first() {
        Some((first, rest)) if first == "ring" => {
            outside(workspace, RING_MANIFEST, "tablestore-ring-bench", rest)
        }
        Some((first, rest)) if first == "placement" => outside(
            workspace,
            PLACEMENT_MANIFEST,
            "tablestore-placement-bench",
            rest,
        ),
        _ => loader(workspace, arguments),
    }
}

fn outside(
    workspace: &Workspace,
    manifest: &str,
    program: &str,
    arguments: &[OsString],
) -> Result<()> {
    let manifest = workspace.root.join(manifest);
    run::succeed(
        cargo()
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(&workspace.target),
        BUILD_LIMIT,
    )?;
    let mut command = Command::new(workspace.release_binary(program));
    run::succeed(command.args(arguments), RUN_LIMIT)
}

fn loader(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    demo::build()?;
    run::succeed(
        cargo().args(["build", "--release", "--package", "tablestore-bench"]),
        BUILD_LIMIT,
    )?;
    let program = workspace.release_binary("tablestore");
    // Beside the programs: on a disk, where a temporary directory may be in memory.
    let name = format!("bench-{}", std::process::id());
    let directory = program.with_file_name(name);
    let mut command = Command::new(workspace.release_binary("tablestore-bench"));
    command.arg("--program").arg(&program);
    command.arg("--directory").arg(directory).args(arguments);
    run::succeed(&mut command, RUN_LIMIT)
}
