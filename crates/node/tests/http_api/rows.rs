//! One row: written, merged, read, deleted; conditions, request ids, deadlines.

use std::time::Duration;

use serde_json::json;
use tablestore_node::api::{Consistency, NotAppliedReason, RequestError};
use tablestore_placement::{PartitionId, TableId};
use tokio::time::Instant;

use crate::site::Site;

#[tokio::test]
async fn a_row_comes_back_with_its_keys_its_version_and_who_answered() {
    let site = Site::with_tables().await;
    let written = site
        .put("/v1/tables/plain/rows/a", r#"{"n":1,"s":"x"}"#)
        .await;
    assert_eq!(
        (written.status, written.json()),
        (200, json!({ "version": 101 }))
    );
    assert_eq!(written.header("etag"), "\"101\"");
    let got = site.get("/v1/tables/plain/rows/a").await;
    assert_eq!(
        (got.status, got.text.as_str()),
        (200, r#"{"id":"a","n":1,"s":"x"}"#)
    );
    for answer in [&written, &got] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("etag"), "\"101\"");
        assert_eq!(answer.header("x-tablestore-served-by"), "n2");
        assert_eq!(answer.header("x-tablestore-partition"), "1/4");
        assert_eq!(answer.header("x-tablestore-epoch"), "4");
    }
}

