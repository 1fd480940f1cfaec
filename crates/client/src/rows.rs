//! Rows: put, patch, get, delete, batch.

use reqwest::Method;
use tablestore_contract::limits::BATCH_ITEMS_MAX;
use tablestore_contract::problem::Kind;
use tablestore_contract::{
    self as contract, BATCH_LISTS, BatchResults, BatchWritten, Consistency, Problem, parameters,
};
use tablestore_item::json;

use crate::call::Call;
use crate::key::encode;
use crate::request_id::RequestId;
use crate::tables::table_path;
use crate::{CallError, Client, Row, RowKey};

/// What must hold for a write to be carried out; otherwise it is refused with status 412.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The row has this version.
    Version(u64),
    /// There is no such row.
    Absent,
}

/// How a write is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What must hold.
    pub condition: Option<Condition>,
    /// The request id; `None` makes a new one.
    pub request: Option<RequestId>,
}

/// How a read is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// How fresh.
    pub consistency: Consistency,
}

/// A write that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The version of the row now, if the server named it.
    pub version: Option<u64>,
    /// `false`: the row was to be deleted, and there was none.
    pub existed: bool,
    /// Its request id.
    pub request: RequestId,
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Keys and attributes.
    pub row: Row,
    /// Its version, if the server named it.
    pub version: Option<u64>,
}

/// Writes that travel together; each succeeds or fails by itself.
pub type Batch = contract::Batch<Row>;

/// What became of one row of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchResult {
    /// 200, or why not.
    pub status: u16,
    /// The refusal, when the status is none of 2xx.
    pub problem: Problem,
}

impl From<contract::BatchResult> for BatchResult {
    fn from(result: contract::BatchResult) -> Self {
        match result {
            contract::BatchResult::Written(BatchWritten { status, .. }) => Self {
                status,
                problem: Problem {
                    status,
                    ..Problem::default()
                },
            },
            contract::BatchResult::Refused(problem) => Self {
                status: problem.status,
                problem: *problem,
            },
        }
    }
}

