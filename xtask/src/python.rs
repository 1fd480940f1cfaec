//! Python packages that tests need, each set in an environment of its own in the target directory.
//!
//! Knows nothing of what the packages do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run;
use crate::workspace::Workspace;

/// Some ten megabytes from the registry of Python packages.
const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Installs what a file of requirements lists if it is not there as it should be; answers the
/// Python that has it.
///
/// # Errors
/// If there is no Python, or the registry cannot be reached.
pub(crate) fn installed(workspace: &Workspace, name: &str, requirements: &str) -> Result<PathBuf> {
    let requirements = workspace.root.join(requirements);
    let wanted = std::fs::read_to_string(&requirements)?;
    let home = workspace.target.join(name);
    let python = home.join("bin/python");
    // Written last, so that a half installation is begun anew.
    let installed = home.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(&home);
    run::succeed(&mut command, INSTALL_LIMIT)
        .with_context(|| format!("{name} needs python3 with its module venv"))?;
    run::succeed(&mut pip(&python, &requirements), INSTALL_LIMIT)
        .with_context(|| format!("what {name} needs was not installed"))?;
    std::fs::write(&installed, wanted)?;
    Ok(python)
}

fn pip(python: &Path, requirements: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "-r"])
        .arg(requirements);
    command
}
