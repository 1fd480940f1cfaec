//! Builds and runs the simulation. Knows nothing about what is simulated.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;

use crate::run;
use crate::workspace::{Workspace, cargo};

/// A clean release build of the simulation alone, on two slow cores.
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// A run of many seeds asked for by hand.
const RUN_LIMIT: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build()?;
    simulate(workspace, arguments, RUN_LIMIT)
}

/// Builds the simulation by itself, so that its deliberate bugs reach no other build.
pub(crate) fn build() -> Result<()> {
    run::succeed(
        cargo().args(["build", "--release", "--package", "tablestore-sim"]),
        BUILD_LIMIT,
    )
}

pub(crate) fn simulate(
    workspace: &Workspace,
    arguments: &[OsString],
    limit: Duration,
) -> Result<()> {
    let binary = workspace.release_binary("tablestore-sim");
    run::succeed(std::process::Command::new(binary).args(arguments), limit)
}