impl BatchResult {
    /// Whether the row was written.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Client {
    /// Writes a whole row: attributes that are not in it are gone afterwards.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn put(&self, table: &str, key: &RowKey, row: &Row) -> Result<Written, CallError> {
        self.put_with(table, key, row, &WriteOptions::default())
            .await
    }

    /// [`put`](Self::put) with a condition or a request id of the caller.
    ///
    /// # Errors
    /// `Refused` with status 412 when the condition does not hold; else see [`CallError`].
    pub async fn put_with(
        &self,
        table: &str,
        key: &RowKey,
        row: &Row,
        options: &WriteOptions,
    ) -> Result<Written, CallError> {
        let call = Call::write(Method::PUT, row_path(table, key)?).body(encode_row(row));
        self.write(call, options).await
    }

    /// Sets the given attributes and leaves the others as they are.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn patch(&self, table: &str, key: &RowKey, row: &Row) -> Result<Written, CallError> {
        self.patch_with(table, key, row, &[], &WriteOptions::default())
            .await
    }

    /// [`patch`](Self::patch) that also removes attributes, with a condition or a request id.
    ///
    /// # Errors
    /// `Refused` with status 412 when the condition does not hold; else see [`CallError`].
    pub async fn patch_with(
        &self,
        table: &str,
        key: &RowKey,
        row: &Row,
        remove: &[&str],
        options: &WriteOptions,
    ) -> Result<Written, CallError> {
        let mut target = row_path(table, key)?;
        if !remove.is_empty() {
            let names: Vec<String> = remove.iter().map(|name| encode(name)).collect();
            target = format!("{target}?{}={}", parameters::REMOVE, names.join(","));
        }
        let call = Call::write(Method::PATCH, target).body(encode_row(row));
        self.write(call, options).await
    }

    /// Deletes a row. A row that is not there is no error.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn delete(&self, table: &str, key: &RowKey) -> Result<Written, CallError> {
        self.delete_with(table, key, &WriteOptions::default()).await
    }

    /// [`delete`](Self::delete) with a condition or a request id.
    ///
    /// # Errors
    /// `Refused` with status 412 when the condition does not hold; else see [`CallError`].
    pub async fn delete_with(
        &self,
        table: &str,
        key: &RowKey,
        options: &WriteOptions,
    ) -> Result<Written, CallError> {
        let call = Call::write(Method::DELETE, row_path(table, key)?);
        self.write(call, options).await
    }

    /// Reads a row, as fresh as can be.
    ///
    /// # Errors
    /// See [`CallError`]. A row that is not there is `Ok(None)`, a table that is not is `Refused`.
    pub async fn get(&self, table: &str, key: &RowKey) -> Result<Option<Found>, CallError> {
        self.get_with(table, key, ReadOptions::default()).await
    }

    /// [`get`](Self::get) with another consistency.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with(
        &self,
        table: &str,
        key: &RowKey,
        options: ReadOptions,
    ) -> Result<Option<Found>, CallError> {
        let consistency = options.consistency.word();
        let target = format!("{}?consistency={consistency}", row_path(table, key)?);
        match self.inner.call(&Call::read(target)).await {
            Ok(answer) => {
                let version = answer.version();
                let row = answer.row("get")?;
                Ok(Some(Found { row, version }))
            }
            Err(CallError::Refused(problem)) if is_missing_row(&problem) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes and deletes up to [`BATCH_ITEMS_MAX`] rows; the results are in order, puts first.
    ///
    /// # Errors
    /// Only when the batch as a whole was refused or lost; look at each result for the rest.
    pub async fn batch(&self, table: &str, batch: &Batch) -> Result<Vec<BatchResult>, CallError> {
        let what = "batch";
        let got = batch.put.len() + batch.delete.len();
        if got > BATCH_ITEMS_MAX {
            return Err(CallError::BatchTooLarge {
                max: BATCH_ITEMS_MAX,
                got,
            });
        }
        if got == 0 {
            return Ok(Vec::new());
        }
        let target = format!("{}/rows:batch", table_path(table)?);
        let call = Call::write(Method::POST, target)
            .body(encode_batch(batch))
            .request(RequestId::random());
        let answer = self.inner.call(&call).await?;
        let BatchResults { results } = answer.json(what)?;
        if results.len() != got {
            let why = format!("{} results for {got} rows", results.len());
            return Err(CallError::Malformed {
                node: answer.node,
                what,
                why,
            });
        }
        Ok(results.into_iter().map(BatchResult::from).collect())
    }

    async fn write(&self, call: Call, options: &WriteOptions) -> Result<Written, CallError> {
        let request = options.request.unwrap_or_else(RequestId::random);
        let mut call = call.request(request);
        match &options.condition {
            Some(Condition::Version(version)) => {
                call = call.header("if-match", format!("\"{version}\""));
            }
            Some(Condition::Absent) => call = call.header("if-none-match", "*".to_owned()),
            None => {}
        }
        let deletes = call.method == Method::DELETE && options.condition.is_none();
        match self.inner.call(&call).await {
            Ok(answer) => {
                // The head has the version already; an old answer may have no body.
                let said: Option<contract::Written> = answer.json("write").ok();
                Ok(Written {
                    version: answer.version().or_else(|| said.map(|said| said.version)),
                    existed: said.and_then(|said| said.deleted).unwrap_or(true),
                    request,
                })
            }
            Err(CallError::Refused(problem)) if deletes && is_missing_row(&problem) => {
                Ok(Written {
                    version: None,
                    existed: false,
                    request,
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn row_path(table: &str, key: &RowKey) -> Result<String, CallError> {
    Ok(format!("{}/rows/{}", table_path(table)?, key.to_path()?))
}

fn encode_row(row: &Row) -> Vec<u8> {
    let mut out = Vec::new();
    json::write_object(row, &mut out);
    out
}

fn encode_batch(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    let [put, delete] = BATCH_LISTS;
    for (opening, rows) in [
        (format!("{{\"{put}\":["), &batch.put),
        (format!("],\"{delete}\":["), &batch.delete),
    ] {
        out.extend_from_slice(opening.as_bytes());
        for (position, row) in rows.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            json::write_object(row, &mut out);
        }
    }
    out.extend_from_slice(b"]}");
    out
}

/// A 404 that is about the row and not about its table.
fn is_missing_row(problem: &Problem) -> bool {
    problem.kind() == Some(Kind::UnknownRow)
}
