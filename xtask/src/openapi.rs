//! What others make of `/openapi.json`: has a validator, a generator of clients and a fuzzer
//! installed, once, and runs the tests that put them on a node. Knows nothing of the document.

use std::time::Duration;

use anyhow::Result;

use crate::workspace::{Workspace, cargo};
use crate::{python, run};

/// The environment of the tools, in the target directory.
const TOOLS: &str = "openapi-tools";
/// What is installed, relative to the root.
const REQUIREMENTS: &str = "crates/node/tests/openapi/requirements.txt";
/// Where the tests look for the Python that has it.
const PYTHON: &str = "TABLESTORE_TEST_OPENAPI_PYTHON";
/// A build of the tests, and some two minutes for them.
const TEST_LIMIT: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let python = python::installed(workspace, TOOLS, REQUIREMENTS)?;
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--all-features", "--test", "openapi"])
        .env(PYTHON, python);
    run::succeed(&mut command, TEST_LIMIT)
}