#[tokio::test]
async fn keys_are_decoded_and_typed() {
    let site = Site::with_tables().await;
    // A slash, a percent sign, a question mark and a plus in a key of text; 7.0 is 7.
    let target = "/v1/tables/sorted/rows/a%2Fb%25%3F+%C3%A9/7.0";
    assert_eq!(site.put(target, r#"{"v":1}"#).await.status, 200);
    let got = site
        .get("/v1/tables/sorted/rows/a%2fb%25%3F%2B%c3%a9/7")
        .await;
    assert_eq!(got.json(), json!({ "id": "a/b%?+é", "at": 7, "v": 1 }));
    assert_eq!(
        site.put("/v1/tables/sorted/rows/a/-1.5e2", "{}")
            .await
            .status,
        200
    );
    let got = site.get("/v1/tables/sorted/rows/a/-150").await;
    assert_eq!(got.text, r#"{"id":"a","at":-150}"#);
    assert_eq!(site.put("/v1/tables/raw/rows/-_8", "{}").await.status, 200);
    let got = site.get("/v1/tables/raw/rows/-_8=").await;
    assert_eq!(got.json(), json!({ "id": { "$binary": "+/8=" } }));
}

#[tokio::test]
async fn a_body_may_repeat_its_key_but_not_contradict_it() {
    let site = Site::with_tables().await;
    let same = site
        .put("/v1/tables/sorted/rows/a/7", r#"{"id":"a","at":7.0,"v":1}"#)
        .await;
    assert_eq!(same.status, 200, "{same:?}");
    let got = site.get("/v1/tables/sorted/rows/a/7").await;
    assert_eq!(got.text, r#"{"id":"a","at":7,"v":1}"#);
    for (body, field) in [
        (r#"{"id":"b"}"#, "id"),
        (r#"{"at":8}"#, "at"),
        (r#"{"at":"7"}"#, "at"),
    ] {
        let got = site.put("/v1/tables/sorted/rows/a/7", body).await;
        got.is_about(400, "invalid_request", field);
    }
    let got = site
        .send("PATCH", "/v1/tables/plain/rows/a", &[], r#"{"id":"b"}"#)
        .await;
    got.is_about(400, "invalid_request", "id");
}

#[tokio::test]
async fn patch_merges_removes_and_sets_null() {
    let site = Site::with_tables().await;
    site.put("/v1/tables/plain/rows/a", r#"{"a,b":1,"c":2,"d":3}"#)
        .await;
    let target = "/v1/tables/plain/rows/a?remove=a%2Cb,c";
    let got = site
        .send("PATCH", target, &[], r#"{"d":null,"e":[1]}"#)
        .await;
    assert_eq!(got.json(), json!({ "version": 102 }));
    let got = site.get("/v1/tables/plain/rows/a").await;
    assert_eq!(got.json(), json!({ "id": "a", "d": null, "e": [1] }));
    // A row that is not there is made of what is set.
    assert_eq!(
        site.send("PATCH", "/v1/tables/plain/rows/b", &[], "{}")
            .await
            .status,
        200
    );
    assert_eq!(
        site.get("/v1/tables/plain/rows/b").await.json(),
        json!({ "id": "b" })
    );
}

#[tokio::test]
async fn a_row_that_is_not_there_is_404_to_read_and_no_error_to_delete() {
    let site = Site::with_tables().await;
    site.put("/v1/tables/plain/rows/a", "{}").await;
    let deleted = site.delete("/v1/tables/plain/rows/a").await;
    assert_eq!(
        (deleted.status, deleted.json()),
        (200, json!({ "version": 0, "deleted": true }))
    );
    let deleted = site.delete("/v1/tables/plain/rows/a").await;
    assert_eq!(
        (deleted.status, deleted.json()),
        (200, json!({ "version": 0, "deleted": false }))
    );
    let got = site.get("/v1/tables/plain/rows/a").await;
    let problem = got.is_problem(404, "unknown_row");
    assert_eq!(problem["partition"], "1/4");
    assert_eq!(got.header("x-tablestore-served-by"), "n2");
}

#[tokio::test]
async fn conditions_hold_or_answer_412_with_the_version() {
    let site = Site::with_tables().await;
    let target = "/v1/tables/plain/rows/a";
    let put = |headers: &'static [(&'static str, &'static str)]| {
        let site = &site;
        async move { site.send("PUT", target, headers, "{}").await }
    };
    let problem = put(&[("if-match", "*")])
        .await
        .is_problem(412, "precondition_failed");
    assert_eq!(
        (&problem["version"], problem["partition"].is_string()),
        (&json!(0), true)
    );
    assert_eq!(
        put(&[("if-none-match", "*")]).await.header("etag"),
        "\"102\""
    );
    let got = put(&[("if-none-match", "*")]).await;
    assert_eq!(got.is_problem(412, "precondition_failed")["version"], 102);
    assert_eq!(got.header("etag"), "\"102\"");
    put(&[("if-match", "\"101\"")])
        .await
        .is_problem(412, "precondition_failed");
    assert_eq!(put(&[("if-match", "\"102\"")]).await.status, 200);
    assert_eq!(put(&[("if-match", "*")]).await.header("etag"), "\"106\"");
    let got = site
        .send("DELETE", target, &[("if-match", "\"9\"")], "")
        .await;
    got.is_problem(412, "precondition_failed");
    assert_eq!(
        site.send("DELETE", target, &[("if-match", "\"106\"")], "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_client_that_has_the_version_gets_304() {
    let site = Site::with_tables().await;
    site.put("/v1/tables/plain/rows/a", "{}").await;
    let target = "/v1/tables/plain/rows/a";
    for (etag, status) in [("\"101\"", 304), ("\"7\", W/\"101\"", 304), ("\"7\"", 200)] {
        let got = site
            .send("GET", target, &[("if-none-match", etag)], "")
            .await;
        assert_eq!(
            (got.status, got.text.is_empty()),
            (status, status == 304),
            "{etag}"
        );
        assert_eq!(got.header("etag"), "\"101\"");
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_another_body_422() {
    let site = Site::with_tables().await;
    let target = "/v1/tables/plain/rows/a";
    let key = [
        ("idempotency-key", "018f3c1e-8e4a-7c3b-9d2f-0123456789ab"),
        ("if-none-match", "*"),
    ];
    let first = site.send("PUT", target, &key, r#"{"n":1}"#).await;
    assert_eq!(first.status, 200);
    assert!(!first.headers.contains_key("x-tablestore-repeated"));
    assert_eq!(
        site.fake.last_context().request,
        Some(0x018f_3c1e_8e4a_7c3b_9d2f_0123_4567_89ab)
    );
    let again = site.send("PUT", target, &key, r#"{"n":1}"#).await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(again.header("x-tablestore-repeated"), "true");
    let other = site.send("PUT", target, &key, r#"{"n":2}"#).await;
    other.is_problem(422, "request_id_reused");
}

#[tokio::test]
async fn a_remembered_refusal_is_refused_again() {
    let site = Site::with_tables().await;
    let target = "/v1/tables/plain/rows/a";
    let headers = [("idempotency-key", "once"), ("if-match", "\"7\"")];
    let first = site.send("PUT", target, &headers, "{}").await;
    first.is_problem(412, "precondition_failed");
    site.put(target, "{}").await;
    let again = site.send("PUT", target, &headers, "{}").await;
    assert_eq!(again.is_problem(412, "precondition_failed")["version"], 0);
    assert_eq!(again.header("x-tablestore-repeated"), "true");
}

#[tokio::test]
async fn reads_are_strong_unless_asked_otherwise() {
    let site = Site::with_tables().await;
    for (query, consistency) in [
        ("", Consistency::Strong),
        ("?consistency=strong", Consistency::Strong),
        ("?consistency=eventual", Consistency::Eventual),
    ] {
        site.get(&format!("/v1/tables/plain/rows/a{query}")).await;
        assert_eq!(site.fake.last_consistency(), consistency, "{query}");
        site.get(&format!("/v1/tables/plain/rows{query}")).await;
        assert_eq!(site.fake.last_consistency(), consistency, "{query}");
    }
}

#[tokio::test]
async fn the_deadline_is_the_clients_or_ten_seconds() {
    let site = Site::with_tables().await;
    for (headers, seconds) in [
        (&[][..], 10),
        (&[("x-tablestore-timeout-ms", "60000")][..], 60),
    ] {
        let before = Instant::now();
        site.send("GET", "/v1/tables/plain/rows/a", headers, "")
            .await;
        let after = Instant::now();
        let deadline = site.fake.last_context().deadline;
        let time = Duration::from_secs(seconds);
        assert!((before + time..=after + time).contains(&deadline));
    }
}

#[tokio::test]
async fn not_applied_and_outcome_unknown_are_told_apart() {
    let site = Site::with_tables().await;
    let partition = Some(PartitionId::new(TableId(1), 17));
    let reason = NotAppliedReason::NotEnoughReplicas;
    site.fake
        .fail(RequestError::NotApplied { reason, partition });
    let got = site.put("/v1/tables/plain/rows/a", "{}").await;
    let problem = got.is_problem(503, "not_applied");
    assert_eq!(problem["reason"], "not_enough_replicas");
    assert_eq!(problem["partition"], "1/17");
    assert_eq!(got.header("retry-after"), "1");
    site.fake.fail(RequestError::unknown(partition));
    let got = site.put("/v1/tables/plain/rows/a", "{}").await;
    assert_eq!(got.is_problem(503, "outcome_unknown")["partition"], "1/17");
    site.fake.fail(RequestError::StorageFull);
    site.put("/v1/tables/plain/rows/a", "{}")
        .await
        .is_problem(507, "storage_full");
}

#[tokio::test]
async fn head_is_get_without_the_row() {
    let site = Site::with_tables().await;
    site.put("/v1/tables/plain/rows/a", r#"{"n":1}"#).await;
    let got = site.send("HEAD", "/v1/tables/plain/rows/a", &[], "").await;
    assert_eq!((got.status, got.text.as_str()), (200, ""));
    assert_eq!(got.header("etag"), "\"101\"");
    assert_eq!(
        site.send("HEAD", "/v1/tables/plain/rows/b", &[], "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn numbers_keep_all_their_digits() {
    let site = Site::with_tables().await;
    let body = r#"{"n":-1.2345678901234567890123456789012345678}"#;
    site.put("/v1/tables/plain/rows/a", body).await;
    let got = site.get("/v1/tables/plain/rows/a").await;
    assert_eq!(
        got.text,
        r#"{"id":"a","n":-1.2345678901234567890123456789012345678}"#
    );
}
