//! The checks at the end: every acknowledged write is there, every loaded row is as it was loaded,
//! and all copies of every partition are equal.
//!
//! What is right is decided from the ledger, from what was loaded and from the checksums of the
//! copies themselves; that a cluster calls its copies equal decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tablestore_client::{CallError, Client, PartitionChecksum, Row, ScanOptions, Value};

use crate::endpoint::{Endpoint, SEQUENCE, Target, observed};
use crate::http::request;
use crate::lane::{Asked, Lane};
use crate::ledger::{Key, Ledger, Wrong};
use crate::traffic::Traffic;

/// Copies that differ are asked again this often: one may have been in the middle of something.
const CHECKSUM_ATTEMPTS: u32 = 10;
/// Between two comparisons.
const CHECKSUM_PAUSE: Duration = Duration::from_millis(500);
/// Wrong rows told in words; the others are counted.
const EXAMPLES_MAX: usize = 10;
/// Rows fetched at a time.
const PAGE_ROWS: usize = 1000;
/// A node that does not answer a read within this is no node to read from.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// What the checks found wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged writes and loaded rows that are gone or changed, and rows from nowhere.
    pub lost: u64,
    /// Strong reads that went back in time.
    pub stale_reads: u64,
    /// Partitions whose copies differ.
    pub unequal: u64,
    /// Partitions compared.
    pub compared: u64,
    /// A few of them in words.
    pub examples: Vec<String>,
}

/// A table and what was loaded into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Its name.
    pub table: String,
    /// The attribute that is the partition key.
    pub partition_key: String,
    /// The attribute that is the sort key, if there is one.
    pub sort_key: Option<String>,
    /// All rows of the table, with their keys.
    pub rows: Vec<Row>,
}

impl Loaded {
    /// The key of a row as one text.
    #[must_use]
    pub fn key(&self, row: &Row) -> String {
        let text = |name: &String| match row.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let sort = self.sort_key.as_ref().map(text);
        format!("{}/{}", text(&self.partition_key), sort.unwrap_or_default())
    }
}

