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
async fn a_table_is_altered_in_what_is_named_alone() {
    let site = Site::new().await;
    site.put("/v1/tables/orders", ORDERS).await;
    let altered = site.patch("/v1/tables/orders", r#"{"replicas":5}"#).await;
    assert_eq!(altered.status, 200, "{altered:?}");
    let mut shown = site.get("/v1/tables/orders").await.json();
    assert_eq!(
        (&shown["replicas"], &shown["min_in_sync"]),
        (&json!(5), &json!(2))
    );
    // One replica is in sync where two are needed.
    assert_eq!(
        altered.json(),
        json!({ "changed": true, "below_min_in_sync": 32, "table": shown })
    );
    let again = site.patch("/v1/tables/orders", r#"{"replicas":5}"#).await;
    assert_eq!(again.json()["changed"], false);
    let both = r#"{"min_in_sync":1,"replicas":2}"#;
    let altered = site.patch("/v1/tables/orders", both).await.json();
    (shown["replicas"], shown["min_in_sync"]) = (json!(2), json!(1));
    assert_eq!(
        altered,
        json!({ "changed": true, "below_min_in_sync": 0, "table": shown })
    );
    // The table is another one now, so this is another definition.
    site.put("/v1/tables/orders", ORDERS)
        .await
        .is_problem(409, "table_exists");
}

#[tokio::test]
async fn what_a_table_cannot_become_is_refused_by_name() {
    let site = Site::new().await;
    site.put("/v1/tables/orders", ORDERS).await;
    let key = r#""partition_key":{"name":"id","type":"string"}"#;
    for strategy in ["active", "partition"] {
        let definition = format!(r#"{{{key},"strategy":"{strategy}"}}"#);
        let created = site
            .put(&format!("/v1/tables/{strategy}"), &definition)
            .await;
        assert_eq!(created.status, 201, "{created:?}");
    }
    let (invalid, unsupported) = ("invalid_request", "unsupported_by_strategy");
    for (table, body, status, code, field) in [
        ("orders", "[]", 400, invalid, "body"),
        ("orders", "{}", 400, invalid, "body"),
        ("orders", r#"{"replicas":8}"#, 400, invalid, "replicas"),
        (
            "orders",
            r#"{"min_in_sync":4}"#,
            400,
            invalid,
            "min_in_sync",
        ),
        ("orders", r#"{"replicas":1}"#, 400, invalid, "min_in_sync"),
        (
            "orders",
            r#"{"partitions":8}"#,
            400,
            "unknown_field",
            "partitions",
        ),
        (
            "active",
            r#"{"min_in_sync":1}"#,
            501,
            unsupported,
            "min_in_sync",
        ),
        (
            "partition",
            r#"{"replicas":2}"#,
            501,
            unsupported,
            "replicas",
        ),
        (
            "partition",
            r#"{"min_in_sync":1}"#,
            501,
            unsupported,
            "min_in_sync",
        ),
    ] {
        let before = site.get(&format!("/v1/tables/{table}")).await.json();
        let got = site.patch(&format!("/v1/tables/{table}"), body).await;
        got.is_about(status, code, field);
        let after = site.get(&format!("/v1/tables/{table}")).await.json();
        assert_eq!(after, before, "{body}");
    }
    let more = site.patch("/v1/tables/active", r#"{"replicas":5}"#).await;
    assert_eq!(more.json()["table"]["min_in_sync"], 3, "a majority");
    site.patch("/v1/tables/nothing", r#"{"replicas":2}"#)
        .await
        .is_problem(404, "unknown_table");
    site.fake.fail(RequestError::unknown(None));
    site.patch("/v1/tables/orders", r#"{"min_in_sync":3}"#)
        .await
        .is_problem(503, "outcome_unknown");
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
