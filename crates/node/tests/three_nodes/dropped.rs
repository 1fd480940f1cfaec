//! What a node says of a table that was dropped through it.

use serde_json::{Value, json};

use crate::cluster::Cluster;

#[tokio::test]
async fn a_node_does_not_show_a_table_that_it_has_dropped() {
    let cluster = Cluster::start().await;
    let definition = json!({
        "partition_key": { "name": "id", "type": "string" },
        "replicas": 3, "min_in_sync": 2, "partitions": 4,
    });
    for round in 0..12 {
        for node in 0..3 {
            let table = "/v1/tables/loop";
            let (made, said) = cluster.ask(node, "PUT", table, definition.clone()).await;
            assert_eq!(made, 201, "{said}");
            let (dropped, said) = cluster.ask(node, "DELETE", table, Value::Null).await;
            assert_eq!(dropped, 200, "{said}");
            let (shown, said) = cluster.ask(node, "GET", table, Value::Null).await;
            assert_eq!(shown, 404, "round {round}, n{}: {said}", node + 1);
        }
    }
}
