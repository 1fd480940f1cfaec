//! The cluster as its nodes describe it: members, partitions, decisions, checksums.
//!
//! Knows nothing of what a node says: that is the contract.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tablestore_contract::{
    Checksums, ClusterView, Decision, Explanation, NodeLeaves, PartitionView,
};

use crate::call::Call;
use crate::key::{encode, segment};
use crate::{CallError, Client};

impl Client {
    /// Members and tables, as one node knows them.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn cluster(&self) -> Result<ClusterView, CallError> {
        self.view("cluster", "/v1/cluster".to_owned()).await
    }

    /// Who holds each partition of a table.
    ///
    /// # Errors
    /// `Refused` with status 404 when there is no such table.
    pub async fn partitions(&self, table: &str) -> Result<Vec<PartitionView>, CallError> {
        let target = format!("/v1/cluster/partitions?table={}", encode(table));
        let value = self.view("partitions", target).await?;
        self.list("partitions", "partitions", value)
    }

    /// The last decisions, as the server orders them.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn decisions(&self, limit: usize) -> Result<Vec<Decision>, CallError> {
        let value = self
            .view("decisions", format!("/v1/cluster/decisions?limit={limit}"))
            .await?;
        self.list("decisions", "decisions", value)
    }

    /// Computes the checksums of a table's partitions on all replicas and compares them.
    ///
    /// # Errors
    /// `Refused` with status 404 when there is no such table.
    pub async fn checksums(&self, table: &str) -> Result<Checksums, CallError> {
        let target = format!("/v1/cluster/checksums?table={}", encode(table));
        let call = Call::read(target).patient();
        self.inner.call(&call).await?.json("checksums")
    }

    /// What would happen if these nodes failed.
    ///
    /// # Errors
    /// `Refused` when a node is not known.
    pub async fn explain(&self, if_fails: &[String]) -> Result<Explanation, CallError> {
        let names: Vec<String> = if_fails.iter().map(|name| encode(name)).collect();
        self.view(
            "explain",
            format!("/v1/cluster/explain?if_fails={}", names.join(",")),
        )
        .await
    }

    /// Begins to move everything off a node; says what cannot move and what would help.
    ///
    /// # Errors
    /// `Refused` when the node is not known or the rules forbid it.
    pub async fn drain_node(&self, name: &str) -> Result<NodeLeaves, CallError> {
        let target = format!("/v1/cluster/nodes/{}/drain", segment(name)?);
        let call = Call::write(Method::POST, target);
        self.inner.call(&call).await?.json("drain")
    }

    /// Calls the drain of a node off.
    ///
    /// # Errors
    /// `Refused` when the node is not known or down.
    pub async fn undrain_node(&self, name: &str) -> Result<(), CallError> {
        let target = format!("/v1/cluster/nodes/{}/undrain", segment(name)?);
        self.inner
            .call(&Call::write(Method::POST, target))
            .await
            .map(drop)
    }

    /// Removes a node for good.
    ///
    /// # Errors
    /// `Refused` when the node is not known or still holds data.
    pub async fn remove_node(&self, name: &str) -> Result<(), CallError> {
        let target = format!("/v1/cluster/nodes/{}", segment(name)?);
        self.inner
            .call(&Call::write(Method::DELETE, target))
            .await
            .map(drop)
    }

    async fn view<T: DeserializeOwned>(
        &self,
        what: &'static str,
        target: String,
    ) -> Result<T, CallError> {
        self.inner.call(&Call::read(target)).await?.json(what)
    }

    /// A list, either bare or as a member of an object.
    fn list<T: DeserializeOwned>(
        &self,
        what: &'static str,
        member: &str,
        mut value: Value,
    ) -> Result<Vec<T>, CallError> {
        let list = match value.get_mut(member) {
            Some(inner) => inner.take(),
            None => value,
        };
        serde_json::from_value(list).map_err(|error| CallError::Malformed {
            node: self.inner.nodes().current().1.to_owned(),
            what,
            why: error.to_string(),
        })
    }
}
