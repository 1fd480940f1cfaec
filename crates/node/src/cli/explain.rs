//! `tablestore explain`: what would happen if some nodes failed, in some ten lines. Knows nothing
//! of how that is found out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use serde_json::json;
use tablestore_client::{Client, ClusterView};
use tablestore_contract::{Explanation, PartitionOutcome};

use crate::terminal::{Exit, Failure, Screen, Tone, columns};

/// Options of `tablestore explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
The exit status is 0 if all partitions would go on serving reads and writes, else 5.")]
pub(crate) struct ExplainArguments {
    /// Nodes that fail together; may be repeated
    #[arg(long, value_name = "NODE", required = true, value_delimiter = ',')]
    if_fails: Vec<String>,
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    arguments: ExplainArguments,
) -> Result<Exit, Failure> {
    let explained = client.explain(&arguments.if_fails).await?;
    let cluster = client.cluster().await?;
    screen.result(&json!(explained), || {
        render(screen, &arguments.if_fails, &explained, &cluster)
    });
    Ok(match is_harmless(&explained) {
        true => Exit::Done,
        false => Exit::Look,
    })
}

/// Whether everything would go on being served.
fn is_harmless(explained: &Explanation) -> bool {
    let serves = |outcome: &PartitionOutcome| outcome.readable && outcome.writable;
    explained.majority && explained.partitions.iter().all(serves)
}

fn render(
    screen: &Screen,
    failed: &[String],
    explained: &Explanation,
    cluster: &ClusterView,
) -> String {
    let word = match is_harmless(explained) {
        true => screen.paint(Tone::Good, "SERVED:"),
        false => screen.paint(Tone::Bad, "NOT ALL SERVED:"),
    };
    let fail = match failed {
        [one] => format!("{one} fails"),
        several => format!("{} fail together", several.join(" and ")),
    };
    let mut text = format!("{word} if {fail}\n");
    let _ = writeln!(text, "{}", voters(explained));
    let _ = writeln!(text, "{}", offices(explained, cluster));
    if let Some(why) = &explained.copying_refused {
        let _ = writeln!(
            text,
            "lost copies would not be made anew by themselves: {why}"
        );
    }
    if explained.partitions.is_empty() {
        text.push_str("no partition has a copy there");
    } else {
        text.push_str(&tables(screen, explained));
    }
    text
}

fn voters(explained: &Explanation) -> String {
    let Explanation {
        voters,
        voters_left,
        ..
    } = explained;
    if explained.majority {
        format!("{voters_left} of {voters} voters would be left, a majority: it goes on deciding")
    } else {
        format!(
            "{voters_left} of {voters} voters would be left, NO majority: no failover, no change, \
             nothing confirmed until one more is back"
        )
    }
}

/// Who would take over how much.
fn offices(explained: &Explanation, cluster: &ClusterView) -> String {
    let name = |id: &String| {
        let mut nodes = cluster.nodes.iter();
        let node = nodes.find(|node| node.id == *id);
        node.map_or_else(|| id.clone(), |node| node.name.clone())
    };
    let gains = explained.offices_gained.iter();
    let gains: Vec<String> = gains
        .map(|(id, more)| format!("{} +{more}", name(id)))
        .collect();
    let by = match gains.is_empty() {
        true => String::new(),
        false => format!(" ({})", gains.join(", ")),
    };
    format!(
        "{} of {} partitions would get another primary{by}",
        explained.failovers, explained.before.partitions
    )
}

/// A line a table.
fn tables(screen: &Screen, explained: &Explanation) -> String {
    let mut by_table: BTreeMap<&str, Vec<&PartitionOutcome>> = BTreeMap::new();
    for outcome in &explained.partitions {
        by_table.entry(&outcome.table).or_default().push(outcome);
    }
    let rows: Vec<Vec<String>> = by_table
        .iter()
        .map(|(table, outcomes)| {
            let count = |holds: fn(&&&PartitionOutcome) -> bool| {
                outcomes.iter().filter(holds).count().to_string()
            };
            let left = outcomes.iter().map(|outcome| outcome.failures_left).min();
            vec![
                (*table).to_owned(),
                outcomes.len().to_string(),
                count(|outcome| outcome.readable),
                count(|outcome| outcome.writable),
                left.unwrap_or(0).to_string(),
            ]
        })
        .collect();
    let headings = [
        "TABLE",
        "AFFECTED",
        "STRONG READS",
        "WRITES",
        "FAILURES LEFT",
    ];
    columns(screen, &headings, &rows)
}

#[cfg(test)]
mod tests {
    use tablestore_client::NodeView;
    use tablestore_contract::PartitionCounts;

    use super::*;

    fn explained(served: bool) -> Explanation {
        let outcome = PartitionOutcome {
            table: "orders".to_owned(),
            readable: served,
            writable: served,
            failures_left: 1,
            ..PartitionOutcome::default()
        };
        Explanation {
            partitions: vec![outcome.clone(), outcome],
            failovers: u32::from(served),
            offices_gained: [(format!("{:016x}", 31), 1)].into(),
            before: PartitionCounts {
                partitions: 8,
                ..PartitionCounts::default()
            },
            voters: 3,
            voters_left: if served { 2 } else { 1 },
            majority: served,
            ..Explanation::default()
        }
    }

    fn shown(explained: &Explanation) -> String {
        let cluster = ClusterView {
            nodes: vec![NodeView {
                id: format!("{:016x}", 31),
                name: "n2".to_owned(),
                ..NodeView::default()
            }],
            ..ClusterView::default()
        };
        render(&Screen::plain(), &["n1".to_owned()], explained, &cluster)
    }

    #[test]
    fn a_failure_that_is_survived_takes_a_few_lines() {
        assert!(is_harmless(&explained(true)));
        insta::assert_snapshot!("explain_served", shown(&explained(true)));
    }

    #[test]
    fn a_lost_majority_is_said_first() {
        assert!(!is_harmless(&explained(false)));
        insta::assert_snapshot!("explain_not_served", shown(&explained(false)));
    }
}
