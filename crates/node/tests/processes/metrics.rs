//! What a cluster shows when a node dies; and that the page on metrics, the rules for alerts and
//! the board say what a node serves, and nothing else.
//!
//! Knows nothing of what metrics mean.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::{Cluster, until};

/// A metric: its type and its labels, but for that of the buckets of a histogram.
type Shape = (String, BTreeSet<String>);

/// What Prometheus itself adds of each node.
const OF_PROMETHEUS: &str = "up";
/// Words of its language beside names of metrics; functions are told by their bracket.
const WORDS: [&str; 9] = [
    "and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool",
];

fn document(name: &str) -> String {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The metrics of the page.
fn listed() -> BTreeMap<String, Shape> {
    let page = document("metrics.md");
    let mut listed = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..4] else {
            panic!("{line} has too few cells");
        };
        assert!(!meaning.is_empty(), "{line} has no meaning");
        let name = name.trim_matches('`').to_owned();
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        let before = listed.insert(name, (kind.to_owned(), labels.collect()));
        assert_eq!(before, None, "{line} is there twice");
    }
    listed
}

/// The metrics of an answer.
fn served(text: &str) -> BTreeMap<String, Shape> {
    let mut served: BTreeMap<String, Shape> = BTreeMap::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            served.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((series, _)) = line.split_once('}')
            && !line.starts_with('#')
        {
            let (name, labels) = series.split_once('{').unwrap();
            let name = family(name, &served).unwrap_or_else(|| panic!("{line} is of no type"));
            let labels = labels
                .split(',')
                .map(|label| label.split_once('=').unwrap().0);
            let labels = labels.filter(|label| *label != "le").map(str::to_owned);
            served.get_mut(&name).unwrap().1.extend(labels);
        }
    }
    served
}

/// The metric that a series belongs to: a histogram has several.
fn family(series: &str, all: &BTreeMap<String, Shape>) -> Option<String> {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
        let base = series.strip_suffix(end)?;
        (all.get(base)?.0 == "histogram").then_some(base)
    });
    let name = of_histogram.or_else(|| all.contains_key(series).then_some(series))?;
    Some(name.to_owned())
}

#[tokio::test]
async fn the_page_lists_the_metrics_that_a_node_serves_with_their_types_and_labels() {
    let mut cluster = Cluster::prepare(1);
    let shared = cluster.home.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let arguments = ["--shared-dir".to_owned(), shared.display().to_string()];
    cluster.nodes[0].arguments.extend(arguments);
    cluster.start_all().await;
    cluster.create_table("gates", 1, 2).await;
    let row = "/v1/tables/gates/rows/a";
    assert_eq!(cluster.ask(0, "PUT", row, "{}").await.0, 200);
    let listed = listed();
    // The machine is looked at by a thread of its own.
    until("what is listed and served", async || {
        let (_, answer) = cluster.ask(0, "GET", "/metrics", "").await;
        let served = served(answer.as_str().unwrap());
        let differing: Vec<_> = listed
            .iter()
            .filter(|(name, shape)| served.get(*name) != Some(shape))
            .map(|(name, shape)| (name, Some(shape), served.get(name)))
            .chain(
                served
                    .iter()
                    .filter(|(name, _)| !listed.contains_key(*name))
                    .map(|(name, shape)| (name, None, Some(shape))),
            )
            .collect();
        match differing[..] {
            [] => Ok(()),
            _ => Err(format!("name, listed, served: {differing:#?}")),
        }
    })
    .await;
}

/// What some nodes show, added up.
async fn sum(cluster: &Cluster, of: &[usize], name: &str) -> u64 {
    let mut sum = 0;
    for index in of {
        sum += cluster.metric(*index, name).await;
    }
    sum
}

#[tokio::test]
async fn a_failover_is_seen_in_the_metrics_of_the_others() {
    let mut cluster = Cluster::started(3).await;
    cluster.create_table("gates", 3, 8).await;
    let all = [0, 1, 2];
    until("one controller, and everything in its place", async || {
        let mut seen = Vec::new();
        for name in [
            "tablestore_controller",
            "tablestore_voters_reachable",
            "tablestore_offices",
            "tablestore_replicas",
        ] {
            seen.push(sum(&cluster, &all, name).await);
        }
        match seen[..] {
            [1, 9, 8, 24] => Ok(()),
            _ => Err(format!("{seen:?}")),
        }
    })
    .await;
    let failovers = r#"tablestore_decisions_total{kind="failover"}"#;
    let before = sum(&cluster, &[0], failovers).await;
    cluster.nodes[2].kill();
    for index in [0, 1] {
        for (name, expected) in [
            (r#"tablestore_members{state="down"}"#, 1),
            (r#"tablestore_members{state="up"}"#, 2),
            ("tablestore_voters_reachable", 2),
            ("tablestore_controller_known", 1),
            ("tablestore_partitions_without_primary", 0),
            ("tablestore_partitions_under_replicated", 8),
            ("tablestore_partitions_below_min_in_sync", 0),
        ] {
            until(name, async || match cluster.metric(index, name).await {
                seen if seen == expected => Ok(()),
                seen => Err(format!("{seen} at node {index}, not {expected}")),
            })
            .await;
        }
    }
    assert!(sum(&cluster, &[0], failovers).await > before);
    until("one controller again", async || {
        match sum(&cluster, &[0, 1], "tablestore_controller").await {
            1 => Ok(()),
            seen => Err(seen.to_string()),
        }
    })
    .await;
}

/// Drops what is between `open` and `close`, with both.
fn without(text: &str, open: char, close: char) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(open) {
        kept.push_str(before);
        kept.push(' ');
        rest = inside.split_once(close).unwrap().1;
    }
    kept + rest
}

/// The names of series in an expression: words that are no number, no function, and not in the
/// brackets after a word such as `by`.
fn names(expression: &str) -> BTreeSet<String> {
    let text = without(&without(expression, '{', '}'), '[', ']');
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut names = BTreeSet::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let bracket = after.trim_start().strip_prefix('(');
        rest = match (WORDS.contains(&word), bracket) {
            (true, Some(labels)) => labels.split_once(')').unwrap().1,
            _ => after,
        };
        let aggregates = ["by", "without"]
            .iter()
            .any(|word| after.trim_start().starts_with(&format!("{word} (")));
        let is_name = bracket.is_none() && !aggregates && !WORDS.contains(&word);
        if is_name && !word.starts_with(|c: char| c.is_ascii_digit()) {
            names.insert(word.to_owned());
        }
    }
    names
}

