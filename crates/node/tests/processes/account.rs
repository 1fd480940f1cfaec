//! Rows that one writer of a test owns, and the ledger of what it wrote.

use tablestore_client::{CallError, Client, Row, RowKey};
use tablestore_verify::{Endpoint, Findings, Key, Ledger, SEQUENCE, Target};

use crate::harness::{BOUND, Cluster};

/// One writer's account.
#[derive(Debug)]
pub struct Account {
    endpoint: Endpoint,
    keys: Vec<RowKey>,
    pub targets: Vec<Target>,
    pub ledger: Ledger,
}

impl Account {
    /// Rows of a table that are not there yet: `{prefix}0`, `{prefix}1`, …
    pub fn new(cluster: &Cluster, table: &str, prefix: &str, count: usize) -> Self {
        let endpoint = Endpoint::new(&cluster.addresses(), table).unwrap();
        let keys = (0..count).map(|number| RowKey::new(format!("{prefix}{number}")));
        let keys: Vec<_> = keys.collect();
        let targets = keys.iter().map(|key| endpoint.target(key, Row::new()));
        Self {
            targets: targets.collect(),
            endpoint,
            keys,
            ledger: Ledger::absent(count),
        }
    }

    /// Writes the next number of a key. After an error whose outcome is unknown its key must rest.
    pub async fn write(&mut self, client: &Client, key: Key) -> Result<(), CallError> {
        let sequence = self.ledger.attempt(key);
        let row = Row::from([(SEQUENCE.to_owned(), sequence.into())]);
        let table = self.endpoint.table();
        match client.put(table, &self.keys[key.0], &row).await {
            Ok(_) => self.ledger.acknowledge(key, sequence),
            Err(error) => {
                if !error.may_have_applied() {
                    let judged = self.ledger.not_applied(key, sequence);
                    judged.expect("nobody has read it");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reads all rows back and asserts that nothing acknowledged is missing and that nothing is
    /// there that was not written.
    pub async fn verify(&self) {
        let mut findings = Findings::default();
        let read = findings.targets(&self.endpoint, &self.targets, &self.ledger, BOUND);
        read.await.unwrap();
        assert!(findings.fine(), "{findings:#?}");
    }
}
