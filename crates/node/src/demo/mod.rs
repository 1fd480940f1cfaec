//! `tablestore demo`: a small cluster of real processes whose nodes are killed in turn, under
//! writes and strong reads that are all checked.
//!
//! Only processes that it has started itself are signalled, and all of them end with it.

mod board;
mod choice;
mod nodes;
mod promoted;
mod report;
mod rows;
mod side;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tablestore_verify::pauses;
use tokio::signal::unix::{SignalKind, signal};

use self::board::Board;
use self::stage::Stage;
use crate::terminal::{Exit, Failure, Screen};

const HELP: &str = "\
What it does: starts nodes of its own on this machine, makes a table with three copies of every row,
loads real data (airports, and the flights that left New York in January 2013), and lets writers
and strong readers run while nodes are killed with SIGKILL and restarted: the controller, then the
busiest primary, and so on, each time when all copies are complete again. The flights have the
strategy primary-backup; beside them are a table with active and one with partition, whose rows lie
in a folder that the nodes share, and gentler traffic for each.

What it checks: every acknowledged write is there at the end with the right value, no strong read
went back in time, all copies are equal. The exit status is 5 if not.

What it measures: for each kill, the longest time that any writer went without an acknowledgement,
and the way there: crash, noticed, decided, promoted, first write under the new primary. The same
time for the tables beside.

With --json the last line of standard output is one JSON object with the same.";

/// Options of `tablestore demo`.
#[derive(Debug, Clone, Args)]
#[command(after_help = HELP)]
pub(crate) struct DemoArguments {
    /// Nodes to start
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=9)
    )]
    nodes: u8,
    /// How many times a node is killed
    #[arg(long, value_name = "N", default_value_t = 6)]
    kills: u32,
    /// Spread the kills over this many seconds at least, and run that long
    #[arg(long, value_name = "S", default_value_t = 0)]
    seconds: u32,
    /// Writers, each with one write under way
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=512)
    )]
    writers: u16,
    /// kill: SIGKILL and restart; stop: SIGSTOP and, later, SIGCONT
    #[arg(long, value_enum, default_value_t = KillKind::Kill)]
    kill_kind: KillKind,
    /// Milliseconds between two writes of one writer; 0 for as fast as they go
    #[arg(long, value_name = "MS", default_value_t = 2)]
    pace: u16,
    /// Partitions of the table of flights, a power of two
    #[arg(long, value_name = "N", default_value_t = 32)]
    partitions: u32,
    /// Without the tables of the strategies active and partition
    #[arg(long)]
    alone: bool,
    /// Milliseconds that a killed node stays away
    #[arg(long, value_name = "MS", default_value_t = 1500, hide = true)]
    down_ms: u32,
    /// Milliseconds after which a writer asks another node
    #[arg(long, value_name = "MS", default_value_t = 20, hide = true)]
    attempt_timeout_ms: u16,
    /// Where the nodes keep their data [default: a fresh directory, removed on success]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Keep the directory on success too
    #[arg(long)]
    keep: bool,
}

/// How a node is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KillKind {
    Kill,
    Stop,
}

impl DemoArguments {
    fn check(&self) -> Result<(), Failure> {
        if self.kills > 0 && self.nodes < 3 {
            return Err(Failure::usage(format!(
                "--nodes {}: killing nodes needs at least 3, so that the others are a majority",
                self.nodes
            ))
            .advise("--kills 0 runs a smaller cluster without kills"));
        }
        if !self.partitions.is_power_of_two() {
            return Err(Failure::usage("--partitions: expected a power of two"));
        }
        let window_ms = pauses::WINDOW.as_millis();
        if u128::from(self.down_ms) <= window_ms {
            return Err(Failure::usage(format!(
                "--down-ms: expected more than {window_ms}"
            )));
        }
        if let Some(directory) = self
            .directory
            .as_ref()
            .filter(|directory| directory.exists())
        {
            let shown = directory.display();
            return Err(Failure::usage(format!(
                "--directory {shown}: it is there already"
            )));
        }
        Ok(())
    }

