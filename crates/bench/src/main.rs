//! Loads three nodes of ours and three of etcd in turn, and prints how they compare.
//!
//! Everything runs on this machine: the nodes as processes of their own, the loader in this one.
//! Knows nothing of how either system works: it starts it, writes rows, reads rows.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark talks to a terminal"
)]

mod figures;
mod idle;
mod load;
mod machine;
mod plan;
mod report;
mod rows;
mod system;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use crate::plan::Plan;
use crate::report::{Comparison, Report};
use crate::rows::Rows;
use crate::system::{System, etcd, ours};
use crate::wire::Operation;

/// Durable single-row writes and strong reads of three nodes, beside etcd in the same run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Three windows of three seconds for each figure, instead of seven of ten
    #[arg(long)]
    quick: bool,
    /// The last line of standard output is one JSON object with the same figures
    #[arg(long)]
    json: bool,
    /// Do not load etcd
    #[arg(long)]
    alone: bool,
    /// Fail if etcd is not there and cannot be installed
    #[arg(long, conflicts_with = "alone")]
    require_peer: bool,
    /// Connections of the loader, comma-separated
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    connections: Vec<usize>,
    /// Where both systems keep their data; made, and removed at the end
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// The server of ours
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = || -> Result<()> {
        // One thread: the loader leaves the other cores to what it measures.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(bench(&arguments))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(arguments: &Arguments) -> Result<()> {
    for connections in &arguments.connections {
        ensure!(
            (1..=4096).contains(connections),
            "--connections: expected 1 to 4096, got {connections}"
        );
    }
    let directory = Directory::make(arguments.directory.clone())?;
    let plan = Plan::new(arguments.quick);
    let rows = Rows::new(plan.keys);
    let ours = ours::start(&arguments.program, &directory.0.join("ours")).await?;
    eprintln!("{} is up; looking at it idle", ours.name);
    let idle = idle::watch(&ours, plan.idle).await?;
    let etcd = if arguments.alone {
        None
    } else {
        peer(arguments, &directory).await?
    };
    for system in [Some(&ours), etcd.as_ref()].into_iter().flatten() {
        eprintln!("writing {} rows to {}", plan.keys, system.name);
        load::fill(system, &rows, plan.keys).await?;
    }
    let mut comparisons = Vec::new();
    for operation in [Operation::Write, Operation::Read] {
        for &connections in &arguments.connections {
            eprintln!("{}s over {connections} connections", operation.name());
            let mut comparison = Comparison::new(operation, connections);
            for _ in 0..plan.windows {
                comparison
                    .ours
                    .push(load::window(&ours, operation, connections, plan.window, &rows).await?);
                if let Some(etcd) = &etcd {
                    comparison.etcd.push(
                        load::window(etcd, operation, connections, plan.window, &rows).await?,
                    );
                }
            }
            comparisons.push(comparison);
        }
    }
    let report = Report {
        machine: machine::describe(),
        versions: [Some(&ours), etcd.as_ref()]
            .into_iter()
            .flatten()
            .map(|system| system.version.clone())
            .collect(),
        plan,
        idle,
        comparisons,
    };
    println!("{}", report.text());
    if arguments.json {
        println!("{}", report.json());
    }
    Ok(())
}

/// etcd, installed if need be; `None` if it cannot be had and may be left out.
async fn peer(arguments: &Arguments, directory: &Directory) -> Result<Option<System>> {
    let started = match etcd::find_or_install() {
        Ok(program) => etcd::start(&program, &directory.0.join("etcd")).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(system) => Ok(Some(system)),
        Err(error) if arguments.require_peer => Err(error.context("etcd is required")),
        Err(error) => {
            eprintln!("without etcd: {error:#}");
            Ok(None)
        }
    }
}

/// A directory of our own, removed when the run is over.
struct Directory(PathBuf);

impl Directory {
    fn make(path: PathBuf) -> Result<Self> {
        let named = || format!("--directory {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(named)?;
        }
        std::fs::create_dir(&path).with_context(named)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is in the way of nobody: the next run takes another name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
