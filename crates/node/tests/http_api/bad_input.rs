//! Whatever is wrong with a request is answered with a status, a code, the field and what was
//! expected, and changes nothing.

use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn rows_that_are_no_json_object_are_refused() {
    let site = Site::with_tables().await;
    for (body, field) in [
        ("", "body"),
        ("[1]", "body"),
        ("null", "body"),
        (r#"{"a":1"#, "body"),
        (r#"{"a":1} x"#, "body"),
        (r#"{"a":1,"a":2}"#, "a"),
        (r#"{"a":{"b":[0,{"c":tru}]}}"#, "a.b[1].c"),
        (r#"{"n":1e999}"#, "n"),
        (r#"{"n":1.23456789012345678901234567890123456789}"#, "n"),
        (r#"{"b":{"$binary":"%"}}"#, "b.$binary"),
    ] {
        for method in ["PUT", "PATCH"] {
            let got = site
                .send(method, "/v1/tables/plain/rows/a", &[], body)
                .await;
            got.is_about(400, "invalid_request", field);
        }
    }
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let got = site.put("/v1/tables/plain/rows/a", &deep).await;
    let document = got.is_problem(400, "invalid_request");
    assert!(
        document["field"].as_str().unwrap().starts_with('a'),
        "{document}"
    );
    let got = site
        .send(
            "PUT",
            "/v1/tables/plain/rows/a",
            &[],
            vec![b'{', b'"', 0xff],
        )
        .await;
    got.is_about(400, "invalid_request", "body");
    site.get("/v1/tables/plain/rows/a")
        .await
        .is_problem(404, "unknown_row");
}

#[tokio::test]
async fn any_content_type_is_taken() {
    let site = Site::with_tables().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json",
    ] {
        let headers = [("content-type", kind)];
        let got = site
            .send("PUT", "/v1/tables/plain/rows/a", &headers, "{}")
            .await;
        assert_eq!(got.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn keys_of_the_wrong_type_or_number_are_refused() {
    let site = Site::with_tables().await;
    for (target, field) in [
        ("sorted/rows/a/one", "at"),
        ("sorted/rows/a", "at"),
        ("sorted/rows/a/", "at"),
        ("sorted/rows//1", "id"),
        ("plain/rows/a/b", "sort_key"),
        ("plain/rows/", "id"),
        ("plain/rows/%zz", "id"),
        ("plain/rows/%ff", "id"),
        ("raw/rows/a*b", "id"),
    ] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let got = site
                .send(method, &format!("/v1/tables/{target}"), &[], "{}")
                .await;
            got.is_about(400, "invalid_request", field);
        }
    }
}

#[tokio::test]
async fn keys_items_and_bodies_have_their_limits() {
    let site = Site::with_tables().await;
    let key = |bytes: usize| format!("/v1/tables/plain/rows/{}", "k".repeat(bytes));
    assert_eq!(site.put(&key(2048), "{}").await.status, 200);
    let problem = site
        .put(&key(2049), "{}")
        .await
        .is_about(413, "too_large", "id");
    assert_eq!(
        (&problem["limit"], &problem["got"]),
        (&json!(2048), &json!(2049))
    );

    // Key and attributes together, as the store counts them: 400 KiB and no byte more. The key
    // `a` is encoded in 4 bytes, the name takes 1.
    let item = |bytes: usize| format!(r#"{{"v":"{}"}}"#, "x".repeat(bytes));
    let fits = 400 * 1024 - 4 - 1;
    assert_eq!(
        site.put("/v1/tables/plain/rows/a", &item(fits))
            .await
            .status,
        200
    );
    for method in ["PUT", "PATCH"] {
        let got = site
            .send(method, "/v1/tables/plain/rows/a", &[], item(fits + 1))
            .await;
        assert_eq!(got.is_about(413, "too_large", "item")["limit"], 400 * 1024);
    }

    let body = "x".repeat((1 << 20) + 1);
    let got = site
        .send("PUT", "/v1/tables/plain/rows/a", &[], body.clone())
        .await;
    assert_eq!(got.is_about(413, "too_large", "body")["limit"], 1 << 20);
    let got = site.put("/v1/tables/other", &body).await;
    got.is_about(413, "too_large", "body");
    let body = "x".repeat((16 << 20) + 1);
    let got = site
        .send("POST", "/v1/tables/plain/rows:batch", &[], body)
        .await;
    assert_eq!(got.is_about(413, "too_large", "body")["limit"], 16 << 20);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_no_further_than_its_limit() {
    let site = Site::with_tables().await;
    let frames = (0..64).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(frames));
    let got = site.send("PUT", "/v1/tables/plain/rows/a", &[], body).await;
    got.is_about(413, "too_large", "body");
    let frames = ["{\"a\":", "1}"].map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(frames));
    let got = site.send("PUT", "/v1/tables/plain/rows/a", &[], body).await;
    assert_eq!(got.status, 200);
    assert_eq!(site.get("/v1/tables/plain/rows/a").await.json()["a"], 1);
}

#[tokio::test]
async fn a_merged_row_that_grows_too_large_is_refused() {
    let site = Site::with_tables().await;
    let many: serde_json::Map<_, _> = (0..51).map(|n| (format!("a{n}"), json!(1))).collect();
    let body = serde_json::Value::Object(many).to_string();
    // The fake's state machine calls more than 50 attributes too large.
    let got = site
        .send("PATCH", "/v1/tables/plain/rows/a", &[], body)
        .await;
    got.is_about(413, "too_large", "item");
}

#[tokio::test]
async fn definitions_are_checked_field_by_field() {
    let site = Site::new().await;
    let key = r#""partition_key":{"name":"id","type":"string"}"#;
    for (fields, status, code, field) in [
        (r#""replicas":0"#, 400, "invalid_request", "replicas"),
        (
            r#""replicas":2,"min_in_sync":3"#,
            400,
            "invalid_request",
            "min_in_sync",
        ),
        (r#""partitions":48"#, 400, "invalid_request", "partitions"),
        (r#""partitions":0"#, 400, "invalid_request", "partitions"),
        (
            r#""sort_key":{"name":"id","type":"number"}"#,
            400,
            "invalid_request",
            "sort_key.name",
        ),
        (
            r#""sort_key":{"name":"at","type":"date"}"#,
            400,
            "invalid_request",
            "sort_key.type",
        ),
        (r#""replcas":3"#, 400, "unknown_field", "replcas"),
        (
            r#""strategy":"active","write_quorum":2"#,
            400,
            "unknown_field",
            "write_quorum",
        ),
        (
            r#""strategy":"partition","replicas":3"#,
            400,
            "invalid_request",
            "replicas",
        ),
        (
            r#""layout":"column","columns":[]"#,
            501,
            "not_supported",
            "layout",
        ),
    ] {
        let got = site
            .put("/v1/tables/orders", &format!("{{{key},{fields}}}"))
            .await;
        got.is_about(status, code, field);
    }
    site.put("/v1/tables/orders", "{")
        .await
        .is_about(400, "invalid_request", "body");
    site.put("/v1/tables/orders", "{}")
        .await
        .is_about(400, "invalid_request", "partition_key");
    for name in ["ab", "a%20b", "a%2Fb", &"n".repeat(256), "%C3%A9t%C3%A9"] {
        let got = site
            .put(&format!("/v1/tables/{name}"), &format!("{{{key}}}"))
            .await;
        got.is_about(400, "invalid_request", "table");
    }
    assert_eq!(site.get("/v1/tables").await.json(), json!({ "tables": [] }));
}

#[tokio::test]
async fn headers_are_checked() {
    let site = Site::with_tables().await;
    let long = "x".repeat(256);
    for (name, value, field) in [
        ("if-match", "7", "If-Match"),
        ("if-match", "\"x\"", "If-Match"),
        ("if-match", "\"1\", \"2\"", "If-Match"),
        ("if-none-match", "\"7\"", "If-None-Match"),
        ("idempotency-key", "", "Idempotency-Key"),
        ("idempotency-key", &long, "Idempotency-Key"),
        ("x-tablestore-timeout-ms", "0", "x-tablestore-timeout-ms"),
        (
            "x-tablestore-timeout-ms",
            "60001",
            "x-tablestore-timeout-ms",
        ),
        ("x-tablestore-timeout-ms", "soon", "x-tablestore-timeout-ms"),
    ] {
        let got = site
            .send("PUT", "/v1/tables/plain/rows/a", &[(name, value)], "{}")
            .await;
        got.is_about(400, "invalid_request", field);
    }
    let both = [("if-match", "\"1\""), ("if-none-match", "*")];
    let got = site
        .send("PUT", "/v1/tables/plain/rows/a", &both, "{}")
        .await;
    got.is_about(400, "invalid_request", "If-None-Match");
    site.get("/v1/tables/plain/rows/a")
        .await
        .is_problem(404, "unknown_row");
}

#[tokio::test]
async fn parameters_that_nobody_knows_are_refused() {
    let site = Site::with_tables().await;
    for (method, target) in [
        ("GET", "/v1/tables/plain/rows/a"),
        ("PUT", "/v1/tables/plain/rows/a"),
        ("PATCH", "/v1/tables/plain/rows/a"),
        ("DELETE", "/v1/tables/plain/rows/a"),
        ("POST", "/v1/tables/plain/rows:batch"),
        ("GET", "/v1/tables/plain/rows"),
        ("GET", "/v1/tables"),
        ("GET", "/v1/tables/plain"),
        ("DELETE", "/v1/tables/plain"),
        ("GET", "/v1/cluster"),
        ("GET", "/v1/cluster/events"),
        ("GET", "/v1/cluster/decisions"),
        ("GET", "/readyz"),
    ] {
        let got = site
            .send(method, &format!("{target}?depth=3"), &[], "{}")
            .await;
        got.is_about(400, "unknown_parameter", "depth");
    }
    for remove in ["", "a,,b", "id", "%zz"] {
        let target = format!("/v1/tables/plain/rows/a?remove={remove}");
        let got = site.send("PATCH", &target, &[], "{}").await;
        got.is_about(400, "invalid_request", "remove");
    }
    let got = site.get("/v1/tables/plain/rows/a?consistency=weak").await;
    got.is_about(400, "invalid_request", "consistency");
}

#[tokio::test]
async fn unknown_tables_paths_and_methods_are_told_apart() {
    let site = Site::with_tables().await;
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let got = site
            .send(method, "/v1/tables/other/rows/a", &[], "{}")
            .await;
        got.is_problem(404, "unknown_table");
    }
    site.post("/v1/tables/other/rows:batch", "{}")
        .await
        .is_problem(404, "unknown_table");
    site.get("/v1/tables/a%20b/rows/a")
        .await
        .is_problem(404, "unknown_table");
    for target in [
        "/",
        "/v2/tables",
        "/v1/tables/plain/columns",
        "/v1/tables/plain/rows/a/b/c",
    ] {
        site.get(target).await.is_problem(404, "unknown_path");
    }
    for (method, target, allow) in [
        (
            "POST",
            "/v1/tables/plain/rows/a",
            "GET, HEAD, PUT, PATCH, DELETE",
        ),
        (
            "OPTIONS",
            "/v1/tables/plain/rows/a",
            "GET, HEAD, PUT, PATCH, DELETE",
        ),
        ("GET", "/v1/tables/plain/rows:batch", "POST"),
        ("DELETE", "/v1/tables/plain/rows", "GET, HEAD"),
        ("POST", "/v1/tables/plain", "GET, HEAD, PUT, PATCH, DELETE"),
        ("PUT", "/v1/tables", "GET, HEAD"),
        ("GET", "/v1/cluster/nodes/n1/drain", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
    ] {
        let got = site.send(method, target, &[], "{}").await;
        got.is_problem(405, "method_not_allowed");
        assert_eq!(got.header("allow"), allow, "{method} {target}");
    }
    site.post("/v1/sql", "{}")
        .await
        .is_problem(501, "not_supported");
}
