//! Tables: create, alter, list, describe, drop.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tablestore_contract::{Altered, TableAlteration, TableDefinition, TableView};

use crate::call::Call;
use crate::key::segment;
use crate::{CallError, Client};

/// What creating a table did.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// False when the same table was there before.
    pub new: bool,
    /// The table as the server describes it.
    pub table: TableView,
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

    /// Alters how many replicas a table has and a write needs; what is not named stays. Its
    /// replicas come and go after the answer, while it is served; every primary goes by a greater
    /// minimum from the answer on.
    ///
    /// # Errors
    /// `Refused` with status 404 when there is none, 400 for a bad value, 501 where the table's
    /// strategy has no such setting. After an unknown outcome the same may be asked for again.
    pub async fn alter_table(
        &self,
        name: &str,
        alteration: &TableAlteration,
    ) -> Result<Altered, CallError> {
        let body = serde_json::to_vec(alteration).expect("an alteration has only string keys");
        let call = Call::write(Method::PATCH, table_path(name)?).body(body);
        self.inner.call(&call).await?.json("alter table")
    }

    /// What a table is.
    ///
    /// # Errors
    /// `Refused` with status 404 when there is none.
    pub async fn describe_table(&self, name: &str) -> Result<TableView, CallError> {
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
    pub async fn tables(&self) -> Result<Vec<TableView>, CallError> {
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
        list.into_iter()
            .map(|entry| match entry {
                Value::String(name) => Ok(TableView {
                    name,
                    ..TableView::default()
                }),
                whole => {
                    serde_json::from_value(whole).map_err(|error| answer.malformed(what, error))
                }
            })
            .collect()
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
