//! Four nodes in two regions with a strategy of their own. One that is the primary of something is
//! killed; its office goes to the other region, and every row is there.
//!
//! Run it with `cargo run -p custom-strategy`. The nodes are processes of this very program.

#![expect(clippy::print_stdout, reason = "a program for people on a terminal")]

use std::error::Error;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use custom_strategy::{OtherRegion, region};
use tablestore_client::{Client, Row, RowKey, TableDefinition};
use tablestore_node::{NodeBuilder, NodeSettings};

const ZONES: [&str; 4] = ["eu/1", "eu/2", "us/1", "us/2"];
const ROWS: u32 = 200;

/// One node: registers the strategy, says where it serves, and runs until its input ends.
fn node(name: &str, zone: &str, directory: &str, join: Option<&str>) -> Result<(), Box<dyn Error>> {
    let any = "127.0.0.1:0".parse()?;
    let mut settings = NodeSettings::new(name, directory.into(), any, any);
    settings.zone = zone.to_owned();
    settings.join = join.map(str::to_owned).into_iter().collect();
    let builder = NodeBuilder::new(settings).strategy("other-region", Arc::new(OtherRegion));
    let running = builder.start()?;
    let map = running.node().map();
    let me = map
        .members
        .get(&running.node().me())
        .ok_or("not a member")?;
    println!("{} {}", me.http_address, me.peer_address);
    stdin().lines().for_each(drop);
    running.stop()?;
    Ok(())
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Starts a node in each zone; returns the processes and where they serve.
fn start_nodes(directory: &Path) -> Result<(Vec<Process>, Vec<String>), Box<dyn Error>> {
    let (mut processes, mut addresses, mut join) = (Vec::new(), Vec::new(), None);
    for (number, zone) in (1..).zip(ZONES) {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([format!("n{number}"), zone.to_owned()]);
        command
            .arg(directory.join(format!("n{number}")))
            .args(&join);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        processes.push(Process(child));
        BufReader::new(output).read_line(&mut line)?;
        let (http, peer) = line.trim().split_once(' ').ok_or("a node did not start")?;
        addresses.push(http.to_owned());
        join.get_or_insert_with(|| peer.to_owned());
    }
    Ok((processes, addresses))
}

/// Loads a table, kills the primary of a partition, and reads everything.
async fn fail_over(directory: &Path) -> Result<(), Box<dyn Error>> {
    let (mut processes, addresses) = start_nodes(directory)?;
    let client = Client::connect(&addresses)?;
    let table = TableDefinition::new("id", "string")
        .replicas(2)
        .min_in_sync(1);
    let table = table.partitions(8).strategy("other-region");
    client.create_table("orders", &table).await?;
    let row = |n: u32| {
        Row::from([
            ("id".to_owned(), n.to_string().into()),
            ("total".to_owned(), n.into()),
        ])
    };
    for number in 0..ROWS {
        client
            .put("orders", &RowKey::new(number.to_string()), &row(number))
            .await?;
    }
    let before = client.partitions("orders").await?;
    let names = client.cluster().await?.nodes;
    let zone = |id: &str| {
        names
            .iter()
            .find(|n| n.name == id)
            .map_or("", |n| n.zone.as_deref().unwrap_or_default())
    };
    let lost = before[0].assignment.primary.clone().ok_or("no primary")?;
    let victim = (1..=ZONES.len()).position(|number| lost == format!("n{number}"));
    let victim = victim.ok_or("an unknown primary")?;
    println!("partition 0 is in {}; its node is killed", zone(&lost));
    processes[victim].0.kill()?;
    let began = Instant::now();
    for number in 0..ROWS {
        let found = client
            .get("orders", &RowKey::new(number.to_string()))
            .await?;
        assert!(found.is_some(), "row {number} is there");
    }
    println!(
        "all {ROWS} rows were read {} ms later",
        began.elapsed().as_millis()
    );
    let after = client.partitions("orders").await?;
    let now = after[0].assignment.primary.as_deref().ok_or("no primary")?;
    assert_ne!(
        region(zone(now)),
        region(zone(&lost)),
        "the other region has it"
    );
    println!("partition 0 is in {} now", zone(now));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, zone, directory, join @ ..] = &*arguments {
        return node(name, zone, directory, join.first().map(String::as_str));
    }
    let directory = std::env::temp_dir().join(format!("custom-strategy-{}", std::process::id()));
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), fail_over(&directory)).await?
    });
    std::fs::remove_dir_all(&directory)?;
    done
}
