//! `tablestore recover`: a new cluster from the directory of a node that is left over, when most
//! voters are lost for good. Knows nothing of how that is done.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tablestore_node::NodeSettings;
use tablestore_node::start::{RecoverError, Recoverable, recover, recoverable};
use tablestore_placement::recover::{Salvage, TableSalvage};
use tablestore_placement::{Decision, MemberState};

use crate::terminal::{Exit, Failure, Screen, Tone, columns, date_time};

const HELP: &str = "\
For the day on which most voters are lost for good: no node that is left can confirm or change
anything. Stop the node that is left; of several the one that shows the newest map. Without
--confirm this shows what its directory holds and what may be missing, and changes nothing. With
the token that it printed it founds a new cluster from that directory. Start the node again as
before, without --join, and then all others with empty directories and --join: they become new
members, and copies are made. The directories of the former members are refused, whatever they
hold.";

/// Options of `tablestore recover`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct RecoverArguments {
    /// The directory of the stopped node
    #[arg(
        long,
        env = "TABLESTORE_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// Found the cluster: the token that this command printed without it
    #[arg(long, value_name = "TOKEN")]
    confirm: Option<String>,
}

pub(crate) fn run(arguments: &RecoverArguments, screen: &Screen) -> Result<Exit, Failure> {
    // It listens nowhere.
    let nowhere = ([127, 0, 0, 1], 0).into();
    let settings = NodeSettings::new("recover", arguments.data_dir.clone(), nowhere, nowhere);
    let data_dir = arguments.data_dir.display().to_string();
    let failed = |error: RecoverError| match &error {
        RecoverError::NoMember(_) | RecoverError::OtherToken { .. } => {
            Failure::usage(error.to_string())
        }
        _ => Failure::caused_by(&error),
    };
    let Some(token) = &arguments.confirm else {
        let found = recoverable(&settings).map_err(failed)?;
        screen.result(&shown(&found, false), || told(screen, &found, &data_dir));
        return Ok(Exit::Done);
    };
    let found = recover(&settings, token).map_err(failed)?;
    screen.result(&shown(&found, true), || {
        format!(
            "{} a new cluster was founded from {data_dir}. Start {} as before but without --join; \
             then start the others with empty directories and --join",
            screen.paint(Tone::Good, "DONE:"),
            name(&found),
        )
    });
    Ok(Exit::Done)
}

fn name(found: &Recoverable) -> &str {
    let member = found.map.members.get(&found.me);
    member.map_or("this node", |member| member.name.as_str())
}

