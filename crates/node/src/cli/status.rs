//! `tablestore status`: whether all is well in the first line, then members, tables and the last
//! decisions.

use clap::Args;
use serde_json::json;
use tablestore_client::{Client, Decision, NodeView};

use super::assess::{has_primaries, no_majority, reasons};
use super::holdings::Holdings;
use crate::terminal::{Exit, Failure, Screen, Tone, columns, date_time};

/// Decisions shown unless told otherwise.
const DECISIONS: usize = 5;

/// Options of `tablestore status`.
#[derive(Debug, Args)]
#[command(after_help = "\
The first line says OK, or DEGRADED with the reasons, one a line, or NO MAJORITY with the voters
that are missing; the exit status is 0 only if it says OK, else 5.")]
pub(crate) struct StatusArguments {
    /// How many of the last decisions to show
    #[arg(long, value_name = "N", default_value_t = DECISIONS)]
    decisions: usize,
}

/// What was asked of the cluster.
#[derive(Debug, Default)]
struct Seen {
    holdings: Holdings,
    /// The newest first.
    decisions: Vec<Decision>,
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    arguments: &StatusArguments,
) -> Result<Exit, Failure> {
    let seen = look(client, arguments.decisions).await?;
    let reasons = reasons(&seen.holdings);
    let has_majority = no_majority(&seen.holdings.cluster).is_none();
    let value = json!({
        "ok": reasons.is_empty(),
        "majority": has_majority,
        "reasons": reasons,
        "cluster": seen.holdings.cluster,
        "partitions": seen.holdings.partitions,
        "decisions": seen.decisions,
    });
    screen.result(&value, || render(screen, &seen, &reasons));
    Ok(if reasons.is_empty() {
        Exit::Done
    } else {
        Exit::Look
    })
}

async fn look(client: &Client, decisions: usize) -> Result<Seen, Failure> {
    let holdings = Holdings::ask(client).await?;
    let mut latest = client.decisions(decisions).await?;
    latest.sort_by_key(|decision| std::cmp::Reverse(decision.id));
    latest.truncate(decisions);
    Ok(Seen {
        holdings,
        decisions: latest,
    })
}

fn render(screen: &Screen, seen: &Seen, reasons: &[String]) -> String {
    let mut parts = vec![headline(screen, seen, reasons), nodes(screen, seen)];
    if !seen.holdings.partitions.is_empty() {
        parts.push(tables(screen, seen));
    }
    if !seen.decisions.is_empty() {
        parts.push(decisions(screen, seen));
    }
    parts.join("\n\n")
}

fn headline(screen: &Screen, seen: &Seen, reasons: &[String]) -> String {
    if !reasons.is_empty() {
        let word = match no_majority(&seen.holdings.cluster) {
            Some(_) => "NO MAJORITY:",
            None => "DEGRADED:",
        };
        let word = screen.paint(Tone::Bad, word);
        return format!("{word} {}", reasons.join("\n  "));
    }
    let nodes = seen.holdings.cluster.nodes.iter();
    let members: Vec<&NodeView> = nodes.filter(|node| node.state != "left").collect();
    let up = members
        .iter()
        .filter(|node| node.state != "drained")
        .count();
    let of = members.len();
    let partitions: usize = seen.holdings.partitions.values().map(Vec::len).sum();
    let controller = seen.holdings.cluster.controller.as_deref().unwrap_or("-");
    format!(
        "{} {up} of {of} nodes up, {partitions} partitions with all copies in sync, \
         controller {}",
        screen.paint(Tone::Good, "OK:"),
        name_of(&seen.holdings.cluster.nodes, controller),
    )
}

/// The name of a node that is given by name or by storage id.
pub(crate) fn name_of<'a>(nodes: &'a [NodeView], id_or_name: &'a str) -> &'a str {
    nodes
        .iter()
        .find(|node| node.id == id_or_name)
        .map_or(id_or_name, |node| &node.name)
}

fn nodes(screen: &Screen, seen: &Seen) -> String {
    let nodes = &seen.holdings.cluster.nodes;
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .filter(|node| node.state != "left")
        .map(|node| {
            let controls = seen
                .holdings
                .cluster
                .controller
                .as_deref()
                .map(|id| name_of(nodes, id))
                == Some(node.name.as_str());
            vec![
                format!("{}{}", node.name, if controls { " *" } else { "" }),
                node.state.clone(),
                node.address.clone(),
                node.zone.clone().unwrap_or_default(),
                node.incarnation.to_string(),
                seen.holdings.primaries(node).to_string(),
                seen.holdings.copies(node).to_string(),
                node.resources
                    .as_ref()
                    .map_or_else(String::new, |known| known.level.clone()),
            ]
        })
        .collect();
    let headings = [
        "NODE",
        "STATE",
        "ADDRESS",
        "ZONE",
        "STARTS",
        "PRIMARIES",
        "COPIES",
        "RESOURCES",
    ];
    let faint = screen.paint(Tone::Faint, "* controller");
    format!("{}\n{faint}", columns(screen, &headings, &rows))
}

fn tables(screen: &Screen, seen: &Seen) -> String {
    let rows: Vec<Vec<String>> = seen
        .holdings
        .partitions
        .iter()
        .map(|(name, partitions)| {
            let full = partitions
                .iter()
                .filter(|p| p.assignment.in_sync.len() == p.assignment.replicas.len())
                .count();
            let copies = partitions
                .iter()
                .map(|p| p.assignment.replicas.len())
                .max()
                .unwrap_or(0);
            let serving = partitions
                .iter()
                .filter(|p| p.assignment.primary.is_some())
                .count();
            vec![
                name.clone(),
                partitions.len().to_string(),
                copies.to_string(),
                match has_primaries(&seen.holdings.cluster, name) {
                    true => serving.to_string(),
                    false => "–".to_owned(),
                },
                full.to_string(),
            ]
        })
        .collect();
    let headings = [
        "TABLE",
        "PARTITIONS",
        "COPIES",
        "WITH PRIMARY",
        "ALL IN SYNC",
    ];
    columns(screen, &headings, &rows)
}

