//! All 38 digits on every way through the command line, against a real node.

use std::process::Output;

use crate::harness::{Cluster, tablestore};

/// Runs a command; its exit status, output and messages.
fn run(cluster: &Cluster, arguments: &[&str]) -> (i32, String, String) {
    let server = cluster.nodes[0].http.to_string();
    let output: Output = tablestore()
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

#[track_caller]
fn done(cluster: &Cluster, arguments: &[&str]) -> String {
    let (status, text, told) = run(cluster, arguments);
    assert_eq!(status, 0, "{arguments:?}: {text} {told}");
    text
}

const ONE_COPY: [&str; 4] = ["--replicas", "1", "--min-in-sync", "1"];

fn create(cluster: &Cluster, name: &str, keys: &[&str]) {
    done(
        cluster,
        &[&["table", "create", name], keys, &ONE_COPY[..]].concat(),
    );
}

const NUMBERS: [&str; 8] = [
    "0.1234567890123456789012345678901234567",
    "18446744073709551617",
    "9007199254740993",
    "10.357019999999999",
    "-12345678901234567890123456789012345678",
    "9.9999999999999999999999999999999999999E+125",
    "-1E-130",
    "0",
];

#[tokio::test]
async fn what_is_put_is_what_get_and_scan_show_in_text_and_in_json() {
    let cluster = Cluster::started(1).await;
    create(&cluster, "ttt", &["--key", "id"]);
    for number in NUMBERS {
        done(
            &cluster,
            &["put", "ttt", "x", &format!("{{\"v\":{number}}}")],
        );
        done(
            &cluster,
            &["put", "ttt", "x", "--merge", &format!("w={number}")],
        );
        let shown = done(&cluster, &["get", "ttt", "x"]);
        assert_eq!(shown, format!("id  x\nv   {number}\nw   {number}\n"));
        let row = format!("{{\"id\":\"x\",\"v\":{number},\"w\":{number}}}");
        let shown = done(&cluster, &["get", "ttt", "x", "--json"]);
        assert!(
            shown.starts_with(&format!("{{\"row\":{row},\"version\":")),
            "{shown}"
        );
        assert_eq!(
            done(&cluster, &["scan", "ttt", "--json"]),
            format!("{row}\n")
        );
        assert!(done(&cluster, &["scan", "ttt"]).contains(&format!("  {number}")));
        assert_eq!(done(&cluster, &["export", "ttt"]), format!("{row}\n"));
    }
    done(&cluster, &["put", "ttt", "y", "v=1e3", "w=-0.0", "z=1.50"]);
    let shown = done(&cluster, &["get", "ttt", "y"]);
    assert_eq!(shown, "id  y\nv   1000\nw   0\nz   1.5\n");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_with_the_field_and_nothing_is_written() {
    let cluster = Cluster::started(1).await;
    create(&cluster, "ttt", &["--key", "id"]);
    for (given, said) in [
        (
            &["v=1E400"][..],
            "v: expected a number of at most 38 digits",
        ),
        (
            &["{\"v\":[123456789012345678901234567890123456789]}"],
            "v[0]: expected a number",
        ),
        (&["{\"v\":1,\"v\":1}"], "v: expected a name only once"),
        (&["v=1", "v=2"], "v: expected an attribute only once"),
        (
            &["v={\"a\":{\"b\":1,\"b\":2}}"],
            "v.a.b: expected a name only once",
        ),
    ] {
        let (status, _, told) = run(&cluster, &[&["put", "ttt", "x"], given].concat());
        assert_eq!(status, 2, "{given:?}: {told}");
        assert!(told.contains(said), "{told}");
        assert_eq!(
            run(&cluster, &["get", "ttt", "x"]).0,
            5,
            "{given:?} was written"
        );
    }
}

#[tokio::test]
async fn keys_of_many_digits_are_told_apart_in_every_command() {
    let cluster = Cluster::started(1).await;
    create(
        &cluster,
        "kkk",
        &["--key", "id:number", "--sort-key", "at:number"],
    );
    let key = |last: u32| format!("1234567890123456789012{last}");
    let rows: Vec<String> = (3..7)
        .map(|last| format!("{{\"at\":-0.{},\"id\":{},\"v\":{last}}}", key(last), key(3)))
        .collect();
    let file = cluster.home.path().join("keys.ndjson");
    std::fs::write(&file, rows.join("\n")).unwrap();
    done(&cluster, &["import", "kkk", file.to_str().unwrap()]);

    let sort = |last| format!("-0.{}", key(last));
    let got = done(
        &cluster,
        &["get", "kkk", &key(3), "--sort", &sort(5), "--json"],
    );
    assert!(got.contains(&rows[2]), "{got}");
    let (status, _, _) = run(&cluster, &["get", "kkk", &key(4), "--sort", &sort(5)]);
    assert_eq!(status, 5, "the next key is another one");
    let range = ["--from", &sort(5), "--to", &sort(4), "--json"];
    let range = done(
        &cluster,
        &[&["scan", "kkk", "--key", &key(3)], &range[..]].concat(),
    );
    assert_eq!(range, format!("{}\n{}\n", rows[2], rows[1]));
    done(&cluster, &["delete", "kkk", &key(3), "--sort", &sort(4)]);
    done(&cluster, &["put", "kkk", "-1.5", "-s", "-2", "v=1"]);
    done(&cluster, &["delete", "kkk", "-1.5", "-s", "-2"]);
    // Pages of one row: each cursor carries a key.
    let (client, mut all) = (cluster.client(), Vec::new());
    let options = tablestore_client::ScanOptions {
        page_rows: Some(1),
        ..Default::default()
    };
    let mut pages = client.scan("kkk", options);
    while let Some(page) = pages.next().await.unwrap() {
        let page = page
            .into_iter()
            .map(|row| tablestore_client::Value::from(row).to_string());
        all.extend(page);
    }
    assert_eq!(all, [3, 2, 0].map(|at| rows[at].clone()));
}

#[tokio::test]
async fn an_export_that_is_imported_is_exported_the_same_as_ndjson_and_as_csv() {
    let cluster = Cluster::started(1).await;
    let nested = "{\"$binary\":\"AP8=\"}";
    let lines: Vec<String> = NUMBERS
        .iter()
        .enumerate()
        .map(|(at, number)| {
            let empty = ["\"\"", "null", "\"NA\"", "\"41.10\""][at % 4];
            format!(
                "{{\"b\":{nested},\"e\":{empty},\"id\":\"{at}\",\"l\":[{number},{{}},[]],\
                 \"m\":{{\"é\\n\":{number}}},\"n\":{number},\"t\":\"a,\\\"b\\\"\\r\\n{at}\"}}"
            )
        })
        .collect();
    let home = cluster.home.path();
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let sorted = |name: &str| {
        let text = std::fs::read_to_string(path(name)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    std::fs::write(path("0.ndjson"), lines.join("\n")).unwrap();
    let create = [&["--create", "--key", "id"], &ONE_COPY[..]].concat();
    let mut before = "0.ndjson".to_owned();
    for after in ["1.ndjson", "2.csv", "3.csv", "4.ndjson"] {
        let table = &after[..1];
        // A table of its own gets what the one before exported.
        let table = format!("ttt{table}");
        done(
            &cluster,
            &[&["import", &table, &path(&before)], &create[..]].concat(),
        );
        let (status, _, told) = run(&cluster, &["export", &table, &path(after)]);
        assert_eq!((status, told.as_str()), (0, ""), "{after}");
        let row = done(&cluster, &["export", &table]);
        let mut rows: Vec<&str> = row.lines().collect();
        rows.sort_unstable();
        let mut expected = lines.clone();
        expected.sort();
        assert_eq!(rows, expected, "{before}");
        before = after.to_owned();
    }
    assert_eq!(sorted("1.ndjson"), sorted("4.ndjson"));
    assert_eq!(sorted("2.csv"), sorted("3.csv"));
}

#[tokio::test]
async fn a_rejected_line_is_named_by_its_number_and_the_field() {
    let cluster = Cluster::started(1).await;
    let file = cluster.home.path().join("rows.ndjson");
    let digits = "1".repeat(39);
    let text = [
        "{\"id\":\"a\"}",
        "",
        "{\"id\":\"b\",\"id\":\"c\"}",
        &format!("{{\"id\":\"d\",\"n\":{digits}}}"),
        "{\"id\":\"e\",\"n\":{\"m\":1E400}}",
        "{\"id\":\"f\"}",
    ]
    .join("\r\n");
    std::fs::write(&file, text).unwrap();
    let create = [&["--create", "--key", "id"], &ONE_COPY[..]].concat();
    let file = file.to_str().unwrap();
    let (status, _, told) = run(&cluster, &[&["import", "ttt", file], &create[..]].concat());
    assert_eq!(status, 5, "{told}");
    for said in [
        "line 3 rejected: id: expected a name only once, found it again",
        "line 4 rejected: n: expected a number of at most 38 digits",
        "line 5 rejected: n.m: expected a number of at most 38 digits",
    ] {
        assert!(told.contains(said), "{told}");
    }
    assert_eq!(done(&cluster, &["export", "ttt"]).lines().count(), 2);
}
