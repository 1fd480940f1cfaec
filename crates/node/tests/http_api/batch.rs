//! Batches: results in order, each row by itself.

use serde_json::{Value, json};
use tablestore_node::api::{NotAppliedReason, RequestError};

use crate::site::Site;

const BATCH: &str = "/v1/tables/sorted/rows:batch";

fn statuses(answer: &Value) -> Vec<u64> {
    let results = answer["results"].as_array().unwrap();
    results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn results_come_in_order_puts_first() {
    let site = Site::with_tables().await;
    let body = json!({
        "delete": [{ "id": "a", "at": 1 }, { "id": "z", "at": 1 }],
        "put": [{ "id": "a", "at": 1, "v": 1 }, { "id": "b", "at": 2 }],
    });
    let got = site.post(BATCH, &body.to_string()).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(
        got.json(),
        json!({ "results": [
            { "status": 200, "version": 101 },
            { "status": 200, "version": 102 },
            { "status": 200, "version": 0 },
            { "status": 200, "version": 0, "deleted": false },
        ]})
    );
    site.get("/v1/tables/sorted/rows/a/1")
        .await
        .is_problem(404, "unknown_row");
    assert_eq!(site.get("/v1/tables/sorted/rows/b/2").await.status, 200);
    assert_eq!(
        site.post(BATCH, "{}").await.json(),
        json!({ "results": [] })
    );
}

#[tokio::test]
async fn a_bad_row_fails_alone_and_is_named() {
    let site = Site::with_tables().await;
    let body = json!({
        "put": [
            { "id": "a" },
            { "id": "a", "at": "one" },
            { "id": "a", "at": 1, "v": "x".repeat(400 * 1024) },
            7,
            { "id": "", "at": 1 },
            { "id": "k".repeat(2049), "at": 1 },
            { "id": "good", "at": 1 },
        ],
        "delete": [{ "id": "good", "at": 1, "v": 2 }],
    });
    let answer = site.post(BATCH, &body.to_string()).await.json();
    assert_eq!(statuses(&answer), [400, 400, 413, 400, 400, 413, 200, 400]);
    let about: Vec<(&str, &str)> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            (
                result["code"].as_str().unwrap_or("-"),
                result["field"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    assert_eq!(
        about,
        [
            ("invalid_request", "put[0].at"),
            ("invalid_request", "put[1].at"),
            ("too_large", "put[2]"),
            ("invalid_request", "put[3]"),
            ("invalid_request", "put[4].id"),
            ("too_large", "put[5].id"),
            ("-", "-"),
            ("unknown_field", "delete[0].v"),
        ]
    );
    assert_eq!(site.get("/v1/tables/sorted/rows/good/1").await.status, 200);
}

#[tokio::test]
async fn a_row_that_the_cluster_cannot_take_fails_alone() {
    let site = Site::with_tables().await;
    site.fake.fail(RequestError::NotApplied {
        reason: NotAppliedReason::Busy,
        partition: None,
    });
    let body = r#"{"put":[{"id":"a","at":1},{"id":"b","at":1}]}"#;
    let answer = site.post(BATCH, body).await.json();
    assert_eq!(statuses(&answer), [503, 200]);
    assert_eq!(answer["results"][0]["code"], "not_applied");
    assert_eq!(answer["results"][0]["reason"], "busy");
    assert_eq!(answer["results"][0]["retry_after"], 1);
}

#[tokio::test]
async fn a_repeated_batch_takes_effect_once() {
    let site = Site::with_tables().await;
    let body = r#"{"put":[{"id":"a","at":1},{"id":"b","at":1}]}"#;
    let key = [("idempotency-key", "batch-1")];
    let first = site.send("POST", BATCH, &key, body).await;
    let again = site.send("POST", BATCH, &key, body).await;
    assert_eq!((first.status, first.json()), (again.status, again.json()));
}

#[tokio::test]
async fn a_hundred_rows_are_taken_and_one_more_is_not() {
    let site = Site::with_tables().await;
    let rows = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|at| json!({ "id": "a", "at": at }))
            .collect()
    };
    let got = site
        .post(
            BATCH,
            &json!({ "put": rows(60), "delete": rows(40) }).to_string(),
        )
        .await;
    assert_eq!(statuses(&got.json()), vec![200; 100]);
    for (body, field) in [
        (json!({ "put": rows(101) }), "put"),
        (json!({ "delete": rows(101) }), "delete"),
        (json!({ "put": rows(60), "delete": rows(41) }), "delete"),
    ] {
        let problem = site
            .post(BATCH, &body.to_string())
            .await
            .is_about(413, "too_large", field);
        assert_eq!(
            (&problem["limit"], &problem["got"]),
            (&json!(100), &json!(101))
        );
    }
}

#[tokio::test]
async fn a_batch_that_is_wrong_as_a_whole_changes_nothing() {
    let site = Site::with_tables().await;
    for (body, code, field) in [
        ("", "invalid_request", "body"),
        ("[]", "invalid_request", "body"),
        (r#"{"put":[{"id":"a","at":1}]"#, "invalid_request", "body"),
        (r#"{"put":{"id":"a"}}"#, "invalid_request", "put"),
        (r#"{"put":[],"delete":7}"#, "invalid_request", "delete"),
        (
            r#"{"put":[{"id":"a","at":1}],"upsert":[]}"#,
            "unknown_field",
            "upsert",
        ),
        (
            r#"{"put":[{"id":"a","at":tru}]}"#,
            "invalid_request",
            "put[0].at",
        ),
    ] {
        site.post(BATCH, body).await.is_about(400, code, field);
    }
    let headers = [("if-match", "\"1\"")];
    site.send("POST", BATCH, &headers, "{}")
        .await
        .is_about(400, "invalid_request", "if-match");
    let rows = site.get("/v1/tables/sorted/rows").await.json();
    assert_eq!(rows, json!({ "rows": [], "next_cursor": null }));
}
