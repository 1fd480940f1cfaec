//! Tables of any strategy under traffic of which every acknowledged write is checked in the end.
//! Knows nothing of what happens to the nodes meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use tablestore_client::{Row, RowKey};
use tablestore_verify::{Endpoint, Findings, Ledger, Load, Traffic};

use crate::harness::{BOUND, Cluster, until};

/// Rows of a table: so many that each partition has some.
const KEYS: usize = 48;
/// Partitions of a table.
const PARTITIONS: usize = 4;

/// One table, and its traffic.
#[derive(Debug)]
pub struct Verified {
    pub table: String,
    endpoint: Endpoint,
    traffic: Traffic,
}

impl Verified {
    /// Makes a table of this strategy and lets writers and strong readers run.
    pub async fn started(cluster: &Cluster, table: &str, strategy: &str) -> Self {
        let definition = json!({
            "partition_key": {"name": "id", "type": "string"},
            "strategy": strategy,
            "partitions": PARTITIONS,
        });
        let target = format!("/v1/tables/{table}");
        let body = definition.to_string();
        let (status, answer) = cluster.ask(0, "PUT", &target, &body).await;
        assert_eq!(status, 201, "{answer}");
        let endpoint = Endpoint::new(&cluster.addresses(), table).unwrap();
        let keys = (0..KEYS).map(|number| RowKey::new(format!("k{number}")));
        let targets = keys.map(|key| endpoint.target(&key, Row::new())).collect();
        let load = Load {
            writers: 4,
            readers: 1,
            pace: Duration::from_millis(2),
            attempt_timeout: Duration::from_secs(1),
        };
        let ledger = match strategy {
            "active" => Ledger::absent(KEYS).converging(),
            _ => Ledger::absent(KEYS),
        };
        let traffic = Traffic::start(endpoint.clone(), targets, ledger, load);
        let verified = Self {
            table: table.to_owned(),
            endpoint,
            traffic,
        };
        verified.more(200).await;
        verified
    }

    /// Waits until so many more writes are acknowledged.
    pub async fn more(&self, writes: u64) {
        let before = self.traffic.acknowledged();
        until(&format!("writes to {}", self.table), async || {
            assert_eq!(self.traffic.refused(), None, "{}", self.table);
            let more = self.traffic.acknowledged() - before;
            if more >= writes {
                Ok(())
            } else {
                Err(format!("{more} more"))
            }
        })
        .await;
    }

    /// Ends the traffic and asserts that nothing acknowledged is missing, and that no strong read
    /// was wrong. Says how many writes were acknowledged.
    pub async fn ends_well(mut self) -> u64 {
        self.traffic.stop(BOUND).await;
        assert_eq!(self.traffic.refused(), None, "{}", self.table);
        assert_eq!(
            self.traffic.wrong_reads(),
            (0, Vec::new()),
            "{}",
            self.table
        );
        let (ledger, targets) = (self.traffic.ledger(), self.traffic.targets().to_vec());
        let mut findings = Findings::default();
        let read = findings.targets(&self.endpoint, &targets, &ledger, BOUND);
        read.await.unwrap();
        assert!(findings.fine(), "{}: {findings:#?}", self.table);
        ledger.acknowledged_total()
    }
}

/// The partitions of a table as a node shows them.
pub async fn partitions(cluster: &Cluster, by: usize, table: &str) -> Result<Vec<Value>, String> {
    let target = format!("/v1/cluster/partitions?table={table}");
    let seen = cluster.get(by, &target).await?;
    let partitions = seen["partitions"].as_array();
    partitions.cloned().ok_or_else(|| seen.to_string())
}

/// The names in a list of a partition.
pub fn names(partition: &Value, field: &str) -> Vec<String> {
    let all = partition[field].as_array().into_iter().flatten();
    let names = all.filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// Waits until every partition of a table has exactly so many replicas, all of them whole, as this
/// node sees it.
pub async fn has_exactly(cluster: &Cluster, by: usize, table: &str, replicas: usize) {
    until(&format!("{table} has {replicas} replicas"), async || {
        for partition in partitions(cluster, by, table).await? {
            let counts = ["replicas", "in_sync"].map(|field| names(&partition, field).len());
            if counts != [replicas; 2] {
                return Err(partition.to_string());
            }
        }
        Ok(())
    })
    .await;
}
