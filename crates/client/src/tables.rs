//! Tables: create, list, describe, drop.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::key::segment;
use crate::{CallError, Client, Document};

/// One part of a primary key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDefinition {
    /// The attribute.
    pub name: String,
    /// `string`, `number` or `binary`.
    #[serde(rename = "type")]
    pub key_type: String,
}

impl KeyDefinition {
    /// A key part.
    pub fn new(name: impl Into<String>, key_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            key_type: key_type.into(),
        }
    }
}

/// What a table is to be. What is `None` is left to the server's default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Decides the partition of a row.
    pub partition_key: KeyDefinition,
    /// Orders the rows of one partition key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_key: Option<KeyDefinition>,
    /// `primary-backup`, `active`, `partition` or the name of a custom strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Copies of every row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Copies on disk before a write is acknowledged, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_in_sync: Option<u32>,
    /// A power of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// `row` or `column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Settings beyond these, passed on as they are.
    #[serde(flatten)]
    pub more: Document,
}

impl TableDefinition {
    /// A table with this partition key and every default.
    pub fn new(partition_key: impl Into<String>, key_type: impl Into<String>) -> Self {
        Self {
            partition_key: KeyDefinition::new(partition_key, key_type),
            sort_key: None,
            strategy: None,
            replicas: None,
            min_in_sync: None,
            partitions: None,
            layout: None,
            more: Document::new(),
        }
    }

    /// The same with a sort key.
    #[must_use]
    pub fn sort_key(mut self, name: impl Into<String>, key_type: impl Into<String>) -> Self {
        self.sort_key = Some(KeyDefinition::new(name, key_type));
        self
    }

    /// The same with this many copies.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// The same with this many copies on disk before a write is acknowledged.
    #[must_use]
    pub fn min_in_sync(mut self, min_in_sync: u32) -> Self {
        self.min_in_sync = Some(min_in_sync);
        self
    }

    /// The same with this many partitions.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

/// What creating a table did.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// False when the same table was there before.
    pub new: bool,
    /// The table as the server describes it.
    pub table: Document,
}

impl Client {
    /// Creates a table; the same definition again is no error.
    ///
    /// # Errors
    /// `Refused` with status 409 when another definition has the name, or 400 for a bad one.
    pub async fn create_table(
        &self,
        name: &str,
        definition: &TableDefinition,
    ) -> Result<Created, CallError> {
        let what = "create table";
        let body = serde_json::to_vec(definition).expect("a definition has only string keys");
        let call = Call::write(Method::PUT, table_path(name)?).body(body);
        let answer = self.inner.call(&call).await?;
        Ok(Created {
            new: answer.status == StatusCode::CREATED,
            table: answer.json(what)?,
        })
    }

    /// What a table is.
    ///
    /// # Errors
    /// `Refused` with status 404 when there is none.
    pub async fn describe_table(&self, name: &str) -> Result<Document, CallError> {
        let what = "describe table";
        self.inner
            .call(&Call::read(table_path(name)?))
            .await?
            .json(what)
    }

    /// All tables, each as the server describes it.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn tables(&self) -> Result<Vec<Document>, CallError> {
        let what = "list tables";
        let answer = self
            .inner
            .call(&Call::read("/v1/tables".to_owned()))
            .await?;
        let listed: Value = answer.json(what)?;
        let list = match listed {
            Value::Array(list) => list,
            Value::Object(mut object) => match object.remove("tables") {
                Some(Value::Array(list)) => list,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        Ok(list
            .into_iter()
            .map(|entry| match entry {
                Value::Object(row) => row,
                name => Document::from_iter([("name".to_owned(), name)]),
            })
            .collect())
    }

    /// Drops a table and all its rows.
    ///
    /// # Errors
    /// `Refused` with status 404 when there is none.
    pub async fn drop_table(&self, name: &str) -> Result<(), CallError> {
        let call = Call::write(Method::DELETE, table_path(name)?);
        match self.inner.call_noting(&call).await {
            Ok(_) => Ok(()),
            // The first attempt dropped it and its reply was lost.
            Err((CallError::Refused(problem), true)) if problem.status == 404 => Ok(()),
            Err((error, _)) => Err(error),
        }
    }
}

pub(crate) fn table_path(name: &str) -> Result<String, CallError> {
    Ok(format!("/v1/tables/{}", segment(name)?))
}
