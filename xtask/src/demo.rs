//! Builds and runs the demo, and asserts what it reports. Knows nothing about how it is done.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::run;
use crate::workspace::{Workspace, cargo};

/// How the README says to run it; a test of the server runs what the README says.
pub(crate) const IN_README: &str = "cargo run --release -- demo";
/// A clean release build of the server, on two slow cores.
const BUILD_LIMIT: Duration = Duration::from_secs(25 * 60);
/// A demo run asked for by hand; it ends by itself when its time is over.
const RUN_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// The asserted demo: twenty seconds of load, and what goes before and after.
const ASSERTED_LIMIT: Duration = Duration::from_secs(3 * 60);
const ASSERTED: [&str; 6] = ["demo", "--seconds", "20", "--kills", "2", "--json"];
/// Each of them has a table.
const STRATEGIES: [&str; 3] = ["primary-backup", "active", "partition"];
/// As many as [`ASSERTED`] asks for.
const KILLS: u64 = 2;

pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    build()?;
    run::succeed(command(workspace).arg("demo").args(arguments), RUN_LIMIT)
}

/// Builds the server by itself, so that no feature of another crate reaches it.
pub(crate) fn build() -> Result<()> {
    run::succeed(
        cargo().args(["build", "--release", "--package", "tablestore-node"]),
        BUILD_LIMIT,
    )
}

/// Runs the demo with two kills and asserts that nothing acknowledged was lost.
pub(crate) fn assert(workspace: &Workspace) -> Result<()> {
    let (status, text) = run::output(command(workspace).args(ASSERTED), ASSERTED_LIMIT)?;
    println!("{}", text.trim_end());
    ensure!(status.success(), "the demo ended with {status}");
    check(&text)
}

fn command(workspace: &Workspace) -> Command {
    Command::new(workspace.release_binary("tablestore"))
}

/// The report is the last line that the demo writes: one JSON object.
fn check(text: &str) -> Result<()> {
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let report: Value = serde_json::from_str(line).context("the demo ended without a report")?;
    let number = |field: &str| -> Result<u64> {
        let number = report.get(field).and_then(Value::as_u64);
        number.with_context(|| format!("the demo's report has no number `{field}`"))
    };
    ensure!(number("acked")? > 0, "the demo acknowledged no write");
    for (field, what) in [
        ("lost", "acknowledged writes were lost"),
        ("stale_reads", "strong reads went back in time"),
        ("unequal", "copies differ"),
    ] {
        let count = number(field)?;
        ensure!(count == 0, "{what}: {count}");
    }
    let tables = report.get("tables").and_then(Value::as_array);
    let tables = tables.context("the demo's report has no `tables`")?;
    for strategy in STRATEGIES {
        let of_it = tables.iter().find(|table| table["strategy"] == strategy);
        let acked = of_it.and_then(|table| table["acked"].as_u64());
        ensure!(
            acked.is_some_and(|acked| acked > 0),
            "the demo acknowledged no write to a table of the strategy {strategy}"
        );
    }
    let kills = number("kills")?;
    ensure!(
        kills == KILLS,
        "the demo killed {kills} times instead of {KILLS}"
    );
    let fine = report.get("ok").and_then(Value::as_bool);
    ensure!(fine == Some(true), "the demo itself was not content");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "{\"ok\":true,\"kills\":2,\"acked\":10,\"lost\":0,\"stale_reads\":0,\
                        \"unequal\":0,\"gap_ms\":{\"p50\":20.0,\"p90\":40.0,\"max\":40.0},\
                        \"tables\":[{\"strategy\":\"primary-backup\",\"acked\":8},\
                        {\"strategy\":\"active\",\"acked\":1},\
                        {\"strategy\":\"partition\",\"acked\":1}]}";

    #[test]
    fn a_report_without_losses_passes() -> Result<()> {
        check(FINE)?;
        check(&format!("started\n{FINE}\n\n"))
    }

    #[test]
    fn losses_and_reports_that_say_too_little_fail() {
        let changes = [
            ("true", "false"),
            ("kills\":2", "kills\":1"),
            ("acked\":10", "acked\":0"),
            ("lost\":0", "lost\":1"),
            ("stale_reads\":0", "stale_reads\":1"),
            ("unequal\":0", "unequal\":1"),
            ("\"lost\":0,", ""),
            ("\"active\",\"acked\":1", "\"active\",\"acked\":0"),
            ("\"partition\"", "\"other\""),
        ];
        for (from, to) in changes {
            assert!(FINE.contains(from), "{from}");
            assert!(check(&FINE.replace(from, to)).is_err(), "{to}");
        }
        assert!(check("").is_err() && check("no report").is_err());
    }
}
