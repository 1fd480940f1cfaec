//! The client against servers that fail on purpose.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::time::Duration;

use serde_json::json;

use crate::fake::{Fake, Play};
use crate::{
    Batch, CallError, Client, ClientSettings, Condition, Row, RowKey, ScanOptions, TableAlteration,
    TableDefinition, Value, WriteOptions,
};

const NOT_APPLIED: Play = Play::Answer(503, r#"{"code":"not_applied","detail":"no primary"}"#);
const UNKNOWN: Play = Play::Answer(503, r#"{"code":"outcome_unknown","detail":"lost it"}"#);
const OK: Play = Play::Answer(200, "{}");

fn hasty() -> ClientSettings {
    ClientSettings::default()
        .deadline(Duration::from_millis(400))
        .attempt_timeout(Duration::from_millis(100))
}

fn client(fakes: &[&Fake]) -> Client {
    let addresses: Vec<&str> = fakes.iter().map(|fake| fake.address.as_str()).collect();
    Client::with_settings(&addresses, hasty()).unwrap()
}

fn row() -> Row {
    Row::from_iter([("n".to_owned(), 1.into())])
}

#[tokio::test]
async fn a_write_moves_to_the_next_node_with_the_same_request_id() {
    let first = Fake::start(vec![Play::HangUp]).await;
    let second = Fake::start(vec![Play::Silence]).await;
    let third = Fake::start(vec![OK]).await;
    let client = client(&[&first, &second, &third]);
    let written = client.put("t", &RowKey::new("k"), &row()).await.unwrap();
    assert_eq!(written.version, Some(7));
    let ids: Vec<String> = [first, second, third]
        .iter()
        .flat_map(|fake| fake.header("idempotency-key"))
        .collect();
    assert_eq!(ids, vec![written.request.to_string(); 3]);
}

#[tokio::test]
async fn calls_stay_with_the_node_that_answered() {
    let dead = Fake::nobody().await;
    let alive = Fake::start(vec![OK]).await;
    let client = Client::with_settings(&[dead, alive.address.clone()], hasty()).unwrap();
    for _ in 0..3 {
        client.put("t", &RowKey::new("k"), &row()).await.unwrap();
    }
    assert_eq!(client.inner.nodes().current().0, 1);
    assert_eq!(alive.heard().len(), 3);
}

#[tokio::test]
async fn nobody_reached_means_not_applied() {
    let dead = [Fake::nobody().await, Fake::nobody().await];
    let client = Client::with_settings(&dead, hasty()).unwrap();
    let error = client
        .put("t", &RowKey::new("k"), &row())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::NotApplied { attempts: 3.., .. }),
        "{error:?}"
    );
    assert!(!error.may_have_applied());
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_reply_that_is_lost_means_outcome_unknown_even_if_later_attempts_were_not_applied() {
    let fake = Fake::start(vec![Play::HangUp, NOT_APPLIED]).await;
    let error = client(&[&fake])
        .put("t", &RowKey::new("k"), &row())
        .await
        .unwrap_err();
    let CallError::OutcomeUnknown { request, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        fake.header("idempotency-key")[0],
        request.unwrap().to_string()
    );
}

#[tokio::test]
async fn a_server_that_says_not_applied_is_believed_and_asked_again() {
    let fake = Fake::start(vec![NOT_APPLIED, NOT_APPLIED, UNKNOWN, OK]).await;
    client(&[&fake])
        .put("t", &RowKey::new("k"), &row())
        .await
        .unwrap();
    assert_eq!(fake.heard().len(), 4);

    let fake = Fake::start(vec![NOT_APPLIED]).await;
    let error = client(&[&fake])
        .put("t", &RowKey::new("k"), &row())
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::NotApplied { .. }), "{error:?}");
    assert!(error.to_string().contains("no primary"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_final_and_names_code_and_field() {
    let fake = Fake::start(vec![Play::Answer(
        400,
        r#"{"type":"about:blank","status":400,"code":"invalid","detail":"expected a number",
            "field":"n","limit":3}"#,
    )])
    .await;
    let error = client(&[&fake])
        .put("t", &RowKey::new("k"), &row())
        .await
        .unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(
        (problem.code.as_str(), problem.field.as_deref()),
        ("invalid", Some("n"))
    );
    assert_eq!(problem.more["limit"], json!(3));
    assert_eq!(
        error.to_string(),
        "expected a number (400 invalid, field n)"
    );
    assert_eq!(fake.heard().len(), 1);
}

#[tokio::test]
async fn l19_a_spent_budget_ends_the_call_early() {
    let fake = Fake::start(vec![NOT_APPLIED]).await;
    let mut settings = hasty().deadline(Duration::from_secs(60));
    settings.retries_burst = 2;
    settings.retries_per_second = 0;
    let client = Client::with_settings(&[&fake.address], settings).unwrap();
    client
        .put("t", &RowKey::new("k"), &row())
        .await
        .unwrap_err();
    assert_eq!(fake.heard().len(), 3);
}

#[tokio::test]
async fn conditions_travel_as_headers() {
    let fake = Fake::start(vec![OK]).await;
    let client = client(&[&fake]);
    for condition in [Condition::Version(12), Condition::Absent] {
        let options = WriteOptions {
            condition: Some(condition),
            request: None,
        };
        client
            .put_with("t", &RowKey::new("k"), &row(), &options)
            .await
            .unwrap();
    }
    assert_eq!(fake.header("if-match"), ["\"12\""]);
    assert_eq!(fake.header("if-none-match"), ["*"]);
}

#[tokio::test]
async fn a_missing_row_is_none_and_a_missing_table_is_an_error() {
    let row = Play::Answer(404, r#"{"code":"unknown_row"}"#);
    let table = Play::Answer(
        404,
        r#"{"code":"unknown_table","detail":"there is no table t"}"#,
    );
    let fake = Fake::start(vec![row, table]).await;
    let client = client(&[&fake]);
    assert_eq!(client.get("t", &RowKey::new("k")).await.unwrap(), None);
    assert!(client.get("t", &RowKey::new("k")).await.is_err());
}

#[tokio::test]
async fn a_table_dropped_by_an_attempt_whose_reply_was_lost_is_dropped() {
    let missing = Play::Answer(404, r#"{"code":"unknown_table"}"#);
    let fake = Fake::start(vec![Play::HangUp, missing]).await;
    let client = client(&[&fake]);
    client.drop_table("t").await.unwrap();
    client.drop_table("t").await.unwrap_err();
}

#[tokio::test]
async fn a_table_is_altered_also_when_the_first_reply_was_lost() {
    let altered = Play::Answer(
        200,
        r#"{"changed":false,"below_min_in_sync":3,"table":{"name":"t","replicas":5}}"#,
    );
    let fake = Fake::start(vec![Play::HangUp, altered]).await;
    let alteration = TableAlteration::new().replicas(5);
    let altered = client(&[&fake]).alter_table("t", &alteration).await;
    let altered = altered.unwrap();
    assert_eq!((altered.changed, altered.below_min_in_sync), (false, 3));
    assert_eq!(altered.table.replicas, 5);
    let heard = fake.heard();
    assert!(
        heard[1].starts_with("PATCH /v1/tables/t HTTP"),
        "{}",
        heard[1]
    );
    assert!(heard[1].ends_with(r#"{"replicas":5}"#), "{}", heard[1]);
}

#[tokio::test]
async fn a_batch_reports_each_row_and_is_limited() {
    let fake = Fake::start(vec![Play::Answer(
        200,
        r#"{"results":[{"status":200},{"status":413,"code":"too_large","detail":"too large"}]}"#,
    )])
    .await;
    let client = client(&[&fake]);
    let batch = Batch {
        put: vec![row(), row()],
        delete: Vec::new(),
    };
    let results = client.batch("t", &batch).await.unwrap();
    assert!(results[0].is_ok() && !results[1].is_ok());
    assert_eq!(results[1].problem.to_string(), "too large (413 too_large)");

    let short = Batch {
        put: vec![row()],
        delete: Vec::new(),
    };
    let error = client.batch("t", &short).await.unwrap_err();
    assert!(
        error.to_string().contains("2 results for 1 rows"),
        "{error}"
    );
    let many = Batch {
        put: vec![row(); 101],
        delete: Vec::new(),
    };
    let error = client.batch("t", &many).await.unwrap_err();
    assert!(matches!(error, CallError::BatchTooLarge { got: 101, .. }));
}

#[tokio::test]
async fn a_scan_follows_the_cursor_to_the_end() {
    let fake = Fake::start(vec![
        Play::Answer(
            200,
            r#"{"rows":[{"id":"a"},{"id":"b"}],"next_cursor":"x/y=="}"#,
        ),
        Play::Answer(200, r#"{"rows":[{"id":"c"}],"next_cursor":null}"#),
    ])
    .await;
    let options = ScanOptions {
        page_rows: Some(2),
        ..ScanOptions::default()
    };
    let rows = client(&[&fake]).scan("t", options).collect().await.unwrap();
    assert_eq!(rows.len(), 3);
    let heard = fake.heard();
    assert!(heard[0].starts_with("GET /v1/tables/t/rows?consistency=strong&limit=2 HTTP"));
    assert!(heard[1].contains("&cursor=x%2Fy%3D%3D "), "{}", heard[1]);
}

#[tokio::test]
async fn a_range_is_scanned_in_reverse() {
    let fake = Fake::start(vec![Play::Answer(200, r#"{"rows":[],"next_cursor":null}"#)]).await;
    let options = ScanOptions {
        partition: Some("ann".to_owned()),
        reverse: true,
        ..ScanOptions::default()
    };
    client(&[&fake]).scan("t", options).collect().await.unwrap();
    let heard = fake.heard();
    assert!(heard[0].contains("&pk=ann&reverse=true "), "{}", heard[0]);
}

#[tokio::test]
async fn tables_are_created_and_listed() {
    let fake = Fake::start(vec![
        Play::Answer(201, r#"{"name":"t"}"#),
        Play::Answer(200, r#"{"name":"t"}"#),
        Play::Answer(200, r#"{"tables":[{"name":"t"},{"name":"u"}]}"#),
        Play::Answer(200, r#"["t","u"]"#),
    ])
    .await;
    let client = client(&[&fake]);
    let definition = TableDefinition::new("id", "string")
        .sort_key("at", "number")
        .replicas(3);
    assert!(client.create_table("t", &definition).await.unwrap().new);
    assert!(!client.create_table("t", &definition).await.unwrap().new);
    let body = fake.heard()[0].split_once("\r\n\r\n").unwrap().1.to_owned();
    let expected = json!({
        "partition_key": {"name": "id", "type": "string"},
        "sort_key": {"name": "at", "type": "number"},
        "replicas": 3,
    });
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        expected
    );
    for _ in 0..2 {
        let names = json!(client.tables().await.unwrap());
        assert_eq!(names[1]["name"], json!("u"));
    }
}

#[tokio::test]
async fn views_of_the_cluster_keep_what_they_do_not_know() {
    let fake = Fake::start(vec![
        Play::Answer(
            200,
            r#"{"map_version":9,"controller":"n1",
            "nodes":[{"id":"0a","name":"n1","state":"up","new":1}],"tables":[]}"#,
        ),
        Play::Answer(
            200,
            r#"{"partitions":[{"partition":3,"epoch":2,"owner":"n1",
            "replicas":["n1"],"in_sync":["n1"]}]}"#,
        ),
        Play::Answer(
            200,
            r#"[{"id":1,"at_ms":5,"kind":"failover",
            "phases":[{"name":"decided","at_ms":4}]}]"#,
        ),
        Play::Answer(
            200,
            r#"{"partitions":[{"partition":0,"index":7,"equal":false}]}"#,
        ),
    ])
    .await;
    let client = client(&[&fake]);
    let cluster = client.cluster().await.unwrap();
    assert_eq!(cluster.nodes[0].more["new"], json!(1));
    let partitions = client.partitions("t").await.unwrap();
    assert_eq!(partitions[0].assignment.primary.as_deref(), Some("n1"));
    assert_eq!(client.decisions(5).await.unwrap()[0].phases[0].at_ms, 4);
    assert!(!client.checksums("t").await.unwrap().partitions[0].equal);
}

/// 38 digits, a large integer, a small fraction and binary, each as the server writes it.
const EXACT: &str = concat!(
    r#"{"a":12345678901234567890123456789012345678,"b":{"$binary":"AP8="},"#,
    r#""c":[-1.2345678901234567890123456789012345678E-90,18446744073709551617,"#,
    r#"10.357019999999999],"version":3}"#
);

#[tokio::test]
async fn rows_travel_with_every_digit_in_both_directions() {
    let page: &'static str = concat!(
        r#"{"rows":[{"a":12345678901234567890123456789012345678,"b":{"$binary":"AP8="},"#,
        r#""c":[-1.2345678901234567890123456789012345678E-90,18446744073709551617,"#,
        r#"10.357019999999999],"version":3}],"next_cursor":null}"#
    );
    let fake = Fake::start(vec![
        Play::Answer(200, EXACT),
        Play::Answer(200, page),
        OK,
        OK,
        Play::Answer(200, r#"{"results":[{"status":200},{"status":200}]}"#),
    ])
    .await;
    let client = client(&[&fake]);
    let key = RowKey::new("12345678901234567890123");
    let found = client.get("t", &key).await.unwrap().unwrap();
    assert_eq!(Value::from(found.row.clone()).to_string(), EXACT);
    let pages = client.scan("t", ScanOptions::default());
    assert_eq!(pages.collect().await.unwrap(), vec![found.row.clone()]);
    client.put("t", &key, &found.row).await.unwrap();
    client.patch("t", &key, &found.row).await.unwrap();
    let batch = Batch {
        put: vec![found.row.clone()],
        delete: vec![Row::from([("a".to_owned(), found.row["a"].clone())])],
    };
    client.batch("t", &batch).await.unwrap();
    let heard = fake.heard();
    assert!(heard[2].starts_with("PUT /v1/tables/t/rows/12345678901234567890123 "));
    for request in &heard[2..4] {
        assert!(request.ends_with(EXACT), "{request}");
    }
    let deleted = r#""delete":[{"a":12345678901234567890123456789012345678}]}"#;
    assert!(
        heard[4].ends_with(&format!(r#"{{"put":[{EXACT}],{deleted}"#)),
        "{}",
        heard[4]
    );
}

#[tokio::test]
async fn versions_above_two_to_the_53_are_whole_and_no_attribute_is_taken_for_one() {
    let fake = Fake::start(vec![Play::Bare(r#"{"version":9007199254740993}"#)]).await;
    let client = client(&[&fake]);
    let key = RowKey::new("k");
    let written = client.put("t", &key, &row()).await.unwrap();
    assert_eq!(written.version, Some(9_007_199_254_740_993));
    let found = client.get("t", &key).await.unwrap().unwrap();
    assert_eq!(found.version, None, "the row has an attribute of that name");
    let options = WriteOptions {
        condition: Some(Condition::Version(u64::MAX)),
        request: None,
    };
    client.put_with("t", &key, &row(), &options).await.unwrap();
    assert_eq!(fake.header("if-match"), ["\"18446744073709551615\""]);
}

#[tokio::test]
async fn an_answer_that_is_no_page_is_malformed_and_says_where() {
    for (body, said) in [
        ("[]", "expected an object, found a list"),
        ("{}", "rows: expected a list, found nothing"),
        (
            r#"{"rows":[{},3]}"#,
            "rows[1]: expected an object, found a number",
        ),
        (
            r#"{"rows":[],"next_cursor":7}"#,
            "next_cursor: expected a string, found a number",
        ),
        (
            r#"{"rows":[{"a":1,"a":2}]}"#,
            "rows[0].a: expected a name only once, found it again",
        ),
    ] {
        let fake = Fake::start(vec![Play::Answer(200, body)]).await;
        let client = client(&[&fake]);
        let error = client
            .scan("t", ScanOptions::default())
            .next()
            .await
            .unwrap_err();
        assert!(error.to_string().ends_with(said), "{error}");
    }
}
