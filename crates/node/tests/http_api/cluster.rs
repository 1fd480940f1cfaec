//! The cluster as clients see it, its events, and what machines ask of a node.

use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn the_cluster_shows_members_and_tables() {
    let site = Site::with_tables().await;
    let cluster = site.get("/v1/cluster").await.json();
    assert_eq!(cluster["map_version"], 11);
    assert_eq!(cluster["controller"], "n2");
    assert_eq!(cluster["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(
        cluster["nodes"][0],
        json!({
            "id": "00000000000000a1", "name": "n1", "state": "up", "since_ms": 5,
            "address": "127.0.0.1:161", "peer_address": "127.0.0.1:1161", "zone": "r/z",
            "weight": 1, "incarnation": 3, "voter": false, "drain": null,
            "resources": { "level": "ok" },
        })
    );
    assert_eq!(cluster["nodes"][1]["voter"], true);
    assert_eq!(
        cluster["tables"][0],
        site.get("/v1/tables/plain").await.json()
    );
}

#[tokio::test]
async fn partitions_show_who_holds_them() {
    let site = Site::with_tables().await;
    let got = site.get("/v1/cluster/partitions?table=plain").await.json();
    let partitions = got["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 32);
    assert_eq!(
        partitions[31],
        json!({
            "partition": 31, "epoch": 4, "version": 6,
            "primary": "n2", "primary_id": "00000000000000a2", "primary_live": true,
            "replicas": ["n2", "n1"], "replica_ids": ["00000000000000a2", "00000000000000a1"],
            "in_sync": ["n2"], "in_sync_ids": ["00000000000000a2"],
        })
    );
    site.get("/v1/cluster/partitions?table=other")
        .await
        .is_problem(404, "unknown_table");
    for query in ["", "?table="] {
        let got = site.get(&format!("/v1/cluster/partitions{query}")).await;
        got.is_about(400, "invalid_request", "table");
    }
}

#[tokio::test]
async fn decisions_come_newest_first() {
    let site = Site::new().await;
    let all = site.get("/v1/cluster/decisions").await.json();
    assert_eq!(all["decisions"].as_array().unwrap().len(), 2);
    let one = site.get("/v1/cluster/decisions?limit=1").await.json();
    assert_eq!(
        one["decisions"],
        json!([{
            "id": 2, "at_ms": 9, "kind": "failover", "subject": "n1",
            "subject_id": "00000000000000a1", "evidence": "gone", "reason": "", "phases": [],
            "changes": [], "changes_total": 0,
        }])
    );
    assert_eq!(
        all["decisions"][1]["phases"],
        json!([{ "name": "asked", "at_ms": 4 }])
    );
    for limit in ["0", "201", "x"] {
        let got = site
            .get(&format!("/v1/cluster/decisions?limit={limit}"))
            .await;
        got.is_about(400, "invalid_request", "limit");
    }
}

#[tokio::test]
async fn a_dry_run_takes_a_list_of_nodes() {
    let site = Site::new().await;
    let got = site.get("/v1/cluster/explain?if_fails=n1,n2").await;
    assert_eq!(
        got.json()["failed"],
        json!(["00000000000000a1", "00000000000000a2"])
    );
    site.get("/v1/cluster/explain?if_fails=n9")
        .await
        .is_problem(404, "unknown_node");
    let got = site.get("/v1/cluster/explain").await;
    got.is_about(400, "invalid_request", "if_fails");
}

#[tokio::test]
async fn checksums_name_each_replica() {
    let site = Site::with_tables().await;
    let got = site.get("/v1/cluster/checksums?table=plain").await.json();
    assert_eq!(
        got,
        json!({
            "table": "plain", "equal": false,
            "partitions": [{
                "partition": 0, "index": 17, "equal": false,
                "replicas": [
                    { "node": "n1", "id": "00000000000000a1", "checksum": "00000000000000ff",
                      "error": null },
                    { "node": "n2", "id": "00000000000000a2", "checksum": null,
                      "error": "no answer" },
                ],
            }],
        })
    );
}

#[tokio::test]
async fn nodes_are_drained_and_removed() {
    let site = Site::new().await;
    let drained = site.post("/v1/cluster/nodes/n1/drain", "").await;
    assert_eq!(
        (drained.status, drained.json()["state"].as_str()),
        (202, Some("draining"))
    );
    site.post("/v1/cluster/nodes/n9/drain", "")
        .await
        .is_problem(404, "unknown_node");
    site.delete("/v1/cluster/nodes/n1")
        .await
        .is_problem(409, "conflict");
    assert_eq!(site.delete("/v1/cluster/nodes/n2").await.status, 200);
}

#[tokio::test]
async fn a_drain_tells_what_is_left_and_is_called_off() {
    let site = Site::with_tables().await;
    let drained = site.post("/v1/cluster/nodes/n1/drain", "").await;
    let blocked = drained.json()["blocked"].clone();
    let first = blocked[0].as_str().unwrap();
    assert!(first.contains("partitions of table plain cannot move: it wants 3"));
    assert!(first.contains("add a node"), "{first}");
    let cluster = site.get("/v1/cluster").await.json();
    assert_eq!(cluster["nodes"][0]["state"], "draining");
    let drain = &cluster["nodes"][0]["drain"];
    assert_eq!(drain["blocked"], blocked);
    assert!(drain["copies_left"].as_u64() > Some(0));
    assert_eq!(drain["primaries_left"], 0);
    let undrained = site.post("/v1/cluster/nodes/n1/undrain", "").await;
    assert_eq!(
        (undrained.status, undrained.json()),
        (200, json!({"node": "n1", "state": "up", "blocked": []}))
    );
    site.post("/v1/cluster/nodes/n9/undrain", "")
        .await
        .is_problem(404, "unknown_node");
    let cluster = site.get("/v1/cluster").await.json();
    assert_eq!(cluster["nodes"][0]["state"], "up");
    assert!(cluster["nodes"][0]["drain"].is_null());

    // Where there is nothing a drain is done at once.
    let site = Site::new().await;
    site.post("/v1/cluster/nodes/n1/drain", "").await;
    let cluster = site.get("/v1/cluster").await.json();
    assert_eq!(cluster["nodes"][0]["state"], "drained");
}

/// Reads a stream of events until `count` of them have come.
async fn events(mut response: reqwest::Response, count: usize) -> String {
    let mut text = String::new();
    while text.matches("event: ").count() < count {
        let chunk = response.chunk().await.unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

#[tokio::test]
async fn events_are_streamed_and_a_reader_that_returns_gets_what_it_missed() {
    let site = Site::new().await;
    site.fake.emit(1, "joined");
    let stream = || site.client.get(site.url("/v1/cluster/events"));
    let mut live = stream().send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    // The first bytes come at once; what happens after them is seen.
    assert!(
        live.chunk()
            .await
            .unwrap()
            .unwrap()
            .starts_with(b"retry: 1000\n")
    );
    site.fake.emit(2, "failover");
    let text = events(live, 1).await;
    let data = concat!(
        r#"{"id":2,"at_ms":1002,"at_us":1002007,"kind":"failover","node":"n1","#,
        r#""detail":{"why":"a\nb"}}"#
    );
    assert_eq!(text, format!("id: 2\nevent: failover\ndata: {data}\n\n"));

    site.fake.emit(3, "drain");
    let back = stream().header("last-event-id", "1").send().await.unwrap();
    let text = events(back, 2).await;
    assert!(
        text.contains("id: 2\n") && text.contains("id: 3\n"),
        "{text}"
    );
    let bad = stream().header("last-event-id", "x").send().await.unwrap();
    crate::site::Got::read(bad)
        .await
        .is_about(400, "invalid_request", "Last-Event-ID");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_how_many_events_it_missed() {
    let site = Site::new().await;
    let mut live = site
        .client
        .get(site.url("/v1/cluster/events"))
        .send()
        .await
        .unwrap();
    live.chunk().await.unwrap();
    // In one go on this one thread: the server cannot send in between.
    (1..=6).for_each(|id| site.fake.emit(id, "joined"));
    let text = events(live, 5).await;
    assert!(
        text.starts_with("event: missed\ndata: {\"missed\":2}\n\nid: 3\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_node_is_alive_before_it_is_ready() {
    let site = Site::new().await;
    assert_eq!(site.get("/readyz").await.status, 200);
    site.fake.set_ready(Err("no map yet".to_owned()));
    assert_eq!(site.get("/healthz").await.status, 200);
    assert_eq!(
        site.get("/readyz").await.is_problem(503, "not_ready")["reason"],
        "no map yet"
    );
}

#[tokio::test]
async fn metrics_count_requests_by_operation_and_status() {
    let site = Site::with_tables().await;
    site.put("/v1/tables/plain/rows/a", "{}").await;
    site.put("/v1/tables/plain/rows/a", "x").await;
    site.get("/v1/tables/plain/rows").await;
    site.get("/v1/tables/unheard-of/rows").await;
    let got = site.get("/metrics").await;
    assert_eq!(
        got.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for line in [
        r#"tablestore_http_requests_total{operation="put",status="2xx"} 1"#,
        r#"tablestore_http_requests_total{operation="put",status="4xx"} 1"#,
        r#"tablestore_http_requests_total{operation="scan",status="2xx"} 1"#,
        r#"tablestore_http_request_seconds_count{operation="put"} 2"#,
        "tablestore_http_requests_under_way 1",
        r#"tablestore_table_request_seconds_count{table="plain",access="write"} 2"#,
        r#"tablestore_table_request_seconds_count{table="plain",access="read"} 1"#,
    ] {
        assert!(got.text.contains(line), "{line} is not in\n{}", got.text);
    }
    assert!(!got.text.contains("unheard-of"), "anybody can name tables");
}
