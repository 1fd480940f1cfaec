//! What a cluster shows when a node dies; and that the page on metrics says what a node serves, and
//! nothing else.
//!
//! Knows nothing of what metrics mean.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Cluster, until};

/// A metric: its type and its labels, but for that of the buckets of a histogram.
type Shape = (String, BTreeSet<String>);

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