    fn copies(&self) -> usize {
        usize::from(self.nodes.min(3))
    }

    /// Before this time since the traffic began, the kill with this number does not happen.
    fn not_before(&self, kill: usize) -> Duration {
        let kill = u32::try_from(kill).unwrap_or(u32::MAX);
        Duration::from_secs(u64::from(self.seconds)) * kill / self.kills.max(1)
    }
}

/// Runs the demo; what it started ends with it, on Ctrl-C and SIGTERM too.
pub(crate) async fn run(arguments: DemoArguments, screen: &Screen) -> Result<Exit, Failure> {
    arguments.check()?;
    let directory = arguments
        .directory
        .clone()
        .unwrap_or_else(nodes::fresh_directory);
    let mut terminate = signal(SignalKind::terminate())?;
    let board = Board::new(*screen);
    let outcome = tokio::select! {
        outcome = Box::pin(perform(&arguments, &board, directory.clone())) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted")),
        _ = terminate.recv() => Err(Failure::failed("terminated")),
    };
    board.finish();
    // All processes are gone by now: the future that held them has ended or was dropped.
    let shown = directory.display();
    let report = match outcome {
        Ok(report) => report,
        Err(failure) => {
            return Err(failure.advise(format!("data and logs of the nodes are kept in {shown}")));
        }
    };
    screen.result(&report.json(), || {
        let verdict = if report.fine() { "OK" } else { "FAILED" };
        format!("\n{}\n{verdict}", report.text())
    });
    if !report.fine() {
        screen.note(format!("data and logs of the nodes are kept in {shown}"));
        return Ok(Exit::Look);
    }
    if arguments.keep {
        screen.note(format!("data and logs of the nodes are in {shown}"));
    } else {
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(Exit::Done)
}

async fn perform(
    arguments: &DemoArguments,
    board: &Board,
    directory: PathBuf,
) -> Result<report::Report, Failure> {
    let mut stage = Stage::set(arguments.clone(), board, directory).await?;
    stage.load().await?;
    stage.begin_traffic()?;
    for kill in 0..usize::try_from(arguments.kills).unwrap_or(usize::MAX) {
        stage.kill_one(kill).await?;
    }
    stage.end().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        demo: DemoArguments,
    }

    fn parse(arguments: &[&str]) -> Result<DemoArguments, String> {
        let all = ["demo"].iter().chain(arguments);
        let only = Only::try_parse_from(all).map_err(|error| error.to_string())?;
        only.demo.check().map_err(|failure| failure.message)?;
        Ok(only.demo)
    }

    #[test]
    fn by_default_three_nodes_are_killed_six_times() {
        let demo = parse(&[]).unwrap();
        assert_eq!(
            (demo.nodes, demo.kills, demo.writers, demo.copies()),
            (3, 6, 16, 3)
        );
        assert_eq!(demo.kill_kind, KillKind::Kill);
        assert_eq!(demo.not_before(3), Duration::ZERO);
    }

    #[test]
    fn kills_are_spread_over_the_seconds_asked_for() {
        let demo = parse(&["--seconds", "60", "--kills", "4"]).unwrap();
        assert_eq!(demo.not_before(0), Duration::ZERO);
        assert_eq!(demo.not_before(3), Duration::from_secs(45));
        assert_eq!(
            parse(&["--kills", "0", "--seconds", "5"])
                .unwrap()
                .not_before(0)
                .as_secs(),
            0
        );
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_starts() {
        for (arguments, expected) in [
            (&["--nodes", "2"][..], "needs at least 3"),
            (&["--nodes", "10"], "10"),
            (&["--partitions", "12"], "a power of two"),
            (&["--down-ms", "500"], "more than 1000"),
            (&["--directory", "/"], "there already"),
            (&["--kill-kind", "hang"], "hang"),
            (&["--writers", "0"], "0"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
        assert_eq!(
            parse(&["--nodes", "1", "--kills", "0"]).unwrap().copies(),
            1
        );
    }
}
