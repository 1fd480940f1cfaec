//! `tablestore checksums`: whether all copies of a table are equal, and which are not.
//!
//! Knows nothing of how a checksum is made nor of what a node does when its copy differs.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use tablestore_client::{Checksums, Client, PartitionChecksum};

use crate::terminal::{Exit, Failure, Screen, Tone, columns};

/// Options of `tablestore checksums`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every copy that is in sync is read as it was at one and the same point of the log. The exit status
is 0 only if all copies of all partitions answered and are equal, else 5.")]
pub(crate) struct ChecksumsArguments {
    /// Name of the table
    table: String,
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    arguments: &ChecksumsArguments,
) -> Result<Exit, Failure> {
    let sums = client.checksums(&arguments.table).await?;
    screen.result(&json!(sums), || render(screen, &sums));
    Ok(if sums.equal { Exit::Done } else { Exit::Look })
}

fn render(screen: &Screen, sums: &Checksums) -> String {
    let of = sums.partitions.len();
    let unequal = sums.partitions.iter().filter(|one| !one.equal).count();
    let table = &sums.table;
    let headline = match unequal {
        0 => {
            let word = screen.paint(Tone::Good, "OK:");
            format!("{word} all copies of {of} partitions of {table} are equal")
        }
        _ => {
            let word = screen.paint(Tone::Bad, "LOOK:");
            format!("{word} {unequal} of {of} partitions of {table} are not known to be equal")
        }
    };
    let rows: Vec<Vec<String>> = sums
        .partitions
        .iter()
        .map(|one| {
            vec![
                one.partition.to_string(),
                one.index.to_string(),
                one.replicas.len().to_string(),
                found(one),
            ]
        })
        .collect();
    let headings = ["PARTITION", "AT INDEX", "COPIES", "RESULT"];
    format!("{headline}\n\n{}", columns(screen, &headings, &rows))
}

/// What the comparison of one partition says.
fn found(partition: &PartitionChecksum) -> String {
    if partition.equal {
        return "equal".to_owned();
    }
    let mut told = differing(partition);
    let silent = partition.replicas.iter();
    told.extend(silent.filter_map(|replica| {
        let error = replica.error.as_ref()?;
        Some(format!("{}: {error}", replica.node))
    }));
    if told.is_empty() {
        told.push("no copy answered".to_owned());
    }
    told.join("; ")
}

/// The copies that differ from what most have; all of them if no checksum has a majority.
fn differing(partition: &PartitionChecksum) -> Vec<String> {
    let known = || {
        let replicas = partition.replicas.iter();
        replicas.filter_map(|replica| Some((&replica.node, replica.checksum.as_ref()?)))
    };
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for (_, sum) in known() {
        *counts.entry(sum).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let most = counts.iter().find(|(_, count)| **count * 2 > total);
    let odd: Vec<&str> = known()
        .filter(|(_, sum)| most.is_none_or(|(most, _)| most != sum))
        .map(|(node, _)| node.as_str())
        .collect();
    match (odd.as_slice(), most) {
        ([], _) => Vec::new(),
        ([one], Some(_)) => vec![format!("{one} differs")],
        (several, Some(_)) => vec![format!("{} differ", several.join(", "))],
        (all, None) => vec![format!("{} differ from one another", all.join(", "))],
    }
}

#[cfg(test)]
mod tests {
    use tablestore_contract::ReplicaChecksum;

    use super::*;

    fn partition(number: u32, sums: &[(&str, Result<&str, &str>)]) -> PartitionChecksum {
        let replica = |(node, sum): &(&str, Result<&str, &str>)| ReplicaChecksum {
            node: (*node).to_owned(),
            checksum: sum.ok().map(str::to_owned),
            error: sum.err().map(str::to_owned),
            ..ReplicaChecksum::default()
        };
        let first = sums.first().map(|(_, sum)| sum);
        PartitionChecksum {
            partition: number,
            index: 17,
            equal: sums
                .iter()
                .all(|(_, sum)| sum.is_ok() && Some(sum) == first),
            replicas: sums.iter().map(replica).collect(),
            ..PartitionChecksum::default()
        }
    }

    #[test]
    fn the_copies_that_differ_are_named() {
        let partitions = vec![
            partition(0, &[("n1", Ok("aa")), ("n2", Ok("aa")), ("n3", Ok("aa"))]),
            partition(1, &[("n1", Ok("bb")), ("n2", Ok("aa")), ("n3", Ok("aa"))]),
            partition(2, &[("n1", Ok("bb")), ("n2", Ok("aa"))]),
            partition(3, &[("n1", Ok("aa")), ("n2", Err("no answer"))]),
        ];
        let mut sums = Checksums {
            table: "orders".to_owned(),
            equal: false,
            partitions,
        };
        insta::assert_snapshot!("checksums", render(&Screen::plain(), &sums));
        sums.partitions.truncate(1);
        let shown = render(&Screen::plain(), &sums);
        assert!(shown.starts_with("OK: all copies of 1 partitions of orders are equal"));
    }
}
