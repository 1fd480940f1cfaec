//! `/openapi.json` of real nodes before tools that others wrote: a validator, a generator of
//! clients, a fuzzer. Run by `cargo xtask openapi`, which installs them.
//!
//! Knows nothing of what the document says: the scripts beside it do.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

#[path = "../processes/harness.rs"]
#[allow(dead_code, clippy::print_stderr, reason = "other tests use more of it")]
mod harness;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::Cluster;

/// Where the Python that has the tools is, as `cargo xtask openapi` says.
const PYTHON: &str = "TABLESTORE_TEST_OPENAPI_PYTHON";
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi");
/// The fuzzer takes about a minute, the others some seconds, on a machine that does nothing else.
const BOUND: Duration = Duration::from_secs(6 * 60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of a table of the fuzzer.
const PARTITIONS: usize = 4;

/// Runs a program of the tools beside the nodes, in their directory; fails with what it wrote if
/// it fails.
async fn succeeds(cluster: &Cluster, program: &Path, arguments: &[OsString]) {
    let written = cluster.home.path().join("written.txt");
    let output = File::create(&written).unwrap();
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(cluster.home.path())
        .env("NO_PROXY", "*")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", script("hooks.py"))
        .stderr(output.try_clone().unwrap())
        .stdout(output)
        .spawn()
        .unwrap();
    let bound = Instant::now() + BOUND;
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > bound {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let written = std::fs::read_to_string(&written).unwrap();
    match ended {
        Some(status) => assert!(status.success(), "{status}:\n{written}"),
        None => panic!("not done in {BOUND:?}:\n{written}"),
    }
}

fn python() -> PathBuf {
    let python = std::env::var_os(PYTHON);
    let python =
        python.unwrap_or_else(|| panic!("{PYTHON} is not set: `cargo xtask openapi` runs these"));
    python.into()
}

fn script(name: &str) -> OsString {
    Path::new(SCRIPTS).join(name).into()
}

#[tokio::test]
async fn a_validator_accepts_the_document() {
    let cluster = Cluster::started(1).await;
    let url = cluster.nodes[0].url("/openapi.json");
    succeeds(&cluster, &python(), &[script("validate.py"), url.into()]).await;
}

#[tokio::test]
async fn a_generated_client_drives_a_cluster() {
    let cluster = Cluster::started(2).await;
    let url = cluster.nodes[0].url("");
    succeeds(&cluster, &python(), &[script("drive.py"), url.into()]).await;
}

#[tokio::test]
async fn a_fuzzer_finds_no_answer_that_is_not_described() {
    let cluster = Cluster::started(1).await;
    cluster.create_table("plain", 1, PARTITIONS).await;
    cluster.create_table("other", 1, PARTITIONS).await;
    cluster.create_table("altered", 1, PARTITIONS).await;
    let sorted = json!({
        "partition_key": {"name": "id", "type": "string"},
        "sort_key": {"name": "at", "type": "string"},
        "replicas": 1,
        "partitions": PARTITIONS,
    });
    let target = "/v1/tables/sorted";
    let (status, answer) = cluster.ask(0, "PUT", target, &sorted.to_string()).await;
    assert_eq!(status, 201, "{answer}");
    let url = cluster.nodes[0].url("/openapi.json");
    let fuzzer = python().with_file_name("schemathesis");
    let arguments = [
        "--config-file".into(),
        script("schemathesis.toml"),
        "run".into(),
        url.into(),
    ];
    succeeds(&cluster, &fuzzer, &arguments).await;
}