/// Why rows could not be read back. Nothing was found out, good or bad.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBackError {
    /// No node served the read in time. Check again when the cluster serves.
    #[error("{path}: no node serves it")]
    NotServed {
        /// The path of the row.
        path: String,
    },
    /// An answer that no correct request can get. See to the cluster.
    #[error("{path}: {what}: {status} {body}")]
    Refused {
        /// The path of the row.
        path: String,
        /// What is wrong with it.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// The body as text.
        body: String,
    },
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn fine(&self) -> bool {
        self.lost == 0 && self.stale_reads == 0 && self.unequal == 0
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }

    /// Takes down the reads of a traffic that were wrong.
    pub fn wrong_reads(&mut self, traffic: &Traffic) {
        let (count, examples) = traffic.wrong_reads();
        self.stale_reads += count;
        for read in examples {
            self.example(format!("read {}: {}", read.path, read.wrong));
        }
    }

    /// Reads the writers' rows back, one by one and strongly, and judges them by the ledger, whose
    /// keys are the positions of `targets`. All of it has to be done `within` a time.
    ///
    /// # Errors
    /// When a row cannot be read; what was found until then stays.
    pub async fn targets(
        &mut self,
        endpoint: &Endpoint,
        targets: &[Target],
        ledger: &Ledger,
        within: Duration,
    ) -> Result<(), ReadBackError> {
        let until = Instant::now() + within;
        let mut lane = Lane::new(endpoint, 0, READ_TIMEOUT);
        for (number, target) in targets.iter().enumerate() {
            let path = target.path();
            let bytes = request("GET", &target.strong_path(), None, "");
            let asked = lane.ask(&bytes, || Instant::now() >= until).await;
            let Asked::Answered { answer, .. } = asked else {
                let path = path.to_owned();
                return Err(ReadBackError::NotServed { path });
            };
            let observed = observed(&answer).map_err(|what| ReadBackError::Refused {
                path: path.to_owned(),
                what,
                status: answer.status,
                body: answer.text().into_owned(),
            })?;
            if let Err(wrong) = ledger.at_end(Key(number), observed) {
                self.lost += wrong.writes();
                self.example(format!("{path}: {wrong}"));
            }
        }
        Ok(())
    }

    /// Reads back all rows of a table and compares them with what was loaded. `owned` has, by key
    /// of the row, the ledger's key of a row that a writer owned.
    ///
    /// # Errors
    /// When the table cannot be read to its end; nothing is found then.
    pub async fn rows(
        &mut self,
        client: &Client,
        loaded: &Loaded,
        owned: &BTreeMap<String, Key>,
        ledger: &Ledger,
    ) -> Result<(), CallError> {
        let options = ScanOptions {
            page_rows: Some(PAGE_ROWS),
            ..ScanOptions::default()
        };
        let mut pages = client.scan(&loaded.table, options);
        let mut found: BTreeMap<String, Row> = BTreeMap::new();
        while let Some(page) = pages.next().await? {
            for row in page {
                let key = loaded.key(&row);
                if found.insert(key.clone(), row).is_some() {
                    self.lost += 1;
                    self.example(format!("{}: the scan shows {key} twice", loaded.table));
                }
            }
        }
        self.compare(loaded, &found, owned, ledger);
        Ok(())
    }

    fn compare(
        &mut self,
        loaded: &Loaded,
        found: &BTreeMap<String, Row>,
        owned: &BTreeMap<String, Key>,
        ledger: &Ledger,
    ) {
        let table = &loaded.table;
        if found.len() > loaded.rows.len() {
            let more = found.len() - loaded.rows.len();
            self.lost += more as u64;
            self.example(format!("{table}: {more} rows that nobody wrote"));
        }
        for row in &loaded.rows {
            let key = loaded.key(row);
            let got = found.get(&key);
            if got.is_some_and(|got| !same(row, got)) {
                self.lost += 1;
                self.example(format!("{table}: {key} was changed"));
                continue;
            }
            let observed = got.map(|got| {
                got.get(SEQUENCE)
                    .and_then(Value::as_u64)
                    .unwrap_or_default()
            });
            let judged = match owned.get(&key) {
                Some(ledger_key) => ledger.at_end(*ledger_key, observed),
                None if observed == Some(0) => Ok(()),
                None => Err(Wrong::TooOld { least: 0, observed }),
            };
            if let Err(wrong) = judged {
                self.lost += wrong.writes();
                self.example(format!("{table}: {key}: {wrong}"));
            }
        }
    }

    /// Compares the copies of all partitions of a table.
    ///
    /// # Errors
    /// When no node says what they are; nothing is found then.
    pub async fn copies(&mut self, client: &Client, table: &str) -> Result<(), CallError> {
        self.copies_with_pause(client, table, CHECKSUM_PAUSE).await
    }

    async fn copies_with_pause(
        &mut self,
        client: &Client,
        table: &str,
        pause: Duration,
    ) -> Result<(), CallError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let partitions = client.checksums(table).await?.partitions;
            let unequal: Vec<_> = partitions.iter().filter(|p| !equal(p)).collect();
            if unequal.is_empty() || attempt == CHECKSUM_ATTEMPTS {
                self.compared += partitions.len() as u64;
                self.unequal += unequal.len() as u64;
                for partition in unequal {
                    let sums = serde_json::json!(partition.replicas);
                    self.example(format!(
                        "{table}: the copies of partition {} differ: {sums}",
                        partition.partition
                    ));
                }
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// Whether there are copies, each with a checksum, and all the same; the word of the server is not
/// enough, but a copy that it calls different is.
fn equal(partition: &PartitionChecksum) -> bool {
    let replicas = partition.replicas.iter();
    let mut sums = replicas.map(|replica| replica.checksum.as_deref());
    let first = sums.next().flatten();
    partition.equal && first.is_some() && sums.all(|sum| sum == first)
}

/// Whether a row that was read back is the one that was loaded; the writers' count is not compared.
fn same(loaded: &Row, found: &Row) -> bool {
    let counted = usize::from(found.contains_key(SEQUENCE));
    found.len() == loaded.len() + counted
        && loaded
            .iter()
            .all(|(name, value)| found.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use serde_json::{Value as Json, json};
    use tablestore_client::json::parse_object;

    use super::*;
    use crate::fake::Fake;

    fn row(text: &str) -> Row {
        parse_object(text.as_bytes()).unwrap()
    }

    /// A table of three rows, of which a writer owned the first and wrote it twice.
    async fn written() -> (Fake, Loaded, BTreeMap<String, Key>, Ledger) {
        let fake = Fake::start(None).await;
        let rows = (0..3).map(|number| row(&format!("{{\"id\":\"k{number}\",\"n\":{number}}}")));
        let loaded = Loaded {
            table: "t".to_owned(),
            partition_key: "id".to_owned(),
            sort_key: None,
            rows: rows.collect(),
        };
        for number in 0..3 {
            fake.put(&format!("k{number}"), &format!("{{\"n\":{number}}}"));
        }
        let mut ledger = Ledger::loaded(1);
        for _ in 0..2 {
            let sequence = ledger.attempt(Key(0));
            fake.put("k0", &format!("{{\"n\":0,\"sequence\":{sequence}}}"));
            ledger.acknowledge(Key(0), sequence);
        }
        let owned = BTreeMap::from([("k0/".to_owned(), Key(0))]);
        (fake, loaded, owned, ledger)
    }

    /// Breaks what the cluster holds and tells what is found.
    async fn found(break_it: impl FnOnce(&Fake)) -> Findings {
        let (fake, loaded, owned, ledger) = written().await;
        break_it(&fake);
        let mut findings = Findings::default();
        let client = fake.client();
        findings
            .rows(&client, &loaded, &owned, &ledger)
            .await
            .unwrap();
        findings
            .copies_with_pause(&client, "t", Duration::ZERO)
            .await
            .unwrap();
        findings
    }

    #[tokio::test]
    async fn a_cluster_that_keeps_its_word_passes() {
        let findings = found(|_| ()).await;
        assert!(findings.fine() && findings.examples.is_empty());
        assert_eq!(findings.compared, 2);
    }

    #[tokio::test]
    async fn a_lost_write_and_a_lost_row_are_noticed() {
        let findings = found(|fake| fake.put("k0", "{\"n\":0}")).await;
        let told = "t: k0/: write 2 was acknowledged, but write 0 is there";
        assert_eq!(
            (findings.lost, findings.examples),
            (2, vec![told.to_owned()])
        );

        let findings = found(|fake| fake.remove("k1")).await;
        assert!(!findings.fine() && findings.lost == 1);
    }

    #[tokio::test]
    async fn a_changed_row_and_one_that_nobody_wrote_are_noticed() {
        let findings = found(|fake| fake.put("k2", "{\"n\":3}")).await;
        assert_eq!(findings.examples, ["t: k2/ was changed"]);
        let findings = found(|fake| fake.put("k9", "{}")).await;
        assert_eq!(findings.examples, ["t: 1 rows that nobody wrote"]);
        let findings = found(|fake| fake.put("k1", "{\"n\":1,\"sequence\":1}")).await;
        assert_eq!(findings.lost, 1, "no writer owned it");
    }

    #[tokio::test]
    async fn rows_read_back_one_by_one_are_judged_by_the_ledger() {
        let (fake, _, _, ledger) = written().await;
        let (endpoint, targets) = (fake.endpoint(), fake.targets(1));
        let mut findings = Findings::default();
        let within = Duration::from_secs(30);
        let read = findings.targets(&endpoint, &targets, &ledger, within).await;
        assert_eq!((read, findings.fine()), (Ok(()), true));
        fake.remove("k0");
        let read = findings.targets(&endpoint, &targets, &ledger, within).await;
        assert_eq!((read, findings.lost), (Ok(()), 2));
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_serve_is_not_one_that_lost_nothing() {
        let (_fake, _, _, ledger) = written().await;
        let nobody = Fake::nobody().await;
        let targets = [nobody.target(&tablestore_client::RowKey::new("k0"), Row::new())];
        let mut findings = Findings::default();
        let read = findings
            .targets(&nobody, &targets, &ledger, Duration::ZERO)
            .await;
        assert!(matches!(read, Err(ReadBackError::NotServed { .. })));
    }

    fn partition(equal: bool, sums: &[Json]) -> PartitionChecksum {
        let replicas = sums.iter().map(|sum| json!({"checksum": sum}));
        let replicas: Vec<_> = replicas.collect();
        serde_json::from_value(json!({"partition": 0, "equal": equal, "replicas": replicas}))
            .unwrap()
    }

    #[test]
    fn copies_are_equal_by_their_sums_whatever_the_server_calls_them() {
        let (one, two) = (json!("01"), json!("02"));
        assert!(equal(&partition(true, &[one.clone(), one.clone()])));
        assert!(equal(&partition(true, std::slice::from_ref(&one))));
        assert!(!equal(&partition(true, &[one.clone(), two])), "they differ");
        assert!(!equal(&partition(true, &[one.clone(), Json::Null])));
        assert!(!equal(&partition(true, &[Json::Null, Json::Null])));
        assert!(!equal(&partition(true, &[])), "nothing was compared");
        assert!(!equal(&partition(false, &[one.clone(), one])));
    }

    #[tokio::test]
    async fn unequal_copies_are_noticed_and_told() {
        let findings = found(Fake::part_copies).await;
        assert_eq!((findings.unequal, findings.compared), (1, 2));
        let told = &findings.examples[0];
        assert!(told.starts_with("t: the copies of partition 1 differ:"));
    }

    #[test]
    fn a_row_is_compared_by_value_without_the_count() {
        let loaded = row(r#"{"id": "a", "n": 10, "x": null}"#);
        assert!(same(&loaded, &row(r#"{"id": "a", "n": 10.0, "x": null}"#)));
        assert!(same(
            &loaded,
            &row(r#"{"id": "a", "n": 10, "x": null, "sequence": 4}"#)
        ));
        assert!(!same(&loaded, &row(r#"{"id": "a", "n": 11, "x": null}"#)));
        assert!(!same(&loaded, &row(r#"{"id": "a", "n": 10}"#)));
        assert!(!same(
            &loaded,
            &row(r#"{"id": "a", "n": 10, "x": null, "y": 1}"#)
        ));
        // One f64 for both, but not one number.
        let digits = |last: u32| row(&format!("{{\"n\":1234567890123456789{last}}}"));
        assert!(!same(&digits(1), &digits(2)));
    }
}
