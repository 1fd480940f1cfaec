//! `/openapi.json` is a valid document and says what is served: no more, no less, not otherwise.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tablestore_node::http::{paths, problem};

use crate::fake::Fake;
use crate::site::{Got, Site};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// One operation of the document.
struct Operation {
    path: String,
    method: String,
    described: Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn parameters(&self, place: &str) -> BTreeSet<String> {
        let all = self.described["parameters"].as_array();
        let all = all.into_iter().flatten();
        let here = all.filter(|parameter| parameter["in"] == place);
        here.map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn responses(&self) -> &Map<String, Value> {
        self.described["responses"].as_object().unwrap()
    }

    /// The path with names of what is there in the place of its parameters.
    fn target(&self) -> String {
        let table = if self.path.ends_with("{sk}") {
            "sorted"
        } else {
            "plain"
        };
        self.path
            .replace("{table}", table)
            .replace("{pk}", "a")
            .replace("{sk}", "1")
            .replace("{node}", "n2")
    }

    fn query(&self) -> &'static str {
        match self.path.as_str() {
            "/v1/cluster/partitions" | "/v1/cluster/checksums" => "?table=plain",
            "/v1/cluster/explain" => "?if_fails=n1",
            _ => "",
        }
    }

    fn body(&self) -> &'static str {
        if self.method == "PUT" && self.path == "/v1/tables/{table}" {
            r#"{"partition_key":{"name":"id","type":"string"}}"#
        } else {
            "{}"
        }
    }
}

