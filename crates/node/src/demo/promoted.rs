//! When the survivors took over, from their own events.
//!
//! Every node publishes `promoted` when it is told to be the primary of a partition. Knows nothing
//! of the decisions behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::terminal::Failure;

/// A stream that says nothing for this long has told all that it remembered.
const SILENCE: Duration = Duration::from_millis(200);
/// A stream is not read for longer than this; what is looked for comes first.
const READ_FOR: Duration = Duration::from_secs(3);

/// What of an event is needed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct PromotedEvent {
    kind: String,
    at_us: u64,
    #[serde(default)]
    table: String,
    #[serde(default)]
    partition: u32,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Detail {
    #[serde(default)]
    epoch: u64,
}

/// What a killed node was the primary of.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The id of the table.
    pub(crate) table: String,
    /// Its partitions with their epochs before the kill.
    pub(crate) epochs: BTreeMap<u32, u64>,
    /// When it was killed.
    pub(crate) killed_at_us: u64,
}

impl Lost {
    /// When these partitions had new primaries, in microseconds after the kill.
    fn all_promoted_us(&self, events: &[PromotedEvent]) -> Vec<u64> {
        let ours = |event: &&PromotedEvent| {
            event.kind == "promoted"
                && event.table == self.table
                && event.at_us >= self.killed_at_us
                && self
                    .epochs
                    .get(&event.partition)
                    .is_some_and(|before| event.detail.epoch > *before)
        };
        let times = events.iter().filter(ours).map(|event| event.at_us);
        times.map(|at_us| at_us - self.killed_at_us).collect()
    }

    /// The same from the events that these nodes remember; who cannot be reached is left out.
    pub(crate) async fn promoted_us(&self, survivors: &[SocketAddr]) -> Vec<u64> {
        let Ok(client) = reqwest::Client::builder().no_proxy().build() else {
            return Vec::new();
        };
        let mut events = Vec::new();
        for address in survivors {
            events.extend(parse(&remembered(&client, *address).await));
        }
        self.all_promoted_us(&events)
    }
}

/// The text of all events that a node remembers.
async fn remembered(client: &reqwest::Client, address: SocketAddr) -> Vec<u8> {
    let mut text = Vec::new();
    let read = async {
        let url = format!("http://{address}/v1/cluster/events");
        let request = client.get(url).header("last-event-id", "0");
        let mut response = request.send().await.ok()?;
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(SILENCE, response.chunk()).await {
            text.extend_from_slice(&chunk);
        }
        Some(())
    };
    // What was read until then counts.
    let _ = tokio::time::timeout(READ_FOR, read).await;
    text
}

/// The events of a stream; whatever else is in it is passed over.
fn parse(stream: &[u8]) -> Vec<PromotedEvent> {
    String::from_utf8_lossy(stream)
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect()
}

/// The wall clock in microseconds: that of the nodes, since they run here.
pub(crate) fn wall_us() -> Result<u64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.map_err(|_| Failure::failed("the clock stands before 1970"))?;
    Ok(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotions_of_lost_partitions_after_the_kill_count() {
        let stream = b"retry: 1000\n: listening\n\nid: 1\nevent: promoted\n\
            data: {\"id\":1,\"at_us\":90,\"kind\":\"promoted\",\"table\":\"2\",\"partition\":7,\
            \"detail\":{\"epoch\":5}}\n\n\
            data: {\"at_us\":130,\"kind\":\"promoted\",\"table\":\"2\",\"partition\":7,\
            \"detail\":{\"epoch\":6}}\n\n\
            data: {\"at_us\":120,\"kind\":\"promoted\",\"table\":\"2\",\"partition\":3,\
            \"detail\":{\"epoch\":9}}\n\n\
            data: {\"at_us\":110,\"kind\":\"promoted\",\"table\":\"1\",\"partition\":7,\
            \"detail\":{\"epoch\":6}}\n\n\
            data: {\"at_us\":105,\"kind\":\"promoted\",\"table\":\"2\",\"partition\":7,\
            \"detail\":{\"epoch\":5}}\n\n\
            data: {\"at_us\":101,\"kind\":\"crash_hint\"}\n\ndata: half";
        let events = parse(stream);
        assert_eq!(events.len(), 6);
        let lost = Lost {
            table: "2".to_owned(),
            epochs: BTreeMap::from([(7, 5), (8, 1)]),
            killed_at_us: 100,
        };
        assert_eq!(lost.all_promoted_us(&events), [30]);
        let none = Lost {
            killed_at_us: 131,
            ..lost
        };
        assert!(none.all_promoted_us(&events).is_empty());
    }
}
