//! `tablestore decisions`: what was decided about the cluster, on what evidence and why.
//!
//! Knows nothing of how anything is decided; the kinds are in `docs/operations.md`.

use clap::Args;
use serde_json::json;
use tablestore_client::{Client, Decision};

use crate::terminal::{Exit, Failure, Screen, columns, date_time};

/// Decisions shown unless told otherwise.
const DECISIONS: usize = 20;

/// Options of `tablestore decisions`.
#[derive(Debug, Args)]
#[command(after_help = "\
The newest comes first. Long texts are cut; --json shows them whole, with the phases and the
partitions that changed.")]
pub(crate) struct DecisionsArguments {
    /// How many of the last decisions to show, at most 200
    #[arg(long, value_name = "N", default_value_t = DECISIONS)]
    limit: usize,
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    arguments: &DecisionsArguments,
) -> Result<Exit, Failure> {
    let decisions = client.decisions(arguments.limit).await?;
    screen.result(&json!(decisions), || render(screen, &decisions));
    Ok(Exit::Done)
}

fn render(screen: &Screen, decisions: &[Decision]) -> String {
    let rows: Vec<Vec<String>> = decisions
        .iter()
        .map(|decision| {
            vec![
                date_time(decision.at_ms),
                decision.kind.clone(),
                decision.subject.clone().unwrap_or_default(),
                decision.reason.clone(),
                decision.evidence.clone(),
                decision.changes_total.to_string(),
            ]
        })
        .collect();
    let headings = [
        "TIME (UTC)",
        "KIND",
        "NODE",
        "REASON",
        "EVIDENCE",
        "PARTITIONS",
    ];
    columns(screen, &headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_shown_with_its_reason_and_evidence() {
        let failover = Decision {
            id: 9,
            at_ms: 1_357_034_400_123,
            kind: "failover".to_owned(),
            subject: Some("n2".to_owned()),
            evidence: "connections refused".to_owned(),
            reason: "the process is gone".to_owned(),
            changes_total: 12,
            ..Decision::default()
        };
        let founded = Decision {
            id: 1,
            kind: "founded".to_owned(),
            ..Decision::default()
        };
        let shown = render(&Screen::plain(), &[failover, founded]);
        insta::assert_snapshot!("decisions", shown);
    }
}
