//! The project's own tasks, as `cargo xtask <task>`.
//!
//! Knows nothing of the crates' code: it runs cargo, reads manifests and looks at source text.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to a terminal"
)]

mod bench;
mod ci;
mod demo;
mod openapi;
mod outside;
mod python;
mod run;
mod s3;
mod sim;
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The project's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that must hold: format, lints, tests, documentation, simulation, a demo run.
    Ci {
        /// Without the simulation and the demo, which need release builds.
        #[arg(long)]
        quick: bool,
    },
    /// The rules of the house that no compiler checks.
    Tidy {
        /// Lower the list of permitted offences to those that are left.
        #[arg(long)]
        shrink: bool,
    },
    /// Tests against a service that speaks S3, which is installed into the target directory.
    S3,
    /// `/openapi.json` before a validator, a generator of clients and a fuzzer, which are installed
    /// into the target directory.
    Openapi,
    /// The suite of conformance, from a package outside of the workspace.
    Outside,
    /// The simulation, built for release; arguments go to it (`--seed N`, `--seeds A..B`, …).
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Throughput beside etcd, built for release; arguments go to it (`--quick`, `--json`, …).
    /// `ring`, as the first of them, has the ring measured beside other crates instead.
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The demo, built for release; arguments go to it (`--seconds N`, `--kills N`, `--json`).
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    let workspace = Workspace::read()?;
    match task {
        Task::Ci { quick } => ci::run(&workspace, quick),
        Task::Tidy { shrink } => tidy::run(&workspace, shrink),
        Task::S3 => s3::run(&workspace),
        Task::Openapi => openapi::run(&workspace),
        Task::Outside => outside::run(&workspace),
        Task::Sim { arguments } => sim::run(&workspace, &arguments),
        Task::Bench { arguments } => bench::run(&workspace, &arguments),
        Task::Demo { arguments } => demo::run(&workspace, &arguments),
    }
}
