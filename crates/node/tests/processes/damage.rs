//! Every file of a data directory cut, flipped, removed or emptied: the start is refused by the
//! name of a file, or nothing that was acknowledged is lost.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use tablestore_client::{Row, RowKey};
use tablestore_node::NodeSettings;
use tablestore_node::start::{Inspected, StartError, inspect};

use crate::harness::{Cluster, copy, until};

const TABLES: [&str; 2] = ["first", "second"];
const ROWS: usize = 200;
const ROUNDS: usize = 3;
const ROW_BYTES: usize = 8 << 10;
/// Damages that are opened in this process, and of these in how many a node is started as well.
const PLACES: usize = 300;
const STARTED_EVERY: usize = 10;
/// One seed is one run.
const SEED: u64 = 29;

/// Steps of a linear congruence.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        let step = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step.wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let inside = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    entries.into_iter().flat_map(inside).collect()
}

/// A node that has flushed, with several journal segments, tables that came and went, and rows
/// that are in the journal only; nothing is under way any more when this returns.
async fn filled() -> Cluster {
    let mut cluster = Cluster::prepare(1);
    let small = ["--journal-segment-mib", "1", "--journal-segments", "4"];
    let arguments = &mut cluster.nodes[0].arguments;
    arguments.extend(small.map(str::to_owned));
    cluster.start_all().await;
    let definition = json!({
        "partition_key": {"name": "id", "type": "string"},
        "replicas": 1, "min_in_sync": 1, "partitions": 2,
    });
    for table in TABLES {
        let target = format!("/v1/tables/{table}");
        let (status, answer) = cluster
            .ask(0, "PUT", &target, &definition.to_string())
            .await;
        assert_eq!(status, 201, "{answer}");
        cluster.whole(table, 1).await;
    }
    for round in 0..ROUNDS {
        write(&cluster, round).await;
    }
    cluster
}

async fn write(cluster: &Cluster, round: usize) {
    let client = cluster.client();
    for number in 0..ROWS {
        let mut row = Row::new();
        row.insert("round".to_owned(), (round as u64).into());
        row.insert(
            "v".to_owned(),
            format!("{number}").repeat(ROW_BYTES / 4).into(),
        );
        let table = TABLES[number % TABLES.len()];
        let key = RowKey::new(format!("k{number}"));
        client.put(table, &key, &row).await.unwrap();
    }
}

fn settings(directory: &Path) -> NodeSettings {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = NodeSettings::new("n1", directory.to_owned(), nowhere, nowhere);
    settings.segment_bytes = 1 << 20;
    settings.segments_max = 4;
    settings
}

/// What opening it finds; an outer error is a panic.
fn opened(directory: &Path) -> std::thread::Result<Result<Vec<Inspected>, StartError>> {
    let settings = settings(directory);
    // On a thread without a runtime, as in a start.
    std::thread::spawn(move || inspect(&settings)).join()
}

/// An error with all that lies behind it, as a node that starts tells it.
fn told(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(deeper) = source {
        text.push_str(&format!(": {deeper}"));
        source = deeper.source();
    }
    text
}

/// Does something to a file and says what.
fn damage(directory: &Path, round: usize, chance: &mut Chance) -> String {
    let all = files(directory);
    let file = &all[chance.below(all.len())];
    let mut content = fs::read(file).unwrap();
    let at = chance.below(content.len());
    let what = ["cut", "flip", "remove", "empty"][round % 4];
    match what {
        "cut" => content.truncate(at),
        "flip" if !content.is_empty() => content[at] ^= 1 << chance.below(8),
        _ => content.clear(),
    }
    match what {
        "remove" => fs::remove_file(file).unwrap(),
        _ => fs::write(file, &content).unwrap(),
    }
    let name = file.strip_prefix(directory).unwrap().display();
    format!("{what} {name} at {at}")
}

