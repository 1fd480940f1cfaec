//! What a real node answers to what is wrong: the status, the code, the field and what was
//! expected, and that nothing is changed by it.

use serde_json::{Value, json};

use crate::harness::Cluster;

/// A request and what its answer must say.
struct Case<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
    status: u16,
    code: &'a str,
    /// Empty: the problem is about no field.
    field: &'a str,
    /// Words of `expected`, or of `detail` if there is no field.
    said: &'a str,
}

const NONE: &[(&str, &str)] = &[];

/// A case without headers, in the order in which one reads it.
fn case<'a>(
    (method, target, body): (&'a str, &'a str, &'a str),
    (status, code): (u16, &'a str),
    (field, said): (&'a str, &'a str),
) -> Case<'a> {
    let headers = NONE;
    Case {
        method,
        target,
        headers,
        body,
        status,
        code,
        field,
        said,
    }
}

impl Case<'_> {
    async fn check(&self, cluster: &Cluster) -> Value {
        let url = cluster.nodes[0].url(self.target);
        let method = self.method.parse().unwrap();
        let mut request = reqwest::Client::new().request(method, url);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let response = request.body(self.body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let after = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let (method, target) = (self.method, self.target);
        let told = format!(
            "{method} {}: {status} {text}",
            &target[..target.len().min(80)]
        );
        assert_eq!(status, self.status, "{told}");
        assert_eq!(kind, "application/problem+json", "{told}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["code"], self.code, "{told}");
        assert_eq!(problem["status"], status, "{told}");
        assert_eq!(after.is_some(), status == 503, "{told}");
        let place = if self.field.is_empty() {
            assert_eq!(problem.get("field"), None, "{told}");
            "detail"
        } else {
            assert_eq!(problem["field"], self.field, "{told}");
            "expected"
        };
        assert!(
            problem[place].as_str().unwrap().contains(self.said),
            "{told}"
        );
        problem
    }
}

async fn check_all(cluster: &Cluster, cases: &[Case<'_>]) {
    for case in cases {
        case.check(cluster).await;
    }
}

const PLAIN: &str = "/v1/tables/plain/rows/a";

/// A node with the tables `plain` (id: string) and `sorted` (id: string, at: number).
async fn with_tables() -> Cluster {
    let cluster = Cluster::started(1).await;
    cluster.create_table("plain", 1, 4).await;
    let sorted = json!({
        "partition_key": {"name": "id", "type": "string"},
        "sort_key": {"name": "at", "type": "number"},
        "replicas": 1,
    });
    let (status, answer) = cluster
        .ask(0, "PUT", "/v1/tables/sorted", &sorted.to_string())
        .await;
    assert_eq!(status, 201, "{answer}");
    cluster
}

#[tokio::test]
async fn what_is_no_row_or_no_key_of_the_table_is_refused_by_its_field() {
    let cluster = with_tables().await;
    let wrong = (400, "invalid_request");
    let long = format!("/v1/tables/plain/rows/{}", "k".repeat(2049));
    let long_sort = format!(r#"{{"put":[{{"id":"a","at":"{}"}}]}}"#, "1".repeat(2000));
    check_all(
        &cluster,
        &[
            case(("PUT", PLAIN, r#"{"a":1"#), wrong, ("body", "or '}'")),
            case(("PUT", PLAIN, "[1]"), wrong, ("body", "object")),
            case(("PUT", PLAIN, ""), wrong, ("body", "a JSON value")),
            case(("PUT", PLAIN, r#"{"a":1,"a":2}"#), wrong, ("a", "once")),
            case(("PUT", PLAIN, r#"{"n":1e999}"#), wrong, ("n", "number")),
            case(
                ("PUT", PLAIN, r#"{"a":{"b":[tru]}}"#),
                wrong,
                ("a.b[0]", ""),
            ),
            case(("PUT", PLAIN, r#"{"id":"b"}"#), wrong, ("id", "")),
            case(
                ("PUT", PLAIN, r#"{"b":{"$binary":"%"}}"#),
                wrong,
                ("b.$binary", "base64"),
            ),
            case(
                ("GET", "/v1/tables/sorted/rows/a/x", ""),
                wrong,
                ("at", "number"),
            ),
            case(
                ("PUT", "/v1/tables/sorted/rows/a", "{}"),
                wrong,
                ("at", "sort key"),
            ),
            case(
                ("PUT", "/v1/tables/plain/rows/a/b", "{}"),
                wrong,
                ("sort_key", ""),
            ),
            case(("PUT", &long, "{}"), (413, "too_large"), ("id", "2048")),
            case(
                ("GET", &format!("{PLAIN}?consistency=weak"), ""),
                wrong,
                ("consistency", "strong"),
            ),
        ],
    )
    .await;
    let got = cluster
        .ask(0, "POST", "/v1/tables/sorted/rows:batch", &long_sort)
        .await;
    assert_eq!(
        (got.0, &got.1["results"][0]["status"]),
        (200, &json!(400)),
        "{got:?}"
    );
    assert_eq!(got.1["results"][0]["field"], "put[0].at", "{got:?}");
    let (_, rows) = cluster.ask(0, "GET", "/v1/tables/plain/rows", "").await;
    assert_eq!(rows, json!({"rows": [], "next_cursor": null}));
}

#[tokio::test]
async fn limits_are_kept_to_the_byte() {
    let cluster = with_tables().await;
    // The key `a` is encoded in 4 bytes, the name takes 1.
    let item = |bytes: usize| format!(r#"{{"v":"{}"}}"#, "x".repeat(bytes));
    let fits = 400 * 1024 - 4 - 1;
    let (status, answer) = cluster.ask(0, "PUT", PLAIN, &item(fits)).await;
    assert_eq!(status, 200, "{answer}");
    let large = (413, "too_large");
    let one_more = item(fits + 1);
    let problem = case(("PUT", PLAIN, &one_more), large, ("item", ""))
        .check(&cluster)
        .await;
    assert_eq!(problem["limit"], 400 * 1024, "{problem}");
    assert_eq!(problem["got"], 400 * 1024 + 1, "{problem}");
    // What a row has grown to is known only where it lies.
    let patch = r#"{"w":"x"}"#;
    case(("PATCH", PLAIN, patch), large, ("item", ""))
        .check(&cluster)
        .await;
    let (_, row) = cluster.ask(0, "GET", PLAIN, "").await;
    assert_eq!(
        (row["v"].as_str().unwrap().len(), row.get("w")),
        (fits, None)
    );

    let rows = |count: usize| -> String {
        let rows: Vec<_> = (0..count)
            .map(|number| json!({"id": format!("b{number}")}))
            .collect();
        json!({ "put": rows }).to_string()
    };
    let batch = "/v1/tables/plain/rows:batch";
    let (status, answer) = cluster.ask(0, "POST", batch, &rows(100)).await;
    assert_eq!(status, 200, "{answer}");
    let one_more = rows(101);
    let problem = case(("POST", batch, &one_more), large, ("put", "100"))
        .check(&cluster)
        .await;
    assert_eq!(
        (&problem["limit"], &problem["got"]),
        (&json!(100), &json!(101)),
        "{problem}"
    );
    let huge = "x".repeat((1 << 20) + 1);
    case(("PUT", PLAIN, &huge), large, ("body", ""))
        .check(&cluster)
        .await;
}

#[tokio::test]
async fn definitions_that_make_no_sense_are_refused_by_their_field() {
    let cluster = with_tables().await;
    let define =
        |fields: &str| format!(r#"{{"partition_key":{{"name":"id","type":"string"}}{fields}}}"#);
    let wrong = (400, "invalid_request");
    let missing = (501, "not_supported");
    for (fields, answer, about) in [
        (
            r#","replicas":2,"min_in_sync":3"#,
            wrong,
            ("min_in_sync", "at most replicas"),
        ),
        (r#","replicas":0"#, wrong, ("replicas", "1 to 7")),
        (r#","replicas":8"#, wrong, ("replicas", "1 to 7")),
        (r#","partitions":12"#, wrong, ("partitions", "power of two")),
        (
            r#","sort_key":{"name":"id","type":"number"}"#,
            wrong,
            ("sort_key.name", ""),
        ),
        (
            r#","sort_key":{"name":"at","type":"date"}"#,
            wrong,
            ("sort_key.type", "string"),
        ),
        (
            r#","replcas":3"#,
            (400, "unknown_field"),
            ("replcas", "replicas"),
        ),
        (
            r#","strategy":"active","layout":"column""#,
            (501, "unsupported_by_strategy"),
            ("layout", "row"),
        ),
        (
            r#","strategy":"partition""#,
            (409, "conflict"),
            ("", "shared-dir"),
        ),
        (r#","layout":"column""#, missing, ("layout", "row")),
    ] {
        let body = define(fields);
        case(("PUT", "/v1/tables/other", &body), answer, about)
            .check(&cluster)
            .await;
    }
    let body = define("");
    for name in ["ab", "a%20b", &"n".repeat(256)] {
        let target = format!("/v1/tables/{name}");
        case(("PUT", &target, &body), wrong, ("table", "3 to 255"))
            .check(&cluster)
            .await;
    }
    let other = define(r#","replicas":1,"min_in_sync":1,"partitions":8"#);
    let exists = case(
        ("PUT", "/v1/tables/plain", &other),
        (409, "table_exists"),
        ("", "plain"),
    );
    exists.check(&cluster).await;
    let (_, tables) = cluster.ask(0, "GET", "/v1/tables", "").await;
    assert_eq!(tables["tables"].as_array().unwrap().len(), 2, "{tables}");
}

#[tokio::test]
async fn what_is_not_there_or_does_not_fit_is_told_apart() {
    let cluster = with_tables().await;
    let (_, answer) = cluster.ask(0, "PUT", PLAIN, r#"{"n":1}"#).await;
    let version = answer["version"].as_u64().unwrap();
    let wrong = (400, "invalid_request");
    let unknown = (404, "unknown_table");
    check_all(
        &cluster,
        &[
            case(("GET", "/v1/tables/none/rows/a", ""), unknown, ("", "none")),
            case(
                ("PUT", "/v1/tables/none/rows/a", "{}"),
                unknown,
                ("", "none"),
            ),
            case(
                ("POST", "/v1/tables/none/rows:batch", "{}"),
                unknown,
                ("", "none"),
            ),
            case(("DELETE", "/v1/tables/none", ""), unknown, ("", "none")),
            case(
                ("GET", "/v1/cluster/partitions?table=none", ""),
                unknown,
                ("", "none"),
            ),
            case(
                ("GET", "/v1/tables/plain/rows/none", ""),
                (404, "unknown_row"),
                ("", ""),
            ),
            case(
                ("GET", "/v1/nothing", ""),
                (404, "unknown_path"),
                ("", "/v1/nothing"),
            ),
            case(
                ("GET", "/v1/cluster/explain?if_fails=n9", ""),
                (404, "unknown_node"),
                ("", "n9"),
            ),
            case(
                ("POST", "/v1/cluster/nodes/n9/drain", ""),
                (404, "unknown_node"),
                ("", "n9"),
            ),
            case(
                ("POST", PLAIN, "{}"),
                (405, "method_not_allowed"),
                ("", "PUT"),
            ),
            case(
                ("GET", &format!("{PLAIN}?depth=1"), ""),
                (400, "unknown_parameter"),
                ("depth", ""),
            ),
            case(
                ("GET", "/v1/tables/plain/rows?cursor=x", ""),
                wrong,
                ("cursor", "next_cursor"),
            ),
            case(
                ("GET", "/v1/tables/plain/rows?limit=0", ""),
                wrong,
                ("limit", "1 to 1000"),
            ),
            case(
                ("GET", "/v1/tables/plain/rows?from=1", ""),
                wrong,
                ("from", ""),
            ),
            case(
                ("POST", "/v1/sql", "{}"),
                (501, "not_supported"),
                ("", "SQL"),
            ),
            case(
                ("DELETE", "/v1/cluster/nodes/n1", ""),
                (409, "conflict"),
                ("", ""),
            ),
        ],
    )
    .await;
    // A cursor of another table.
    for key in ["b", "c", "d"] {
        let target = format!("/v1/tables/sorted/rows/{key}/1");
        cluster.ask(0, "PUT", &target, "{}").await;
    }
    let (_, page) = cluster
        .ask(0, "GET", "/v1/tables/sorted/rows?limit=1", "")
        .await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let target = format!("/v1/tables/plain/rows?cursor={cursor}");
    case(("GET", &target, ""), wrong, ("cursor", ""))
        .check(&cluster)
        .await;

    let stale = Case {
        headers: &[("if-match", "\"1\"")],
        ..case(
            ("PUT", PLAIN, "{}"),
            (412, "precondition_failed"),
            ("", "version"),
        )
    };
    assert_eq!(stale.check(&cluster).await["version"], version);
    let key = "f6a1c2de-0000-4000-8000-000000000001";
    let once = Case {
        headers: &[("idempotency-key", key)],
        ..case(
            ("PUT", PLAIN, r#"{"n":3}"#),
            (422, "request_id_reused"),
            ("", ""),
        )
    };
    let first = reqwest::Client::new().put(cluster.nodes[0].url(PLAIN));
    let first = first.header("idempotency-key", key).body(r#"{"n":2}"#);
    assert_eq!(first.send().await.unwrap().status().as_u16(), 200);
    once.check(&cluster).await;
    // An id that looks as if it carried a time long before anything that is remembered, and one of
    // a time to come: no time is read out of either.
    for (id, n) in [
        ("00000000-0001-7000-8000-000000000000", 5),
        ("ffffffff-ffff-7fff-bfff-ffffffffffff", 2),
    ] {
        let write = reqwest::Client::new().put(cluster.nodes[0].url(PLAIN));
        let body = format!("{{\"n\":{n}}}");
        let write = write.header("idempotency-key", id).body(body).send().await;
        assert_eq!(write.unwrap().status().as_u16(), 200, "{id}");
    }
    let (_, row) = cluster.ask(0, "GET", PLAIN, "").await;
    assert_eq!(row["n"], 2, "{row}");
}

#[tokio::test]
async fn more_replicas_than_nodes_are_allowed_and_reported_but_not_counted_as_copies() {
    let cluster = Cluster::started(1).await;
    let definition = json!({"partition_key": {"name": "id", "type": "string"}, "partitions": 2});
    let (status, answer) = cluster
        .ask(0, "PUT", "/v1/tables/wide", &definition.to_string())
        .await;
    assert_eq!((status, &answer["replicas"]), (201, &json!(3)), "{answer}");
    let target = "/v1/tables/wide/rows/a";
    let refused = case(
        ("PUT", target, "{}"),
        (503, "not_applied"),
        ("", "min_in_sync"),
    );
    let problem = refused.check(&cluster).await;
    assert_eq!(problem["reason"], "not_enough_replicas", "{problem}");
    assert!(problem["partition"].is_string(), "{problem}");
    // It is no row; reads go on.
    case(("GET", target, ""), (404, "unknown_row"), ("", ""))
        .check(&cluster)
        .await;

    let output = crate::harness::tablestore()
        .args(["status", "--server", &cluster.nodes[0].http.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.starts_with("DEGRADED"), "{text}");
    assert!(text.contains("wide"), "{text}");
}
