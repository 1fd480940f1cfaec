//! Everything that must hold before a change is done, one step after the other.
//!
//! Stops at the first step that fails. Knows nothing about where it runs: it needs a Rust
//! toolchain with rustfmt and clippy, and python3 for the tests with S3 and of OpenAPI; it
//! leaves out what needs more.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::run;
use crate::workspace::{Workspace, cargo};
use crate::{demo, openapi, outside, s3, sim, tidy};

/// Every seed is one run of the simulation; so many take about a minute on two cores.
const SEEDS: &str = "0..2000";

const MINUTE: Duration = Duration::from_secs(60);
/// A clean build of everything, tests included, on two slow cores.
const BUILD_LIMIT: Duration = Duration::from_secs(25 * 60);
const SHORT_LIMIT: Duration = MINUTE;
/// The feature that brings deliberate faults into the cores.
const FAULTS: &str = "mutants";
/// A target without `std`, the smallest to install.
const BARE_TARGET: &str = "wasm32v1-none";
const SIM_LIMIT: Duration = Duration::from_secs(10 * 60);

/// All features in every step, so that the steps share one build.
const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

/// A step: its name, and what it does.
type Step<'a> = (&'static str, Box<dyn Fn() -> Result<()> + 'a>);

pub(crate) fn run(workspace: &Workspace, quick: bool) -> Result<()> {
    let mut steps: Vec<Step<'_>> = vec![
        ("format", Box::new(format)),
        ("tidy", Box::new(|| tidy::run(workspace, false))),
        ("lints", Box::new(lints)),
        ("tests", Box::new(tests)),
        ("tests with S3", Box::new(|| s3::run(workspace))),
        ("tests of OpenAPI", Box::new(|| openapi::run(workspace))),
        (
            "a strategy from outside",
            Box::new(|| outside::run(workspace)),
        ),
        ("no deliberate faults", Box::new(no_deliberate_faults)),
        ("ring without std", Box::new(ring_without_std)),
        ("golden vectors", Box::new(|| golden_vectors(workspace))),
        ("documentation examples", Box::new(documentation_examples)),
        ("documentation", Box::new(documentation)),
    ];
    if !quick {
        steps.push(("simulation: build", Box::new(sim::build)));
        steps.push(("simulation: seeds", Box::new(|| seeds(workspace))));
        steps.push(("demo: build", Box::new(demo::build)));
        steps.push(("demo: run", Box::new(|| demo::assert(workspace))));
    }
    let begun = Instant::now();
    let mut times = Vec::new();
    for (number, (name, step)) in steps.iter().enumerate() {
        println!("\n==> {} of {}: {name}", number + 1, steps.len());
        let step_begun = Instant::now();
        let outcome = step();
        times.push((*name, step_begun.elapsed(), outcome.is_ok()));
        if let Err(error) = outcome {
            report(&times, begun.elapsed());
            return Err(error).with_context(|| format!("step {}, {name}", number + 1));
        }
    }
    report(&times, begun.elapsed());
    println!("all {} steps passed", steps.len());
    Ok(())
}

fn report(times: &[(&str, Duration, bool)], total: Duration) {
    println!();
    for (name, time, passed) in times {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{:>7.1} s  {verdict:6}  {name}", time.as_secs_f64());
    }
    println!("{:>7.1} s  in all", total.as_secs_f64());
}

fn format() -> Result<()> {
    run::succeed(cargo().args(["fmt", "--all", "--check"]), SHORT_LIMIT)
        .context("`cargo fmt --all` puts it right")
}

fn lints() -> Result<()> {
    let mut command = cargo();
    command
        .arg("clippy")
        .args(EVERYTHING)
        .args(["--all-targets", "--", "-D", "warnings"]);
    run::succeed(&mut command, BUILD_LIMIT)?;
    // No other step builds them but their own.
    let mut command = cargo();
    command
        .arg("clippy")
        .args(EVERYTHING)
        .args(["--test", "s3", "--test", "openapi"])
        .args(["--", "-D", "warnings"]);
    run::succeed(&mut command, BUILD_LIMIT)
}

