//! Rows into a table: batches, a few at a time, refused rows told apart from passing trouble.
//!
//! Knows nothing of files and terminals.

use tablestore_client::{BATCH_ITEMS_MAX, Batch, BatchResult, CallError, Client, Row, json};
use tokio::task::JoinSet;

use super::source::{Numbered, Rejected};

/// Bytes of one batch at most, well under the server's limit of 16 MB.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How often rows that the cluster could not take for the moment are sent again.
const ROUNDS_MAX: u32 = 20;

/// Rows on their way into a table.
#[derive(Debug)]
pub(crate) struct Loader {
    client: Client,
    table: String,
    concurrency: usize,
    pending: Vec<Numbered>,
    pending_bytes: usize,
    running: JoinSet<Result<Vec<Rejected>, CallError>>,
    sent: u64,
    rejected: Vec<Rejected>,
}

impl Loader {
    pub(crate) fn new(client: Client, table: &str, concurrency: usize) -> Self {
        Self {
            client,
            table: table.to_owned(),
            concurrency: concurrency.max(1),
            pending: Vec::with_capacity(BATCH_ITEMS_MAX),
            pending_bytes: 0,
            running: JoinSet::new(),
            sent: 0,
            rejected: Vec::new(),
        }
    }

    /// Takes one row; waits while enough batches are under way.
    ///
    /// # Errors
    /// When a batch as a whole was refused or lost: the import cannot go on.
    pub(crate) async fn push(&mut self, row: Numbered) -> Result<(), CallError> {
        let bytes = text(&row.row).len();
        if self.pending.len() == BATCH_ITEMS_MAX || self.pending_bytes + bytes > BATCH_BYTES_MAX {
            self.send().await?;
        }
        self.pending_bytes += bytes;
        self.pending.push(row);
        Ok(())
    }

    /// Sends what is left and waits for all of it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) async fn finish(&mut self) -> Result<(), CallError> {
        self.send().await?;
        while !self.running.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    /// Rows sent so far, refused ones included.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes the rows that the server has refused so far.
    pub(crate) fn take_rejected(&mut self) -> Vec<Rejected> {
        std::mem::take(&mut self.rejected)
    }

    async fn send(&mut self) -> Result<(), CallError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        while self.running.len() >= self.concurrency {
            self.join_one().await?;
        }
        let rows = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.sent += rows.len() as u64;
        let (client, table) = (self.client.clone(), self.table.clone());
        self.running
            .spawn(async move { write(&client, &table, rows).await });
        Ok(())
    }

    async fn join_one(&mut self) -> Result<(), CallError> {
        if let Some(joined) = self.running.join_next().await {
            let rejected = joined.expect("a batch neither panics nor is cancelled")?;
            self.rejected.extend(rejected);
        }
        Ok(())
    }
}

/// Writes one batch; rows that could not be taken for the moment are sent again.
async fn write(
    client: &Client,
    table: &str,
    mut rows: Vec<Numbered>,
) -> Result<Vec<Rejected>, CallError> {
    let mut rejected = Vec::new();
    for round in 1..=ROUNDS_MAX {
        let put = rows.iter().map(|row| row.row.clone()).collect();
        let results = client
            .batch(
                table,
                &Batch {
                    put,
                    delete: Vec::new(),
                },
            )
            .await?;
        let mut again = Vec::new();
        for (row, result) in rows.into_iter().zip(results) {
            if result.is_ok() {
                continue;
            }
            if passing(&result) && round < ROUNDS_MAX {
                again.push(row);
            } else {
                let reason = result.problem.to_string();
                let text = text(&row.row);
                rejected.push(Rejected {
                    line: row.line,
                    reason,
                    text,
                });
            }
        }
        if again.is_empty() {
            break;
        }
        rows = again;
        tokio::time::sleep(std::time::Duration::from_millis(10 << round.min(6))).await;
    }
    Ok(rejected)
}

fn text(row: &Row) -> String {
    let mut out = Vec::new();
    json::write_object(row, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Trouble that passes: writing the same row again is right, because it is the same row.
fn passing(result: &BatchResult) -> bool {
    matches!(result.status, 429 | 500 | 502 | 503 | 504)
}
