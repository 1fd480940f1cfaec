//! The checks at the end: every acknowledged write is there, every loaded row is as it was loaded,
//! and all copies of every partition are equal.

use std::collections::BTreeMap;
use std::time::Duration;

use tablestore_client::{CallError, Client, Row, ScanOptions, Value};

use super::ledger::{Key, Wrong};
use super::report::Findings;
use super::rows::{KEY, SEQUENCE, SORT_KEY, same};
use super::traffic::SharedTraffic;

/// Copies that differ are asked again this often: one may have been in the middle of something.
const CHECKSUM_ATTEMPTS: u32 = 10;
/// Between two comparisons.
const CHECKSUM_PAUSE: Duration = Duration::from_millis(500);
/// Wrong rows told in words; the others are counted.
const EXAMPLES_MAX: usize = 10;
/// Rows fetched at a time.
const PAGE_ROWS: usize = 1000;

impl Findings {
    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }
}

/// A table and what was loaded into it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) table: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// The key of a row as one text.
pub(crate) fn row_key(row: &Row) -> String {
    let text = |name: &str| {
        row.get(name)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    format!("{}/{}", text(KEY), text(SORT_KEY))
}

/// Reads back all rows and compares them. `owned` has, by key of the row, the ledger's key.
pub(crate) async fn rows(
    client: &Client,
    loaded: &Loaded,
    owned: &BTreeMap<String, Key>,
    shared: &SharedTraffic,
    findings: &mut Findings,
) -> Result<(), CallError> {
    let options = ScanOptions {
        page_rows: Some(PAGE_ROWS),
        ..ScanOptions::default()
    };
    let mut pages = client.scan(loaded.table, options);
    let mut found: BTreeMap<String, Row> = BTreeMap::new();
    while let Some(page) = pages.next().await? {
        for row in page {
            let key = row_key(&row);
            if found.insert(key.clone(), row).is_some() {
                findings.lost += 1;
                findings.example(format!("{}: the scan shows {key} twice", loaded.table));
            }
        }
    }
    compare(loaded, &found, owned, shared, findings);
    Ok(())
}

fn compare(
    loaded: &Loaded,
    found: &BTreeMap<String, Row>,
    owned: &BTreeMap<String, Key>,
    shared: &SharedTraffic,
    findings: &mut Findings,
) {
    let table = loaded.table;
    if found.len() > loaded.rows.len() {
        let more = found.len() - loaded.rows.len();
        findings.lost += more as u64;
        findings.example(format!("{table}: {more} rows that nobody wrote"));
    }
    for row in &loaded.rows {
        let key = row_key(row);
        let got = found.get(&key);
        if got.is_some_and(|got| !same(row, got)) {
            findings.lost += 1;
            findings.example(format!("{table}: {key} was changed"));
            continue;
        }
        let observed = got.map(|got| {
            got.get(SEQUENCE)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        });
        let judged = match owned.get(&key) {
            Some(ledger_key) => shared.at_end(*ledger_key, observed),
            None if observed == Some(0) => Ok(()),
            None => Err(Wrong::TooOld { least: 0, observed }),
        };
        if let Err(wrong) = judged {
            findings.lost += match wrong {
                Wrong::TooOld { least, observed } => {
                    least.saturating_sub(observed.unwrap_or(0)).max(1)
                }
                Wrong::FromNowhere { .. } => 1,
            };
            findings.example(format!("{table}: {key}: {}", in_words(wrong)));
        }
    }
}

/// A wrong result as a sentence.
pub(crate) fn in_words(wrong: Wrong) -> String {
    match wrong {
        Wrong::TooOld {
            least,
            observed: Some(observed),
        } => {
            format!("write {least} was acknowledged, but write {observed} is there")
        }
        Wrong::TooOld {
            least,
            observed: None,
        } => {
            format!("write {least} was acknowledged, but there is no row")
        }
        Wrong::FromNowhere { most, observed } => {
            format!("write {observed} is there, but only {most} were made")
        }
    }
}

/// Compares the copies of all partitions of a table.
pub(crate) async fn copies(
    client: &Client,
    table: &str,
    findings: &mut Findings,
) -> Result<(), CallError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let checksums = client.checksums(table).await?;
        let unequal: Vec<_> = checksums.partitions.iter().filter(|p| !p.equal).collect();
        if unequal.is_empty() || attempt == CHECKSUM_ATTEMPTS {
            findings.compared += checksums.partitions.len() as u64;
            findings.unequal += unequal.len() as u64;
            for partition in unequal {
                let sums = serde_json::json!(partition.replicas);
                findings.example(format!(
                    "{table}: the copies of partition {} differ: {sums}",
                    partition.partition
                ));
            }
            return Ok(());
        }
        tokio::time::sleep(CHECKSUM_PAUSE).await;
    }
}
