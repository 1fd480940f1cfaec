//! Tests against a service that speaks S3: has it installed, once, and runs them with it. Knows
//! nothing of what they test.

use std::time::Duration;

use anyhow::Result;

use crate::workspace::{Workspace, cargo};
use crate::{python, run};

/// The environment of the service, in the target directory.
const SERVICE: &str = "s3-service";
/// What is installed, relative to the root.
const REQUIREMENTS: &str = "crates/node/tests/s3/requirements.txt";
/// Where the tests look for the Python that has it.
const PYTHON: &str = "TABLESTORE_TEST_S3_PYTHON";
/// A build of the tests, and less than a minute for them.
const TEST_LIMIT: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let python = python::installed(workspace, SERVICE, REQUIREMENTS)?;
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--all-features", "--test", "s3"])
        .env(PYTHON, python);
    run::succeed(&mut command, TEST_LIMIT)
}