fn decisions(screen: &Screen, seen: &Seen) -> String {
    let rows: Vec<Vec<String>> = seen
        .decisions
        .iter()
        .map(|decision| {
            let subject = decision.subject.as_deref().unwrap_or("");
            vec![
                date_time(decision.at_ms),
                decision.kind.clone(),
                name_of(&seen.holdings.cluster.nodes, subject).to_owned(),
                decision.reason.clone(),
                decision.changes_total.to_string(),
            ]
        })
        .collect();
    columns(
        screen,
        &[
            "LAST DECISIONS (UTC)",
            "KIND",
            "NODE",
            "REASON",
            "PARTITIONS",
        ],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tablestore_client::{ClusterView, PartitionView};
    use tablestore_contract::{AssignmentView, Majority, MissingVoter, Resources, TableView};

    use super::super::assess::age;
    use super::*;

    fn level(level: &str) -> Option<Resources> {
        Some(Resources {
            level: level.to_owned(),
            ..Resources::default()
        })
    }

    fn node(name: &str, state: &str) -> NodeView {
        NodeView {
            id: format!("00000000000000{name}"),
            name: name.to_owned(),
            state: state.to_owned(),
            address: format!("127.0.0.1:70{name}"),
            zone: Some("eu/a".to_owned()),
            incarnation: 2,
            resources: level("ok"),
            ..NodeView::default()
        }
    }

    fn partition(number: u32, in_sync: &[&str]) -> PartitionView {
        PartitionView {
            partition: number,
            assignment: AssignmentView {
                epoch: 3,
                primary: in_sync.first().map(|name| (*name).to_owned()),
                replicas: ["n1", "n2", "n3"].map(str::to_owned).to_vec(),
                in_sync: in_sync.iter().map(|name| (*name).to_owned()).collect(),
                ..AssignmentView::default()
            },
            ..PartitionView::default()
        }
    }

    fn healthy() -> Seen {
        let decision = Decision {
            id: 9,
            at_ms: 1_357_034_400_123,
            kind: "failover".to_owned(),
            subject: Some("00000000000000n2".to_owned()),
            reason: "the process is gone".to_owned(),
            changes_total: 12,
            ..Decision::default()
        };
        Seen {
            holdings: Holdings {
                cluster: ClusterView {
                    map_version: 40,
                    controller: Some("00000000000000n1".to_owned()),
                    nodes: vec![node("n1", "up"), node("n2", "up"), node("n3", "up")],
                    tables: vec![TableView {
                        name: "flights".to_owned(),
                        ..TableView::default()
                    }],
                    ..ClusterView::default()
                },
                partitions: BTreeMap::from([(
                    "flights".to_owned(),
                    vec![
                        partition(0, &["n1", "n2", "n3"]),
                        partition(1, &["n2", "n1", "n3"]),
                    ],
                )]),
            },
            decisions: vec![decision],
        }
    }

    #[test]
    fn a_healthy_cluster_is_ok_in_the_first_line() {
        let seen = healthy();
        let reasons = reasons(&seen.holdings);
        assert_eq!(reasons, Vec::<String>::new());
        insta::assert_snapshot!("status_ok", render(&Screen::plain(), &seen, &reasons));
    }

    #[test]
    fn every_trouble_is_named_in_the_first_line() {
        let mut seen = healthy();
        seen.holdings.cluster.controller = None;
        seen.holdings.cluster.nodes[1].state = "down".to_owned();
        seen.holdings.cluster.nodes[2].resources = level("critical");
        let flights = seen
            .holdings
            .partitions
            .get_mut("flights")
            .expect("it is there");
        flights[0] = partition(0, &["n1", "n3"]);
        flights[1] = partition(1, &[]);
        let reasons = reasons(&seen.holdings);
        insta::assert_snapshot!("status_degraded", render(&Screen::plain(), &seen, &reasons));
    }

    #[test]
    fn a_lost_majority_leads_with_who_is_missing_and_since_when() {
        let mut seen = healthy();
        let missing = [("n2", Some(8_100)), ("n3", None)];
        seen.holdings.cluster.controller = None;
        seen.holdings.cluster.majority = Some(Majority {
            reached: false,
            voters: 3,
            answering: 1,
            missing: missing
                .map(|(node, silent_ms)| MissingVoter {
                    node: node.to_owned(),
                    silent_ms,
                    ..MissingVoter::default()
                })
                .to_vec(),
            lost_ms: Some(8_100),
        });
        let reasons = reasons(&seen.holdings);
        let shown = render(&Screen::plain(), &seen, &reasons);
        let first = shown.lines().next().unwrap_or_default();
        let start = "NO MAJORITY: the node that answers reaches 1 of 3 voters; missing: \
                     n2 (silent for 8 s), n3 (not heard since it started). ";
        assert!(first.starts_with(start), "{first}");
        assert_eq!(age(300_000), "5 min");
    }

    #[test]
    fn a_member_that_left_is_no_trouble() {
        let mut seen = healthy();
        seen.holdings.cluster.nodes.push(node("n4", "left"));
        assert_eq!(reasons(&seen.holdings), Vec::<String>::new());
    }
}
