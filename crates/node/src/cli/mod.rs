//! The command line: reads arguments, calls the server through the client, shows what came back.
//!
//! Knows nothing of how a node works: `start` hands plain settings to the library, everything else
//! goes over HTTP like any other program.

mod assess;
mod checksums;
mod completions;
mod config;
mod csv;
mod decisions;
mod explain;
mod export;
mod holdings;
mod import;
mod member;
mod recover;
mod rows;
mod settings;
mod start;
mod status;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tablestore_client::{Client, ClientSettings};

use crate::terminal::{Exit, Failure, Screen};

/// Where `start` listens and every other command connects, unless told otherwise.
pub(crate) const ADDRESS: &str = "127.0.0.1:7001";

const AFTER_HELP: &str = "\
Exit status:
  0  done
  1  refused by the server, or failed here
  2  wrong command line or settings
  3  no node could be reached, or the cluster could not serve it in time: nothing was changed
  4  the outcome of a write is unknown: repeat it
  5  done, but look: rows were rejected, the row is not there, copies differ, the cluster is
     degraded, or the demo found something lost, stale or unequal

Every option can be set in the environment as TABLESTORE_<OPTION>, where the help names it.

Try it:
  tablestore demo      three nodes on this machine, killed in turn, every write checked
  tablestore start     one node with its data in ./tablestore-data";

/// Table Store: tables that stay up and lose nothing when machines fail.
#[derive(Debug, Parser)]
#[command(name = "tablestore", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Nodes to talk to; any node will do, more than one for when a node is down
    #[arg(
        long,
        global = true,
        env = "TABLESTORE_SERVER",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        default_value = ADDRESS,
        help_heading = "Global options"
    )]
    server: Vec<String>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Seconds that one request may take, retries on other nodes included
    #[arg(
        long,
        global = true,
        env = "TABLESTORE_TIMEOUT",
        hide_env_values = true,
        value_name = "SECONDS",
        default_value_t = 10.0,
        help_heading = "Global options"
    )]
    timeout: f64,
}

impl Global {
    fn screen(&self) -> Screen {
        Screen::new(self.json)
    }

    fn client(&self) -> Result<Client, Failure> {
        let deadline = Duration::try_from_secs_f64(self.timeout).map_err(|_| {
            Failure::usage(format!("--timeout: expected seconds, got {}", self.timeout))
        })?;
        let settings = ClientSettings::default().deadline(deadline);
        Client::with_settings(&self.server, settings)
            .map_err(|error| Failure::usage(format!("--server: {error}")))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node; without options a cluster of one node in ./tablestore-data
    Start(Box<start::StartArguments>),
    /// Show at a glance whether all is well
    Status(status::StatusArguments),
    /// Create, alter, list, describe and delete tables
    #[command(subcommand)]
    Table(table::TableCommand),
    /// Write a row
    Put(rows::PutArguments),
    /// Read a row
    Get(rows::GetArguments),
    /// Delete a row
    Delete(rows::DeleteArguments),
    /// Show the rows of a table, or a range of one partition key
    Scan(rows::ScanArguments),
    /// Load a CSV or NDJSON file (also .gz) into a table
    Import(import::ImportArguments),
    /// Write the rows of a table to a CSV or NDJSON file
    Export(export::ExportArguments),
    /// List, drain, undrain and remove nodes
    #[command(subcommand)]
    Node(member::NodeCommand),
    /// Show what was decided about the cluster, on what evidence and why
    Decisions(decisions::DecisionsArguments),
    /// Compare all copies of a table
    Checksums(checksums::ChecksumsArguments),
    /// Tell what would happen if nodes failed, without doing anything
    Explain(explain::ExplainArguments),
    /// Found a new cluster from what one stopped node has, when most voters are lost for good
    Recover(recover::RecoverArguments),
    /// Kill the nodes of a small cluster on this machine in turn and check that nothing is lost
    Demo(crate::demo::DemoArguments),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArguments),
}

/// Parses the command line, runs the command and turns its outcome into an exit status.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = cli.global.screen();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            screen.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Start(arguments) => return start::run(*arguments, global.screen()),
        Command::Recover(arguments) => return recover::run(&arguments, &global.screen()),
        Command::Completions(arguments) => {
            return completions::run(&arguments, &mut Cli::command());
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime could be started: {error}")))?;
    runtime.block_on(run_client(global, command))
}

async fn run_client(global: Global, command: Command) -> Result<Exit, Failure> {
    let screen = global.screen();
    if let Command::Demo(arguments) = command {
        return Box::pin(crate::demo::run(arguments, &screen)).await;
    }
    let client = global.client()?;
    let outcome = match command {
        Command::Status(arguments) => status::run(&client, &screen, &arguments).await,
        Command::Table(command) => table::run(&client, &screen, command).await,
        Command::Put(arguments) => rows::put(&client, &screen, arguments).await,
        Command::Get(arguments) => rows::get(&client, &screen, arguments).await,
        Command::Delete(arguments) => rows::delete(&client, &screen, arguments).await,
        Command::Scan(arguments) => rows::scan(&client, &screen, arguments).await,
        Command::Import(arguments) => Box::pin(import::run(&client, &screen, arguments)).await,
        Command::Export(arguments) => Box::pin(export::run(&client, &screen, arguments)).await,
        Command::Node(command) => member::run(&client, &screen, command).await,
        Command::Decisions(arguments) => decisions::run(&client, &screen, &arguments).await,
        Command::Checksums(arguments) => checksums::run(&client, &screen, &arguments).await,
        Command::Explain(arguments) => explain::run(&client, &screen, arguments).await,
        Command::Start(_) | Command::Demo(_) | Command::Recover(_) | Command::Completions(_) => {
            unreachable!("these commands were taken above")
        }
    };
    outcome.map_err(|failure| failure.tried(&client.addresses()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_of_every_command_is_as_reviewed() {
        let mut command = Cli::command().term_width(100);
        command.build();
        let mut text = command.render_long_help().to_string();
        let names: Vec<String> = command
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        for name in names.iter().filter(|name| *name != "help") {
            let sub = command.find_subcommand_mut(name).expect("it was listed");
            text.push_str(&format!("\n==== {name}\n{}", sub.render_help()));
        }
        // The default of an option must not depend on the environment the test runs in.
        insta::assert_snapshot!("help", text);
    }
}
