//! Tables in a bucket of a service that speaks S3: real nodes, a real service, run by
//! `cargo xtask s3`, which installs the service.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

#[path = "../processes/harness.rs"]
#[allow(dead_code, clippy::print_stderr, reason = "other tests use more of it")]
mod harness;
mod refused;
mod service;
mod survivors;

use serde_json::json;

use crate::harness::{Cluster, until};
use crate::service::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, Service};

pub const BUCKET: &str = "rows";
pub const TABLE: &str = "orders";
const PARTITIONS: usize = 4;

/// So many nodes on a bucket; none is started.
pub fn prepared(count: usize, service: &Service) -> Cluster {
    let mut cluster = Cluster::prepare(count);
    for node in &mut cluster.nodes {
        let url = format!("s3://{BUCKET}/a/cluster");
        let endpoint = service.endpoint();
        let given = ["--shared-endpoint", &endpoint, "--shared-url", &url];
        node.arguments.extend(given.map(str::to_owned));
        node.environment = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN),
            ("NO_PROXY", "*"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    }
    cluster
}

/// Three nodes with a table in a bucket.
pub async fn started(service: &Service) -> Cluster {
    let mut cluster = prepared(3, service);
    cluster.start_all().await;
    let definition = json!({
        "partition_key": {"name": "id", "type": "string"},
        "strategy": "partition",
        "partitions": PARTITIONS,
    });
    let target = format!("/v1/tables/{TABLE}");
    until("the table is made", async || {
        let made = cluster
            .ask(0, "PUT", &target, &definition.to_string())
            .await;
        match made {
            (200 | 201, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster
}

pub fn row(number: usize, query: &str) -> String {
    format!("/v1/tables/{TABLE}/rows/key-{number}{query}")
}

/// No log of any node has what only those who may use the bucket know.
pub fn assert_nothing_secret_is_logged(cluster: &Cluster) {
    for node in &cluster.nodes {
        let log = node.log();
        for secret in [SECRET_ACCESS_KEY, SESSION_TOKEN] {
            assert!(!log.contains(secret), "{} tells {secret}: {log}", node.name);
        }
    }
}