fn assert_listed(expression: &str, listed: &BTreeMap<String, Shape>) {
    let names = names(expression);
    assert!(!names.is_empty(), "{expression} names no metric");
    for name in names {
        let is_listed = name == OF_PROMETHEUS || family(&name, listed).is_some();
        assert!(is_listed, "{name} is not in docs/metrics.md: {expression}");
        // What has buckets has no value of its own.
        let is_histogram = listed
            .get(&name)
            .is_some_and(|(kind, _)| kind == "histogram");
        assert!(!is_histogram, "{name} is a histogram: {expression}");
    }
}

#[test]
fn names_of_metrics_are_found_in_an_expression() {
    let found = |expression: &str| names(expression).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found(r#"up{job="x"} == 0"#), "up");
    assert_eq!(
        found("sum by (a, b) (rate(c_total{d=\"e\"}[5m])) > 0.01"),
        "c_total"
    );
    assert_eq!(found("max(a) / on (b) c unless d offset 5"), "a c d");
    assert_eq!(
        found("histogram_quantile(0.99, sum by (le) (rate(a_bucket[1h])))"),
        "a_bucket"
    );
}

/// One rule as its lines have it.
type Rule = BTreeMap<String, String>;

/// As much of YAML as the file uses: a rule begins with `- alert:`, a value is on the line of its
/// key, or on the lines below `>-`.
fn rules() -> Vec<Rule> {
    let text = document("alerts.yml");
    let mut rules: Vec<Rule> = Vec::new();
    let mut folded: Option<(usize, String)> = None;
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        let depth = line.len() - line.trim_start().len();
        if let Some((above, key)) = &folded
            && depth > *above
        {
            let value = rules.last_mut().unwrap().entry(key.clone()).or_default();
            value.push_str(line.trim_start());
            value.push(' ');
            continue;
        }
        folded = None;
        let entry = line.trim_start().trim_start_matches("- ");
        let Some((key, value)) = entry.split_once(':') else {
            continue;
        };
        match key {
            "alert" => rules.push(Rule::new()),
            "groups" | "name" | "rules" => continue,
            _ => {}
        }
        match value.trim() {
            ">-" => folded = Some((depth, key.to_owned())),
            value => {
                let rule = rules.last_mut().unwrap();
                rule.insert(key.to_owned(), value.trim_matches('"').to_owned());
            }
        }
    }
    rules
}

/// The places of a page, as links name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn rules_for_alerts_name_metrics_and_places_that_there_are() {
    let (rules, listed) = (rules(), listed());
    let anchors = anchors(&document("operations.md"));
    assert!(anchors.contains("stop-a-node-restart-all"), "{anchors:?}");
    assert!(rules.len() > 10, "{rules:#?}");
    let mut alerts = BTreeSet::new();
    for rule in &rules {
        let of = |key: &str| {
            rule.get(key)
                .unwrap_or_else(|| panic!("no {key} in {rule:#?}"))
        };
        assert!(alerts.insert(of("alert")), "{} is there twice", of("alert"));
        assert_listed(of("expr"), &listed);
        assert!(
            ["critical", "warning"].contains(&of("severity").as_str()),
            "{rule:#?}"
        );
        assert!(!of("summary").is_empty(), "{rule:#?}");
        let place = of("runbook").split_once("operations.md#");
        let (_, anchor) = place.unwrap_or_else(|| panic!("{rule:#?} leads nowhere"));
        assert!(
            anchors.contains(anchor),
            "there is no {anchor} in operations.md"
        );
    }
}

#[test]
fn the_board_shows_metrics_that_there_are() {
    let board: Value = serde_json::from_str(&document("dashboard.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    assert!((10..=14).contains(&panels.len()), "{} panels", panels.len());
    let listed = listed();
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_listed(target["expr"].as_str().unwrap(), &listed);
        }
    }
}
