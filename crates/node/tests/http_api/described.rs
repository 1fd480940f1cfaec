//! What `/openapi.json` forbids is refused, so that whoever keeps to it is not surprised. Knows
//! nothing of which operations there are: `openapi` compares those.

use serde_json::{Value, json};
use tablestore_contract::limits::BATCH_ITEMS_MAX;
use tablestore_placement::{PARTITIONS_MAX, REPLICAS_MAX};

use crate::site::Site;

const TABLE: &str = "/v1/tables/{table}";
const ROW: &str = "/v1/tables/{table}/rows/{pk}";

/// The schema of a parameter of an operation.
fn parameter<'a>(document: &'a Value, path: &str, method: &str, name: &str) -> &'a Value {
    let all = document["paths"][path][method]["parameters"].as_array();
    let found = all.unwrap().iter().find(|one| one["name"] == name);
    &found.unwrap_or_else(|| panic!("{method} {path}: no {name}"))["schema"]
}

#[tokio::test]
async fn parameters_say_what_is_refused_whatever_the_table() {
    let site = Site::with_tables().await;
    let document = site.get("/openapi.json").await.json();
    for (path, method) in [(TABLE, "put"), (ROW, "get"), (ROW, "put")] {
        let name = parameter(&document, path, method, "table");
        assert_eq!(
            (&name["minLength"], &name["maxLength"]),
            (&json!(3), &json!(255))
        );
        assert_eq!(name["pattern"], "^[a-zA-Z0-9_.-]+$");
    }
    let long = "x".repeat(256);
    for name in ["xx", "a b", "caf%C3%A9", &long] {
        let got = site.put(&format!("/v1/tables/{name}"), "{}").await;
        assert_eq!(got.status, 400, "{name}: {got:?}");
    }
    let table = parameter(&document, "/v1/cluster/partitions", "get", "table");
    assert_eq!(table["minLength"], 3);
    for (path, method, name) in [
        ("/v1/cluster/explain", "get", "if_fails"),
        (ROW, "patch", "remove"),
    ] {
        let pattern = &parameter(&document, path, method, name)["pattern"];
        assert_eq!(pattern, "^[^,]+(,[^,]+)*$", "{name}");
        for wrong in ["", ",", "a,", ",a", "a,,b"] {
            let target = path.replace("{table}", "plain").replace("{pk}", "a");
            let target = format!("{target}?{name}={wrong}");
            let got = site.send(&method.to_uppercase(), &target, &[], "{}").await;
            got.is_about(400, "invalid_request", name);
        }
    }
}

#[tokio::test]
async fn conditions_say_which_versions_they_take() {
    let site = Site::with_tables().await;
    let document = site.get("/openapi.json").await.json();
    let one = r#"^(\*|"[0-9]{1,19}")$"#;
    let several = r#"^(\*|"[0-9]{1,19}"( *, *"[0-9]{1,19}")*)$"#;
    let cases = [
        ("put", "If-Match", one),
        ("patch", "If-Match", one),
        ("delete", "If-Match", one),
        ("get", "If-Match", several),
        ("put", "If-None-Match", r"^\*$"),
    ];
    for (method, header, pattern) in cases {
        let schema = parameter(&document, ROW, method, header);
        assert_eq!(schema["pattern"], pattern, "{method} {header}");
        for wrong in ["", "1", "\"\"", "\"x\"", "**", "\"1\" \"2\""] {
            let headers = [(header, wrong)];
            let method = method.to_uppercase();
            let got = site
                .send(&method, "/v1/tables/plain/rows/a", &headers, "{}")
                .await;
            got.is_about(400, "invalid_request", header);
        }
        // The longest that it allows is a version.
        let longest = format!("\"{}\"", "9".repeat(19));
        let headers = [(header, longest.as_str())];
        let method = method.to_uppercase();
        if header == "If-Match" {
            let got = site
                .send(&method, "/v1/tables/plain/rows/a", &headers, "{}")
                .await;
            assert_ne!(got.status, 400, "{got:?}");
        }
    }
}

#[tokio::test]
async fn bodies_have_no_members_and_values_beyond_those_described() {
    let site = Site::with_tables().await;
    let document = site.get("/openapi.json").await.json();
    let schemas = &document["components"]["schemas"];
    for name in [
        "TableDefinition",
        "KeyDefinition",
        "TableAlteration",
        "Batch",
    ] {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
    // What is only answered may have more: a newer node says more.
    for name in ["TableView", "ClusterView", "Problem"] {
        assert_ne!(schemas[name]["additionalProperties"], false, "{name}");
    }
    let alteration = &schemas["TableAlteration"];
    assert_eq!(alteration["minProperties"], 1);
    for name in ["replicas", "min_in_sync"] {
        let property = &alteration["properties"][name];
        assert_eq!(property["type"], "integer", "null is refused");
        assert_eq!(
            (&property["minimum"], &property["maximum"]),
            (&json!(1), &json!(REPLICAS_MAX))
        );
        for wrong in ["0", "8", "null"] {
            let body = format!("{{\"{name}\":{wrong}}}");
            let got = site.patch("/v1/tables/plain", &body).await;
            got.is_about(400, "invalid_request", name);
        }
    }
    site.patch("/v1/tables/plain", "{}")
        .await
        .is_about(400, "invalid_request", "body");
    let definition = &schemas["TableDefinition"]["properties"];
    assert_eq!(definition["partitions"]["maximum"], PARTITIONS_MAX);
    assert_eq!(definition["replicas"]["maximum"], REPLICAS_MAX);
    assert_eq!(definition["min_in_sync"]["maximum"], REPLICAS_MAX);
    for list in ["put", "delete"] {
        let list = &schemas["Batch"]["properties"][list];
        assert_eq!(list["maxItems"], BATCH_ITEMS_MAX);
    }
    assert_eq!(definition["layout"]["pattern"], "^(row|column)$");
    for (field, wrong) in [
        ("partitions", "2048"),
        ("replicas", "8"),
        ("min_in_sync", "0"),
        ("layout", "\"\""),
        ("strategy", "\"\""),
    ] {
        let key = r#"{"name":"id","type":"string"}"#;
        let body = format!("{{\"partition_key\":{key},\"{field}\":{wrong}}}");
        let got = site.put("/v1/tables/fresh", &body).await;
        got.is_about(400, "invalid_request", field);
    }
}

#[tokio::test]
async fn a_result_of_a_batch_is_of_one_form_by_its_status() {
    let document = Site::new().await.get("/openapi.json").await.json();
    let schemas = &document["components"]["schemas"];
    let status = |name: &str| &schemas[name]["properties"]["status"];
    assert_eq!(status("BatchWritten")["maximum"], 299);
    assert_eq!(status("Problem")["minimum"], 400);
}

#[tokio::test]
async fn no_parameter_is_one_that_openapi_tells_to_pass_over() {
    let document = Site::new().await.get("/openapi.json").await.json();
    let items = document["paths"].as_object().unwrap().values();
    for described in items.flat_map(|item| item.as_object().unwrap().values()) {
        for parameter in described["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap().to_lowercase();
            let passed_over = ["accept", "content-type", "authorization"];
            assert!(!passed_over.contains(&&*name), "{described}");
        }
    }
}