fn tests() -> Result<()> {
    let mut command = cargo();
    if nextest_is_installed() {
        command
            .args(["nextest", "run", "--profile", "ci"])
            .args(EVERYTHING);
    } else {
        println!("cargo-nextest is not installed: `cargo test` runs the same tests, more slowly");
        command
            .arg("test")
            .args(EVERYTHING)
            .args(["--lib", "--bins", "--tests", "--examples"]);
    }
    run::succeed(&mut command, BUILD_LIMIT)
}

fn nextest_is_installed() -> bool {
    let mut command = cargo();
    command.args(["nextest", "--version"]).stderr(Stdio::null());
    run::output(&mut command, SHORT_LIMIT).is_ok_and(|(status, _)| status.success())
}

/// The server, built by itself, has no deliberate fault in it; the simulation has.
fn no_deliberate_faults() -> Result<()> {
    let has_them = |package: &str| -> Result<bool> {
        let mut command = cargo();
        command.args(["tree", "--package", package, "--edges", "normal"]);
        command.args(["--all-features", "--prefix", "none", "--format", "{p} {f}"]);
        let (status, tree) = run::output(&mut command, SHORT_LIMIT)?;
        anyhow::ensure!(status.success(), "{} failed", run::name(&command));
        let features = tree.lines().filter_map(|line| line.split(' ').next_back());
        let mut features = features.flat_map(|list| list.split(','));
        Ok(features.any(|feature| feature == FAULTS))
    };
    anyhow::ensure!(has_them("tablestore-sim")?, "the feature {FAULTS} is gone");
    anyhow::ensure!(
        !has_them("tablestore-node")?,
        "the server would be built with the feature {FAULTS}"
    );
    Ok(())
}

/// Builds the ring for a target that has no `std`, if that is installed.
fn ring_without_std() -> Result<()> {
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir", "--target", BARE_TARGET]);
    let (status, libraries) = run::output(&mut command, SHORT_LIMIT)?;
    if !status.success() || !Path::new(libraries.trim()).exists() {
        println!("skipped: `rustup target add {BARE_TARGET}` installs the target");
        return Ok(());
    }
    let mut command = cargo();
    command.args(["build", "-p", "tablestore-ring", "--features", "serde"]);
    run::succeed(command.args(["--target", BARE_TARGET]), BUILD_LIMIT)
}

/// Has the golden vectors of the ring computed anew by a program that shares no code with it.
fn golden_vectors(workspace: &Workspace) -> Result<()> {
    let mut python = Command::new("python3");
    python.arg("--version").stderr(Stdio::null());
    if !run::output(&mut python, SHORT_LIMIT).is_ok_and(|(status, _)| status.success()) {
        println!("skipped: there is no python3");
        return Ok(());
    }
    let script = workspace.root.join("crates/ring/testdata/recompute.py");
    run::succeed(Command::new("python3").arg(script), SHORT_LIMIT)
}

fn documentation_examples() -> Result<()> {
    run::succeed(
        cargo().arg("test").args(EVERYTHING).arg("--doc"),
        BUILD_LIMIT,
    )
}

fn documentation() -> Result<()> {
    let mut command = cargo();
    command
        .arg("doc")
        .args(EVERYTHING)
        .arg("--no-deps")
        .env("RUSTDOCFLAGS", "-D warnings");
    run::succeed(&mut command, BUILD_LIMIT)
}

fn seeds(workspace: &Workspace) -> Result<()> {
    let arguments: [OsString; 4] = [
        "--seeds".into(),
        SEEDS.into(),
        "--cover".into(),
        "--twice".into(),
    ];
    sim::simulate(workspace, &arguments, SIM_LIMIT)
        .context("`cargo xtask sim --seed N` replays the seed that is named above")
}
