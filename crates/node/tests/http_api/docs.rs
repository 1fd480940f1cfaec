//! The page on the HTTP surface says what the code says, and its examples are run; so does the
//! table of decisions in that on operations.

use serde_json::{Value, json};
use tablestore_contract::{DECISION_KINDS, decision_kinds_markdown};
use tablestore_node::http::{problem, settings};
use tablestore_placement::DecisionKind;

use crate::site::Site;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http-api.md");
    std::fs::read_to_string(path).expect("the page is there")
}

#[test]
fn the_error_table_of_the_page_is_the_one_of_the_code() {
    let page = page();
    let (_, rest) = page
        .split_once("<!-- errors -->\n")
        .expect("the table has its mark");
    let (table, _) = rest
        .split_once("<!-- end of errors -->")
        .expect("the table has its end");
    let expected = problem::markdown();
    assert_eq!(
        table, expected,
        "put this into docs/http-api.md:\n{expected}"
    );
}

#[test]
fn the_kinds_of_decisions_in_the_documents_are_those_that_the_map_keeps() {
    let kept = DecisionKind::ALL.map(|kind| json!(kind));
    assert_eq!(kept, DECISION_KINDS.map(|(word, _)| json!(word)));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let expected = decision_kinds_markdown();
    assert!(
        page.contains(&format!(
            "<!-- decisions -->\n{expected}<!-- end of decisions -->"
        )),
        "put this into docs/operations.md:\n{expected}"
    );
}

#[test]
fn the_limits_on_the_page_are_those_of_the_code() {
    let page = page();
    for (name, value) in [
        ("rows in a page", settings::SCAN_LIMIT_MAX.to_string()),
        (
            "rows in a page unless asked otherwise",
            settings::SCAN_LIMIT.to_string(),
        ),
        (
            "rows and keys in a batch",
            settings::BATCH_ITEMS_MAX.to_string(),
        ),
        (
            "body of a batch",
            format!("{} MiB", settings::BATCH_BODY_BYTES_MAX >> 20),
        ),
        (
            "body of a row",
            format!("{} MiB", settings::ROW_BODY_BYTES_MAX >> 20),
        ),
        (
            "any other body",
            format!("{} KiB", settings::BODY_BYTES_MAX >> 10),
        ),
        (
            "connections of a node",
            settings::CONNECTIONS_MAX.to_string(),
        ),
        (
            "head of a request",
            format!("{} KiB", settings::READ_BYTES_MAX >> 10),
        ),
        (
            "time for a client to take 64 KiB of an answer",
            format!("{} s", settings::WRITE_TIMEOUT.as_secs()),
        ),
        (
            "bodies and answers above 64 KiB that a node holds at once",
            format!("{} MiB", settings::MEMORY_BYTES_MAX >> 20),
        ),
        (
            "time of a request",
            format!("{} s", settings::TIMEOUT.as_secs()),
        ),
        (
            "time a request may ask for",
            format!("{} s", settings::TIMEOUT_MAX.as_secs()),
        ),
        (
            "`Idempotency-Key`",
            format!("{} characters", settings::REQUEST_ID_BYTES_MAX),
        ),
        (
            "time for the head of a request",
            format!("{} s", settings::HEADER_READ_TIMEOUT.as_secs()),
        ),
        (
            "time for a body",
            format!("{} s", settings::BODY_READ_TIMEOUT.as_secs()),
        ),
    ] {
        let row = format!("| {name} | {value} |");
        assert!(page.contains(&row), "{row} is not on the page");
    }
}

#[test]
fn every_path_is_on_the_page() {
    let page = page();
    for path in [
        "PUT /v1/tables/{table}",
        "GET /v1/tables/{table}",
        "GET /v1/tables",
        "DELETE /v1/tables/{table}",
        "PUT /v1/tables/{table}/rows/{pk}[/{sk}]",
        "PATCH /v1/tables/{table}/rows/{pk}[/{sk}]",
        "GET /v1/tables/{table}/rows/{pk}[/{sk}]",
        "DELETE /v1/tables/{table}/rows/{pk}[/{sk}]",
        "POST /v1/tables/{table}/rows:batch",
        "GET /v1/tables/{table}/rows",
        "GET /v1/cluster",
        "GET /v1/cluster/partitions",
        "GET /v1/cluster/events",
        "GET /v1/cluster/decisions",
        "GET /v1/cluster/explain",
        "GET /v1/cluster/checksums",
        "POST /v1/cluster/nodes/{node}/drain",
        "POST /v1/cluster/nodes/{node}/undrain",
        "DELETE /v1/cluster/nodes/{node}",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /openapi.json",
    ] {
        assert!(
            page.contains(&format!("`{path}")),
            "{path} is not on the page"
        );
    }
}

/// One `$ curl …` of the page and what it printed.
struct Example {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    printed: String,
}

impl Example {
    fn parse(command: &str, printed: String) -> Self {
        let mut example = Self {
            method: "GET".to_owned(),
            target: String::new(),
            headers: Vec::new(),
            body: String::new(),
            printed,
        };
        let mut words = words(command).into_iter();
        assert_eq!(words.next().as_deref(), Some("curl"));
        while let Some(word) = words.next() {
            let mut next = || words.next().expect("the option has a value");
            match word.as_str() {
                "-X" => example.method = next(),
                "-H" => {
                    let header = next();
                    let (name, value) = header.split_once(": ").expect("a header has a value");
                    example
                        .headers
                        .push((name.to_lowercase(), value.to_owned()));
                }
                "-d" => {
                    example.body = next();
                    if example.method == "GET" {
                        example.method = "POST".to_owned();
                    }
                }
                url => {
                    let target = url
                        .strip_prefix("localhost:7001")
                        .expect("it is our server");
                    example.target = target.to_owned();
                }
            }
        }
        example
    }
}

/// The words of a command line with single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().expect("there is always one").push(other),
        }
    }
    words
}

fn examples(page: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    for block in page.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").expect("the block has its end");
        for part in block.split("$ ").skip(1) {
            let (command, printed) = part.split_once('\n').expect("something is printed");
            examples.push(Example::parse(command, printed.to_owned()));
        }
    }
    examples
}

#[tokio::test]
async fn the_examples_of_the_page_come_out_as_printed() {
    let site = Site::new().await;
    let examples = examples(&page());
    assert!(examples.len() >= 8, "only {}", examples.len());
    for example in examples {
        let headers: Vec<(&str, &str)> = example
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let Example {
            method,
            target,
            body,
            printed,
            ..
        } = &example;
        let got = site.send(method, target, &headers, body.clone()).await;
        let lines = |text: &str| -> Vec<Value> {
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        assert_eq!(
            lines(&got.text),
            lines(printed),
            "{method} {target}: {}",
            got.text
        );
    }
}
