//! A package outside of the workspace with a strategy of its own: the suite of conformance must do
//! its work there with nothing but what `tablestore-placement` publishes. The strategy is that of
//! the example. Knows nothing of what the suite asks.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::run;
use crate::workspace::{Workspace, cargo};

/// The strategy, relative to the root.
const STRATEGY: &str = "examples/custom-strategy/src/strategy.rs";
const TEST: &str = include_str!("../outside/conforms.rs");
/// A few crates that the workspace has as well.
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let home = workspace.target.join("outside");
    for folder in ["src", "tests"] {
        fs::create_dir_all(home.join(folder))?;
    }
    let placement = workspace.root.join("crates/placement");
    fs::write(
        home.join("Cargo.toml"),
        manifest(&placement.display().to_string()),
    )?;
    // The same versions as here: nothing new is compiled but the package itself.
    fs::copy(workspace.root.join("Cargo.lock"), home.join("Cargo.lock"))?;
    fs::copy(workspace.root.join(STRATEGY), home.join("src/lib.rs"))?;
    fs::write(home.join("tests/conforms.rs"), TEST)?;
    let mut command = cargo();
    command
        .args(["test", "--test", "conforms", "--manifest-path"])
        .arg(home.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&workspace.target);
    run::succeed(&mut command, LIMIT)
}

fn manifest(placement: &str) -> String {
    // A string of TOML has the escapes of one of Rust.
    format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         publish = false\n\n\
         [workspace]\n\n\
         [dependencies]\ntablestore-placement = {{ path = {placement:?} }}\n\n\
         [dev-dependencies]\n\
         tablestore-placement = {{ path = {placement:?}, features = [\"testing\"] }}\n"
    )
}
