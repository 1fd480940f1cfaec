//! What was written and acknowledged, and what must therefore be there.
//!
//! Each key has one writer whose values count up, so a row that holds less than was acknowledged
//! was lost, and one that holds more than was attempted came from nowhere.

use std::collections::BTreeMap;

use tablestore_client::{CallError, Client, Row, RowKey, Value};

/// One writer's account.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// By key: what was attempted last, and what was acknowledged last.
    keys: BTreeMap<String, (u64, u64)>,
}

impl Ledger {
    /// The next value of a key is about to be written.
    pub fn attempt(&mut self, key: &str) -> u64 {
        let (attempted, _) = self.keys.entry(key.to_owned()).or_default();
        *attempted += 1;
        *attempted
    }

    pub fn acknowledge(&mut self, key: &str, value: u64) {
        self.keys.entry(key.to_owned()).or_default().1 = value;
    }

    /// Writes that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.keys
            .values()
            .filter(|(_, acknowledged)| *acknowledged > 0)
            .count()
    }

    /// Writes the next value of a key.
    pub async fn write(
        &mut self,
        client: &Client,
        table: &str,
        key: &str,
    ) -> Result<(), CallError> {
        let value = self.attempt(key);
        let mut row = Row::new();
        row.insert("value".to_owned(), value.into());
        client.put(table, &RowKey::new(key), &row).await?;
        self.acknowledge(key, value);
        Ok(())
    }

    /// Asserts that a value has everything that was acknowledged.
    #[track_caller]
    pub fn is_not_older(&self, key: &str, value: Option<u64>) {
        let (_, acknowledged) = self.keys.get(key).copied().unwrap_or_default();
        let value = value.unwrap_or(0);
        assert!(
            value >= acknowledged,
            "{key}: {acknowledged} acknowledged, {value} is there"
        );
    }

    /// Asserts that a value was attempted.
    #[track_caller]
    pub fn fits_attempts(&self, key: &str, value: Option<u64>) {
        let (attempted, _) = self.keys.get(key).copied().unwrap_or_default();
        let value = value.unwrap_or(0);
        assert!(
            value <= attempted,
            "{key}: {attempted} attempted, {value} is there"
        );
    }

    /// Reads all keys back and asserts that nothing acknowledged is missing.
    pub async fn verify(&self, client: &Client, table: &str) {
        for key in self.keys.keys() {
            let found = client.get(table, &RowKey::new(key.as_str())).await.unwrap();
            let value = found.and_then(|found| found.row.get("value").and_then(Value::as_u64));
            self.is_not_older(key, value);
            self.fits_attempts(key, value);
        }
    }
}
