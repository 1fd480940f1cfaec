//! The cluster as its nodes describe it: members, partitions, decisions, checksums.
//!
//! The views keep what they do not know in `more`, so that a newer server loses nothing in an
//! older client.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::key::{encode, segment};
use crate::{CallError, Client, Document};

/// `GET /v1/cluster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterView {
    /// Grows with every change.
    pub map_version: u64,
    /// The node that decides at the moment, as a name or an id.
    pub controller: Option<String>,
    /// All members.
    pub nodes: Vec<NodeView>,
    /// All tables.
    pub tables: Vec<Value>,
    /// The rest.
    #[serde(flatten)]
    pub more: Document,
}

/// One member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeView {
    /// Storage id in hexadecimal.
    pub id: String,
    /// For people.
    pub name: String,
    /// `up`, `suspect`, `down`, `draining`, `left`.
    pub state: String,
    /// Where it serves HTTP.
    pub address: String,
    /// `region/zone`, or empty.
    pub zone: Option<String>,
    /// Grows with every start.
    pub incarnation: u64,
    /// Health and resources, as the server reports them.
    pub resources: Value,
    /// The rest.
    #[serde(flatten)]
    pub more: Document,
}

/// Who holds one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionView {
    /// Number within its table.
    pub partition: u32,
    /// Grows when the primary changes.
    pub epoch: u64,
    /// The node that serves it; `None` while nobody does.
    #[serde(alias = "owner")]
    pub primary: Option<String>,
    /// All nodes that keep it.
    pub replicas: Vec<String>,
    /// Those that have every acknowledged write.
    pub in_sync: Vec<String>,
    /// The rest.
    #[serde(flatten)]
    pub more: Document,
}

/// One decision of the controller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// Its number.
    pub id: u64,
    /// Wall-clock milliseconds.
    pub at_ms: u64,
    /// What sort of decision.
    pub kind: String,
    /// The member it is about, as a name or an id.
    pub subject: Option<String>,
    /// What was observed.
    pub evidence: String,
    /// Why that led to the decision.
    pub reason: String,
    /// When each step was reached.
    pub phases: Vec<Phase>,
    /// The rest.
    #[serde(flatten)]
    pub more: Document,
}

/// A step of a decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Wall-clock milliseconds.
    pub at_ms: u64,
}

/// The checksums of a table's partitions on all their replicas.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checksums {
    /// One entry a partition.
    pub partitions: Vec<PartitionChecksum>,
}

/// One partition's checksums, all taken at the same log index.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionChecksum {
    /// Number within its table, or `table/number`.
    pub partition: Value,
    /// The log index.
    pub index: u64,
    /// Whether all in-sync replicas answered and agree.
    pub equal: bool,
    /// The rest, such as the sums themselves.
    #[serde(flatten)]
    pub more: Document,
}

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
        let value = self
            .inner
            .call(&Call::read(target).patient())
            .await?
            .json("checksums")?;
        Ok(Checksums {
            partitions: self.list("checksums", "partitions", value)?,
        })
    }

    /// What would happen if these nodes failed.
    ///
    /// # Errors
    /// `Refused` when a node is not known.
    pub async fn explain(&self, if_fails: &[String]) -> Result<Value, CallError> {
        let names: Vec<String> = if_fails.iter().map(|name| encode(name)).collect();
        self.view(
            "explain",
            format!("/v1/cluster/explain?if_fails={}", names.join(",")),
        )
        .await
    }

    /// Moves everything off a node.
    ///
    /// # Errors
    /// `Refused` when the node is not known or the rules forbid it.
    pub async fn drain_node(&self, name: &str) -> Result<(), CallError> {
        let target = format!("/v1/cluster/nodes/{}/drain", segment(name)?);
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
