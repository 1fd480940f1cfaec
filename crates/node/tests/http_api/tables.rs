//! Tables are created once, described, listed and dropped.

use serde_json::json;
use tablestore_node::api::{NotAppliedReason, RequestError};

use crate::site::Site;

const ORDERS: &str = r#"{"partition_key":{"name":"id","type":"string"},"sort_key":null,
    "strategy":"primary-backup","replicas":3,"min_in_sync":2,"partitions":32,"layout":"row"}"#;

#[tokio::test]
async fn a_table_is_created_once() {
    let site = Site::new().await;
    let created = site.put("/v1/tables/orders", ORDERS).await;
    assert_eq!(created.status, 201, "{created:?}");
    let shown = json!({
        "name": "orders", "id": 1,
        "partition_key": { "name": "id", "type": "string" }, "sort_key": null,
        "strategy": "primary-backup", "replicas": 3, "min_in_sync": 2, "partitions": 32,
        "layout": "row",
    });
    assert_eq!(created.json(), shown);
    // What is left out is the default, so this is the same.
    let short = r#"{"partition_key":{"name":"id","type":"string"}}"#;
    let again = site.put("/v1/tables/orders", short).await;
    assert_eq!((again.status, again.json()), (200, shown.clone()));
    let other = r#"{"partition_key":{"name":"id","type":"string"},"replicas":1}"#;
    let problem = site
        .put("/v1/tables/orders", other)
        .await
        .is_problem(409, "table_exists");
    assert_eq!(problem["difference"], "replicas");
    assert_eq!(site.get("/v1/tables/orders").await.json(), shown);
}

#[tokio::test]
async fn tables_are_listed_by_name_and_dropped() {
    let site = Site::with_tables().await;
    let names = |list: serde_json::Value| -> Vec<String> {
        let tables = list["tables"].as_array().unwrap().clone();
        tables
            .iter()
            .map(|table| table["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(site.get("/v1/tables").await.json()),
        ["plain", "raw", "sorted"]
    );
    assert_eq!(site.delete("/v1/tables/raw").await.status, 200);
    site.delete("/v1/tables/raw")
        .await
        .is_problem(404, "unknown_table");
    site.get("/v1/tables/raw")
        .await
        .is_problem(404, "unknown_table");
    site.get("/v1/tables/raw/rows")
        .await
        .is_problem(404, "unknown_table");
    assert_eq!(
        names(site.get("/v1/tables").await.json()),
        ["plain", "sorted"]
    );
}

#[tokio::test]
async fn a_table_that_another_node_has_just_created_is_found() {
    let site = Site::with_tables().await;
    site.fake.hide_tables();
    assert_eq!(site.get("/v1/tables/plain").await.status, 200);
    assert_eq!(site.put("/v1/tables/plain/rows/a", "{}").await.status, 200);
    assert_eq!(site.get("/v1/tables/plain/rows/a").await.status, 200);
    // Without a controller nobody can say that a table does not exist.
    site.fake.fail(RequestError::NoController);
    site.get("/v1/tables/other/rows/a")
        .await
        .is_problem(503, "no_controller");
}

#[tokio::test]
async fn a_change_that_cannot_be_decided_says_so() {
    let site = Site::new().await;
    site.fake.fail(RequestError::NoController);
    site.put("/v1/tables/orders", ORDERS)
        .await
        .is_problem(503, "no_controller");
    let reason = NotAppliedReason::Deadline;
    site.fake.fail(RequestError::NotApplied {
        reason,
        partition: None,
    });
    let problem = site
        .put("/v1/tables/orders", ORDERS)
        .await
        .is_problem(503, "not_applied");
    assert_eq!(problem["reason"], "deadline");
}
