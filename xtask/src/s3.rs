//! Tests against a service that speaks S3: installs it into the target directory, once, and runs
//! them with it. Knows nothing of what they test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run;
use crate::workspace::{Workspace, cargo};

/// What is installed, relative to the root.
const REQUIREMENTS: &str = "crates/node/tests/s3/requirements.txt";
/// Where the tests look for the Python that has it.
const PYTHON: &str = "TABLESTORE_TEST_S3_PYTHON";
/// A few megabytes from the registry of Python packages.
const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);
/// A build of the tests, and less than a minute for them.
const TEST_LIMIT: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let python = install(workspace)?;
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--all-features", "--test", "s3"])
        .env(PYTHON, python);
    run::succeed(&mut command, TEST_LIMIT)
}

/// Installs the service if it is not there as it should be; answers the Python that has it.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(workspace.root.join(REQUIREMENTS))?;
    let home = workspace.target.join("s3-service");
    let python = home.join("bin/python");
    // Written last, so that a half installation is begun anew.
    let installed = home.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(&home);
    run::succeed(&mut command, INSTALL_LIMIT)
        .context("the tests with S3 need python3 with its module venv")?;
    run::succeed(&mut pip(&python, &workspace.root), INSTALL_LIMIT)
        .context("the service that speaks S3 was not installed")?;
    std::fs::write(&installed, wanted)?;
    Ok(python)
}

fn pip(python: &Path, root: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(root.join(REQUIREMENTS));
    command
}