/// What is wrong with what was found, if something is.
fn lost(whole: &[Inspected], found: &[Inspected], place: &str) -> Option<String> {
    whole.iter().find_map(|before| {
        let after = found.iter().find(|one| one.partition == before.partition);
        let Some(after) = after else {
            return Some(format!("partition {:x} is not there", before.partition));
        };
        match &after.unusable {
            Some(why) if why.contains(place) => None,
            Some(why) => Some(format!("no file is named: {why}")),
            None if after.end < before.end => {
                Some(format!("the log ends at {} of {}", after.end, before.end))
            }
            None if after.rows != before.rows => Some("rows differ".to_owned()),
            None => None,
        }
    })
}

/// Starts a node on the directory: it is refused with status 1, or serves every row.
async fn started(cluster: &mut Cluster, directory: &Path) -> Option<String> {
    let home = cluster.nodes[0].directory.clone();
    let _ = fs::remove_dir_all(&home);
    copy(directory, &home);
    cluster.nodes[0].start();
    let begun = cluster.ready_or_ended(0).await;
    if !begun {
        let status = cluster.nodes[0].end().await;
        let said = cluster.nodes[0].log();
        let named = said.contains(&home.display().to_string());
        return (status.code() != Some(1) || !named).then(|| format!("{status}: {said}"));
    }
    let mut missing = None;
    for number in 0..ROWS {
        let table = TABLES[number % TABLES.len()];
        let target = format!("/v1/tables/{table}/rows/k{number}");
        let (status, answer) = cluster.ask(0, "GET", &target, "").await;
        if status != 200 || answer["round"] != ROUNDS - 1 {
            missing = Some(format!("{target}: {status} {}", answer["code"]));
        }
    }
    cluster.nodes[0].kill();
    missing
}

async fn damage_everywhere(cluster: &mut Cluster, seed: u64) {
    let place = cluster.home.path().join("damaged");
    let whole_place = cluster.home.path().join("whole");
    copy(&cluster.nodes[0].directory.clone(), &whole_place);
    copy(&whole_place, &place);
    let whole = opened(&place).unwrap().unwrap();
    assert_eq!(whole.len(), TABLES.len() * 2);
    let (mut chance, mut wrong, mut refused) = (Chance(seed), Vec::new(), 0);
    for round in 0..PLACES / 2 {
        fs::remove_dir_all(&place).unwrap();
        copy(&whole_place, &place);
        let what = damage(&place, round, &mut chance);
        if round % STARTED_EVERY == 0
            && let Some(why) = started(cluster, &place).await
        {
            wrong.push(format!("{what}, started: {why}"));
        }
        let shown = place.display().to_string();
        match opened(&place) {
            Err(_) => wrong.push(format!("{what}: panic")),
            Ok(Ok(found)) => {
                wrong.extend(lost(&whole, &found, &shown).map(|why| format!("{what}: {why}")));
            }
            Ok(Err(error)) => match told(&error) {
                why if why.contains(&shown) => refused += 1,
                why => wrong.push(format!("{what}: no file is named: {why}")),
            },
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > PLACES / 10, "only {refused} were refused");
}

#[tokio::test]
async fn after_a_clean_stop_damage_anywhere_is_named_or_nothing_is_lost() {
    let mut cluster = filled().await;
    assert!(cluster.nodes[0].terminate().await.success());
    damage_everywhere(&mut cluster, SEED).await;
}

#[tokio::test]
async fn after_a_kill_damage_anywhere_is_named_or_nothing_is_lost() {
    let mut cluster = filled().await;
    // A moment without writes, in which the ends of the logs are stated.
    let stated = cluster.nodes[0].directory.join("journal");
    until("the journal rests", async || {
        let before = newest_change(&stated);
        cluster.get(0, "/readyz").await?;
        let rests = before
            .elapsed()
            .is_ok_and(|since| since.as_millis() > 1_500);
        rests
            .then_some(())
            .ok_or_else(|| "it is written".to_owned())
    })
    .await;
    cluster.nodes[0].kill();
    damage_everywhere(&mut cluster, SEED + 1).await;
}

fn newest_change(folder: &Path) -> std::time::SystemTime {
    let times = files(folder)
        .into_iter()
        .map(|file| fs::metadata(file).unwrap().modified());
    times.map(Result::unwrap).max().unwrap()
}