/// For programs; ids as strings.
fn shown(found: &Recoverable, done: bool) -> serde_json::Value {
    let tables = found.tables.iter().map(|table| {
        let numbers = |what| -> Vec<u32> { table.with(what).map(|id| id.partition).collect() };
        json!({
            "table": table.table,
            "strategy": table.strategy,
            "partitions": table.partitions.len(),
            "may_lack_writes": numbers(Salvage::MayLack),
            "rows_gone": numbers(Salvage::Gone),
        })
    });
    let partitions = found.kept.iter().map(|(partition, kept)| {
        json!({
            "partition": partition.to_string(),
            "epoch": kept.adopted.0,
            "last_index": kept.end,
            "usable": kept.usable,
        })
    });
    json!({
        "founded": done,
        "node": name(found),
        "id": found.me.to_string(),
        "cluster": found.map.cluster.to_string(),
        "map_version": found.map.version.0,
        "token": found.token,
        "tables": tables.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn told(screen: &Screen, found: &Recoverable, data_dir: &str) -> String {
    let map = &found.map;
    let mut text = format!(
        "{} of cluster {}, in {data_dir}\n",
        name(found),
        map.cluster
    );
    let newest = map.decisions.back().map(|decision| last(decision));
    let _ = writeln!(
        text,
        "its newest cluster map has version {}{}",
        map.version,
        newest.unwrap_or_default()
    );
    let others = map.members.values().filter(|one| one.storage != found.me);
    let others: Vec<String> = others
        .filter(|one| one.state != MemberState::Left)
        .map(|one| format!("{} at {}", one.name, one.peer_address))
        .collect();
    let _ = writeln!(text, "other members: {}\n", others.join(", "));
    text.push_str(&tables(screen, found));
    text.push_str("\n\nWhat would be lost:\n");
    for line in losses(&found.tables) {
        let _ = writeln!(text, "- {line}");
    }
    let _ = write!(
        text,
        "\nTo found a new cluster from this directory:\n  tablestore recover --data-dir {data_dir} \
         --confirm {}",
        found.token
    );
    text
}

fn last(decision: &Decision) -> String {
    format!(
        ", its last decision is of {} UTC",
        date_time(decision.at_ms)
    )
}

fn tables(screen: &Screen, found: &Recoverable) -> String {
    let rows: Vec<Vec<String>> = found
        .tables
        .iter()
        .map(|table| {
            let count = |what| table.with(what).count().to_string();
            let ends = table.partitions.iter();
            let ends = ends.filter_map(|(partition, _)| found.kept.get(partition));
            vec![
                table.table.clone(),
                table.strategy.clone(),
                table.partitions.len().to_string(),
                count(Salvage::Whole),
                count(Salvage::MayLack),
                count(Salvage::Gone),
                ends.map(|kept| kept.end).max().unwrap_or(0).to_string(),
            ]
        })
        .collect();
    let headings = [
        "TABLE",
        "STRATEGY",
        "PARTITIONS",
        "WHOLE",
        "MAY LACK WRITES",
        "NOT HERE",
        "LAST INDEX",
    ];
    columns(screen, &headings, &rows)
}

/// What is given up, a line each.
fn losses(tables: &[TableSalvage]) -> Vec<String> {
    let mut lines = vec![
        "whatever the others decided and acknowledged after this map, without this node; nothing \
         in this directory can show that"
            .to_owned(),
    ];
    for table in tables {
        let numbers = |what| -> Vec<String> {
            table
                .with(what)
                .map(|id| id.partition.to_string())
                .collect()
        };
        let (lacks, gone) = (numbers(Salvage::MayLack), numbers(Salvage::Gone));
        if !lacks.is_empty() {
            lines.push(format!(
                "{}: acknowledged writes that only the others had, in partitions {}",
                table.table,
                lacks.join(", ")
            ));
        }
        if !gone.is_empty() {
            lines.push(format!(
                "{}: ALL ROWS of partitions {}, which are not here",
                table.table,
                gone.join(", ")
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::collections::BTreeMap;

    use tablestore_placement::recover::{Kept, salvage};
    use tablestore_placement::testing::{cluster, create_table, definition};
    use tablestore_placement::{ClusterId, Epoch, PartitionId, TableId};

    use super::*;

    #[test]
    fn what_may_be_lost_is_said_before_the_token() {
        let mut map = cluster(&[("a", 1), ("b", 1), ("c", 1)]);
        map.cluster = ClusterId(0x52);
        create_table(&mut map, "orders", &definition(4, 3, 2)).unwrap();
        let me = *map.members.keys().next().unwrap();
        let kept = Kept {
            adopted: Epoch(2),
            end: 17,
            usable: true,
        };
        let kept: BTreeMap<PartitionId, Kept> = (0..3)
            .map(|number| (PartitionId::new(TableId(1), number), kept))
            .collect();
        let orders = map.tables.get_mut(&TableId(1)).unwrap();
        orders.partitions[1].in_sync.retain(|member| *member != me);
        let found = Recoverable {
            tables: salvage(&map, me, &kept),
            token: "0123456789abcdef".to_owned(),
            map,
            me,
            kept,
        };
        insta::assert_snapshot!("recover", told(&Screen::plain(), &found, "d1"));
        let json = shown(&found, false);
        assert_eq!(json["tables"][0]["may_lack_writes"], json!([1]));
        assert_eq!(json["tables"][0]["rows_gone"], json!([3]));
    }
}
