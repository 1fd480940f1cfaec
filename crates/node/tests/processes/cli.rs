//! The commands for people and programs against a real cluster: what they print and how they end.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Cluster, tablestore};

/// Runs a command against the first node; its exit status, output and messages.
fn run(cluster: &Cluster, arguments: &[&str]) -> (i32, String, String) {
    let server = cluster.nodes[0].http.to_string();
    let mut command = tablestore();
    let output: Output = command
        .args(arguments)
        .args(["--server", &server])
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn an_import_names_each_rejected_line_and_types_are_inferred_or_given() {
    let cluster = Cluster::started(1).await;
    let file = cluster.home.path().join("rows.csv");
    std::fs::write(
        &file,
        "id,n,flag\na,1,true\n,2,false\nb,x\n\"q\"\"x\",6,no\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let one = [
        "--create",
        "--replicas",
        "1",
        "--min-in-sync",
        "1",
        "--key",
        "id",
    ];

    let (status, _, told) = run(
        &cluster,
        &[&["import", file, "-t", "free"], &one[..]].concat(),
    );
    assert_eq!(status, 5, "{told}");
    assert!(told.contains("line 3 rejected: id: "), "{told}");
    assert!(
        told.contains("line 4 rejected: expected 3 fields, got 2"),
        "{told}"
    );
    let (_, rows, _) = run(&cluster, &["scan", "free", "--json"]);
    let mut rows: Vec<Value> = rows
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    rows.sort_by_key(Value::to_string);
    let expected = [
        json!({"flag": "no", "id": "q\"x", "n": 6}),
        // Not all cells of the column are true or false, so it is text.
        json!({"flag": "true", "id": "a", "n": 1}),
    ];
    assert_eq!(rows, expected);

    let typed = [
        "import",
        file,
        "-t",
        "typed",
        "--types",
        "n:number,flag:bool",
    ];
    let (status, _, told) = run(&cluster, &[&typed, &one[..]].concat());
    assert_eq!(status, 5, "{told}");
    assert!(
        told.contains("line 5 rejected: flag: expected true or false, got `no`"),
        "{told}"
    );
}

#[tokio::test]
async fn commands_name_the_field_and_end_with_a_status_of_their_own() {
    let cluster = Cluster::started(1).await;
    cluster.create_table("plain", 1, 2).await;
    for (arguments, status, said) in [
        (
            &["table", "create", "bad", "--key", "a:date"][..],
            2,
            "--key",
        ),
        (
            &["table", "create", "bad", "--key", "a", "--partitions", "12"],
            1,
            "a power of two",
        ),
        (&["table", "describe", "none"], 1, "no table named none"),
        (&["get", "plain", "x"], 5, "no such row"),
        (&["put", "plain", "x", "n=1"], 0, ""),
        (
            &["put", "plain", "x", "--if-version", "1", "n=2"],
            1,
            "not at 1",
        ),
        (&["delete", "plain", "x"], 0, ""),
        (&["import", "nowhere.csv", "-t", "plain"], 2, "nowhere.csv"),
    ] {
        let (ended, text, told) = run(&cluster, arguments);
        assert_eq!(ended, status, "{arguments:?}: {text} {told}");
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    let (status, text, _) = run(&cluster, &["delete", "plain", "x"]);
    assert_eq!((status, text.trim()), (0, "there was no such row"));
    let (_, text, _) = run(&cluster, &["delete", "plain", "x", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({"deleted": false})
    );
    for shell in ["bash", "zsh", "fish"] {
        let output = tablestore().args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .contains("tablestore"),
            "{shell}"
        );
    }
}