async fn document(site: &Site) -> (Value, Vec<Operation>) {
    let document = site.get("/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            assert!(METHODS.contains(&&**method), "{method} {path}");
            operations.push(Operation {
                path: path.clone(),
                method: method.to_uppercase(),
                described: described.clone(),
            });
        }
    }
    (document, operations)
}

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get("$ref") {
                found.insert(target);
            }
            members
                .values()
                .for_each(|member| references(member, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_valid() {
    let site = Site::new().await;
    let (document, operations) = document(&site).await;
    assert_eq!(document["openapi"], "3.1.0");
    for member in ["title", "version"] {
        assert!(document["info"][member].is_string());
    }
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    assert!(!used.is_empty());
    for reference in &used {
        let pointer = reference.strip_prefix('#').expect("it is in the document");
        assert!(document.pointer(pointer).is_some(), "{reference} dangles");
    }
    let ids: BTreeSet<_> = operations
        .iter()
        .map(|operation| operation.described["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len(), "an id stands twice");
    for operation in &operations {
        let name = operation.name();
        let in_template: BTreeSet<String> = operation
            .path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap().to_owned())
            .collect();
        assert_eq!(operation.parameters("path"), in_template, "{name}");
        let parameters = operation.described["parameters"].as_array();
        let mut seen = BTreeSet::new();
        for parameter in parameters.into_iter().flatten() {
            let which = format!("{}: {}", parameter["in"], parameter["name"]);
            assert!(parameter["schema"].is_object(), "{name}: {which}");
            let required = parameter["required"] == true;
            assert!(required || parameter["in"] != "path", "{name}: {which}");
            assert!(seen.insert(which), "{name}: a parameter stands twice");
        }
        for (status, response) in operation.responses() {
            let status: u16 = status.parse().expect("a status is a number");
            let description = response["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{name} {status}");
            let is_problem = response["content"]["application/problem+json"].is_object();
            assert_eq!(is_problem, status >= 400, "{name} {status}");
        }
    }
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let site = Site::with_tables().await;
    let (_, operations) = document(&site).await;
    let described: BTreeSet<(String, String)> = operations
        .iter()
        .flat_map(|operation| {
            let path = &operation.path;
            let also = (operation.method == "GET").then(|| ("HEAD".to_owned(), path.clone()));
            also.into_iter()
                .chain([(operation.method.clone(), path.clone())])
        })
        .collect();
    let mut served = BTreeSet::new();
    for (path, allowed) in paths::<Fake>() {
        for method in allowed.split(", ") {
            served.insert((method.to_owned(), path.to_owned()));
        }
    }
    assert_eq!(described, served);
    // The list of the router is what the router does.
    for operation in &operations {
        let got = site.send("TRACE", &operation.target(), &[], "").await;
        got.is_problem(405, "method_not_allowed");
        let methods = got.header("allow").split(", ");
        let methods: BTreeSet<_> = methods.map(str::to_owned).collect();
        let here = described.iter().filter(|(_, path)| *path == operation.path);
        let here: BTreeSet<_> = here.map(|(method, _)| method.clone()).collect();
        assert_eq!(methods, here, "{}", operation.path);
    }
}

#[tokio::test]
async fn the_parameters_that_are_described_are_those_that_are_known() {
    let site = Site::with_tables().await;
    let (_, operations) = document(&site).await;
    for operation in operations.iter().filter(|o| o.path != "/v1/sql") {
        let target = format!("{}?nonsense=1", operation.target());
        let got = site
            .send(&operation.method, &target, &[], operation.body())
            .await;
        let refused = got.is_about(400, "unknown_parameter", "nonsense");
        let known: BTreeSet<String> = match refused["expected"].as_str().unwrap() {
            "none" => BTreeSet::new(),
            list => list
                .strip_prefix("one of ")
                .expect("a list is announced")
                .split(", ")
                .map(str::to_owned)
                .collect(),
        };
        assert_eq!(operation.parameters("query"), known, "{}", operation.name());
        // A header that is read is refused when it is wrong, one that is not is passed over.
        for (header, wrong) in [
            ("x-tablestore-timeout-ms", "0"),
            ("Idempotency-Key", ""),
            ("If-Match", "x"),
            ("Last-Event-ID", "x"),
        ] {
            let target = format!("{}{}", operation.target(), operation.query());
            if header != "Last-Event-ID" && operation.path.ends_with("/events") {
                assert!(!operation.parameters("header").contains(header));
                continue; // It never ends.
            }
            let headers = [(&*header.to_lowercase(), wrong)];
            let got = site
                .send(&operation.method, &target, &headers, operation.body())
                .await;
            let read = got.status == 400 && got.json()["field"] == header;
            let described = operation.parameters("header").contains(header);
            assert_eq!(read, described, "{} {header}: {got:?}", operation.name());
            // Dropped on the way.
            site.put(
                "/v1/tables/plain",
                r#"{"partition_key":{"name":"id","type":"string"}}"#,
            )
            .await;
        }
    }
}

#[tokio::test]
async fn every_code_of_the_table_is_described() {
    let site = Site::new().await;
    let (_, operations) = document(&site).await;
    let mut described = BTreeSet::new();
    for operation in &operations {
        for (status, response) in operation.responses() {
            let schema = &response["content"]["application/problem+json"]["schema"];
            let parts = schema["allOf"].as_array().into_iter().flatten();
            for code in parts.filter_map(|part| part["properties"]["code"]["enum"].as_array()) {
                for code in code {
                    let code = code.as_str().unwrap();
                    let entry = problem::TABLE.iter().find(|entry| entry.code == code);
                    assert_eq!(entry.unwrap().status.to_string(), *status, "{code}");
                    described.insert(code.to_owned());
                }
            }
        }
    }
    // These two are of no operation: they say that there is none.
    let none = ["unknown_path", "method_not_allowed"];
    described.extend(none.map(str::to_owned));
    let all: BTreeSet<_> = problem::TABLE.iter().map(|e| e.code.to_owned()).collect();
    assert_eq!(described, all);
}

#[tokio::test]
async fn every_answer_is_described_with_its_headers_and_members() {
    let site = Site::with_tables().await;
    let (document, operations) = document(&site).await;
    let endless = |operation: &&Operation| !operation.path.ends_with("/events");
    for operation in operations.iter().filter(endless) {
        let (target, query) = (operation.target(), operation.query());
        let wrong = format!("{target}?nonsense=1");
        for target in [
            format!("{target}{query}"),
            wrong,
            target.replace("plain", "none"),
        ] {
            let got = site
                .send(&operation.method, &target, &[], operation.body())
                .await;
            matches(&document, operation, &got);
            // Dropped on the way.
            site.put(
                "/v1/tables/plain",
                r#"{"partition_key":{"name":"id","type":"string"}}"#,
            )
            .await;
        }
    }
}

/// Whether an answer is one of those that the document knows.
fn matches(document: &Value, operation: &Operation, got: &Got) {
    let name = operation.name();
    let response = operation.responses().get(&got.status.to_string());
    let response = response.unwrap_or_else(|| panic!("{name} is not said to answer {got:?}"));
    let described: BTreeSet<String> = response["headers"]
        .as_object()
        .into_iter()
        .flat_map(|headers| headers.keys().map(|name| name.to_lowercase()))
        .collect();
    for header in got.headers.keys().map(|name| name.as_str()) {
        let ours = header.starts_with("x-") || ["etag", "retry-after"].contains(&header);
        assert!(!ours || described.contains(header), "{name}: {header}");
    }
    let media = got.header("content-type").split(';').next().unwrap();
    let schema = &response["content"][media]["schema"];
    assert!(schema.is_object(), "{name}: {media} of {got:?}");
    if media.ends_with("json") {
        let fits = fits(document, schema, &got.json());
        assert_eq!(fits, Ok(()), "{name}");
    }
}

/// Whether a value is of the type of its schema and has the members that it requires, no others.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(forms) = schema["oneOf"].as_array() {
        let mut wrong = forms.iter().map(|form| fits(document, form, value));
        return match wrong.any(|wrong| wrong.is_ok()) {
            true => Ok(()),
            false => Err(format!("{value} is none of {schema}")),
        };
    }
    let mut shape = Shape::default();
    shape.add(document, schema);
    if !shape.types.is_empty() && !shape.types.contains(type_of(value)) {
        return Err(format!("{value} is no {:?}", shape.types));
    }
    if let (Some(items), Some(values)) = (shape.items, value.as_array()) {
        for value in values {
            fits(document, items, value)?;
        }
    }
    let Some(members) = value.as_object() else {
        return Ok(());
    };
    if let Some(lacks) = shape.required.iter().find(|n| !members.contains_key(**n)) {
        return Err(format!("{lacks} is not in {value}"));
    }
    for (member, value) in members.iter().filter(|_| !shape.properties.is_empty()) {
        let known = shape.properties.iter().filter(|(name, _)| *name == member);
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return Err(format!("{member} is not described"));
        }
        for (name, property) in known {
            fits(document, property, value).map_err(|wrong| format!("{name}: {wrong}"))?;
        }
    }
    Ok(())
}

/// What a schema says, with all it refers to.
#[derive(Default)]
struct Shape<'a> {
    types: BTreeSet<&'a str>,
    items: Option<&'a Value>,
    required: BTreeSet<&'a str>,
    properties: Vec<(&'a String, &'a Value)>,
}

impl<'a> Shape<'a> {
    fn add(&mut self, document: &'a Value, schema: &'a Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            self.add(document, document.pointer(pointer).unwrap());
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.add(document, part);
        }
        match &schema["type"] {
            Value::String(one) => drop(self.types.insert(one)),
            Value::Array(several) => self.types.extend(several.iter().filter_map(Value::as_str)),
            _ => {}
        }
        self.items = schema.get("items").or(self.items);
        let required = schema["required"].as_array().into_iter().flatten();
        self.required.extend(required.filter_map(Value::as_str));
        self.properties
            .extend(schema["properties"].as_object().into_iter().flatten());
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
