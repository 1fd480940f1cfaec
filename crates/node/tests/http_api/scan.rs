//! Ranges and scans: pages, cursors, order, NDJSON.

use serde_json::{Value, json};

use crate::site::Site;

/// Ten rows of `a` and three of `b`.
async fn filled() -> Site {
    let site = Site::with_tables().await;
    for (id, count) in [("a", 10), ("b", 3)] {
        for at in 0..count {
            let target = format!("/v1/tables/sorted/rows/{id}/{at}");
            assert_eq!(site.put(&target, r#"{"v":1}"#).await.status, 200);
        }
    }
    site
}

fn keys(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap();
    rows.iter()
        .map(|row| format!("{}{}", row["id"].as_str().unwrap(), row["at"]))
        .collect()
}

async fn range(site: &Site, query: &str) -> Vec<String> {
    let got = site.get(&format!("/v1/tables/sorted/rows?{query}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    keys(&got.json()["rows"])
}

#[tokio::test]
async fn a_range_is_inclusive_on_both_sides_and_can_be_reversed() {
    let site = filled().await;
    assert_eq!(range(&site, "pk=b").await, ["b0", "b1", "b2"]);
    assert_eq!(range(&site, "pk=a&from=7").await, ["a7", "a8", "a9"]);
    assert_eq!(range(&site, "pk=a&to=1").await, ["a0", "a1"]);
    assert_eq!(range(&site, "pk=a&from=2&to=4").await, ["a2", "a3", "a4"]);
    assert_eq!(
        range(&site, "pk=a&from=2&to=4&reverse=true").await,
        ["a4", "a3", "a2"]
    );
    assert_eq!(range(&site, "pk=a&from=2&to=2").await, ["a2"]);
    assert!(range(&site, "pk=c").await.is_empty());
    assert_eq!(range(&site, "").await.len(), 13);
    let got = site.get("/v1/tables/sorted/rows?pk=a&to=0").await.json();
    assert_eq!(
        got,
        json!({ "rows": [{ "id": "a", "at": 0, "v": 1 }], "next_cursor": null })
    );
}

#[tokio::test]
async fn pages_follow_each_other_by_their_cursor() {
    let site = filled().await;
    for (query, expected) in [("", 13), ("pk=a", 10), ("pk=a&reverse=true&from=1", 9)] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let target = format!("/v1/tables/sorted/rows?{query}&limit=4{cursor}");
            let page = site.get(&target).await.json();
            seen.extend(keys(&page["rows"]));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
            let text = &cursor["&cursor=".len()..];
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
        }
        let whole = range(&site, query).await;
        assert_eq!((seen.len(), seen), (expected, whole), "{query}");
    }
}

#[tokio::test]
async fn a_cursor_of_something_else_is_refused() {
    let site = filled().await;
    let page = site.get("/v1/tables/sorted/rows?pk=a&limit=2").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let damaged = format!("{}A", &cursor[..cursor.len() - 1]);
    for target in [
        format!("/v1/tables/plain/rows?pk=a&cursor={cursor}"),
        format!("/v1/tables/sorted/rows?cursor={cursor}"),
        format!("/v1/tables/sorted/rows?pk=b&cursor={cursor}"),
        format!("/v1/tables/sorted/rows?pk=a&from=1&cursor={cursor}"),
        format!("/v1/tables/sorted/rows?pk=a&cursor={damaged}"),
        "/v1/tables/sorted/rows?pk=a&cursor=".to_owned(),
        "/v1/tables/sorted/rows?pk=a&cursor=%21".to_owned(),
    ] {
        site.get(&target)
            .await
            .is_about(400, "invalid_request", "cursor");
    }
    // A table made anew under the same name is another table.
    let definition = site.get("/v1/tables/sorted").await;
    site.delete("/v1/tables/sorted").await;
    let mut definition = definition.json();
    definition
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "name" && name != "id");
    assert_eq!(
        site.put("/v1/tables/sorted", &definition.to_string())
            .await
            .status,
        201
    );
    let target = format!("/v1/tables/sorted/rows?pk=a&cursor={cursor}");
    site.get(&target)
        .await
        .is_about(400, "invalid_request", "cursor");
}

#[tokio::test]
async fn ndjson_has_a_row_a_line_and_all_rows_without_a_limit() {
    let site = Site::with_tables().await;
    for at in 0..2_300 {
        let body = format!(r#"{{"put":[{{"id":"a","at":{at},"v":"x\ny"}}]}}"#);
        assert_eq!(
            site.post("/v1/tables/sorted/rows:batch", &body)
                .await
                .status,
            200
        );
    }
    let accept = [("accept", "application/x-ndjson")];
    let got = site
        .send("GET", "/v1/tables/sorted/rows", &accept, "")
        .await;
    assert_eq!(got.header("content-type"), "application/x-ndjson");
    let rows: Vec<Value> = got
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2_300);
    assert_eq!(rows[2_299], json!({ "id": "a", "at": 2299, "v": "x\ny" }));

    let page = site
        .send("GET", "/v1/tables/sorted/rows?limit=3", &accept, "")
        .await;
    assert_eq!(page.text.lines().count(), 3);
    let cursor = page.header("x-tablestore-next-cursor");
    let target = format!("/v1/tables/sorted/rows?limit=3&cursor={cursor}");
    let next = site.send("GET", &target, &accept, "").await;
    assert!(
        next.text.starts_with(r#"{"id":"a","at":3,"#),
        "{}",
        next.text
    );
    let none = site
        .send("GET", "/v1/tables/sorted/rows?pk=z", &accept, "")
        .await;
    assert_eq!((none.status, none.text.as_str()), (200, ""));
    assert!(!none.headers.contains_key("x-tablestore-next-cursor"));
}

#[tokio::test]
async fn a_stream_that_cannot_be_ended_breaks_off() {
    use tablestore_node::api::RequestError;
    let site = Site::with_tables().await;
    for at in 0..1_001 {
        let body = format!(r#"{{"put":[{{"id":"a","at":{at}}}]}}"#);
        site.post("/v1/tables/sorted/rows:batch", &body).await;
    }
    let gate = site.client.get(site.url("/v1/tables/sorted/rows"));
    let response = gate
        .header("accept", "application/x-ndjson")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    // The second page is fetched when the first has been taken, unless it went ahead already.
    site.fake.fail(RequestError::unknown(None));
    let whole = response.text().await;
    if let Ok(text) = whole {
        assert_eq!(
            text.lines().count(),
            1_001,
            "a stream that is cut must not look whole"
        );
    }
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let site = filled().await;
    for (query, field) in [
        ("from=1", "from"),
        ("to=1", "to"),
        ("pk=a&from=x", "from"),
        ("pk=a&to=", "to"),
        ("pk=a&from=4&to=2", "from"),
        ("pk=", "pk"),
        ("pk=%ff", "pk"),
        ("pk=%zz", "pk"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("consistency=weak", "consistency"),
        ("reverse=true", "reverse"),
        ("pk=a&reverse=1", "reverse"),
    ] {
        let got = site.get(&format!("/v1/tables/sorted/rows?{query}")).await;
        got.is_about(400, "invalid_request", field);
    }
    let got = site.get("/v1/tables/plain/rows?pk=a&from=1").await;
    got.is_about(400, "invalid_request", "from");
    let got = site.get("/v1/tables/sorted/rows?filter=x").await;
    got.is_about(400, "unknown_parameter", "filter");
    let long = "k".repeat(2049);
    let got = site.get(&format!("/v1/tables/sorted/rows?pk={long}")).await;
    got.is_about(413, "too_large", "pk");
}
