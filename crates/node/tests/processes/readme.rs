//! The README is right: its commands are read from it and run.

use serde_json::Value;

use crate::harness::{Cluster, tablestore, until};

const SECTION: &str = "## A cluster of three by hand";
/// The addresses for clients that the README gives to its nodes, in their order.
const LISTEN: [&str; 3] = ["127.0.0.1:7001", "127.0.0.1:7011", "127.0.0.1:7021"];
const JOIN: &str = "127.0.0.1:7002";

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    std::fs::read_to_string(path).unwrap()
}

/// One command and the comment behind it.
#[derive(Debug, Default)]
struct Line {
    words: Vec<String>,
    comment: String,
}

/// The commands of a shell block: words, single quotes, continued lines and comments.
fn commands(block: &str) -> Vec<Line> {
    let joined = block.replace("\\\n", " ");
    let mut lines = Vec::new();
    let mut line = Line::default();
    let mut word: Option<String> = None;
    let (mut quoted, mut comment) = (false, false);
    for character in joined.chars() {
        match character {
            '\n' if !quoted => {
                line.words.extend(word.take());
                lines.push(std::mem::take(&mut line));
                comment = false;
            }
            other if comment => line.comment.push(other),
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => line.words.extend(word.take()),
            '#' if !quoted && word.is_none() => comment = true,
            other => word.get_or_insert_default().push(other),
        }
    }
    lines.retain(|line| !line.words.is_empty());
    lines
}

/// The shell blocks of a text.
fn blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

/// Runs a `curl` of the README against the cluster; answers the status.
async fn curl(cluster: &Cluster, words: &[String]) -> (u16, String) {
    let (mut method, mut body, mut url) = (None, String::new(), "");
    let mut headers = Vec::new();
    let mut words = words.iter();
    assert_eq!(words.next().unwrap(), "curl");
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => method = Some(words.next().unwrap().as_str()),
            "-H" => headers.push(words.next().unwrap().split_once(": ").unwrap()),
            "-d" => body.clone_from(words.next().unwrap()),
            other => url = other,
        }
    }
    let (port, target) = url.strip_prefix("localhost:").unwrap().split_at(4);
    let index = LISTEN
        .iter()
        .position(|listen| listen.ends_with(port))
        .unwrap();
    let usual = if body.is_empty() { "GET" } else { "POST" };
    let method = method.unwrap_or(usual).parse().unwrap();
    let url = cluster.nodes[index].url(target);
    let mut request = reqwest::Client::new().request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn the_cluster_by_hand_works_as_written() {
    let readme = readme();
    let section = readme.split_once(SECTION).unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let lines: Vec<Line> = blocks(section).into_iter().flat_map(commands).collect();

    // The nodes are started with the same options, on free addresses and a directory of the test.
    let of = |program: &str| -> Vec<&Line> {
        lines
            .iter()
            .filter(|line| line.words[0] == program)
            .collect()
    };
    for (number, (line, listen)) in (1..).zip(of("tablestore").into_iter().zip(LISTEN)) {
        let start = format!("tablestore start --name n{number} --data-dir d{number}");
        let join = if number == 1 {
            String::new()
        } else {
            format!(" --join {JOIN}")
        };
        assert_eq!(
            line.words.join(" "),
            format!("{start} --listen {listen}{join}")
        );
    }
    assert_eq!(of("tablestore").len(), 3);
    let mut cluster = Cluster::started(3).await;

    let curls = of("curl");
    assert!(curls.len() > 10, "only {}", curls.len());
    let mut killed = false;
    for line in curls {
        let said = line.words.join(" ");
        if said.contains("/v1/cluster") && !killed {
            cluster.nodes[2].kill();
            killed = true;
        }
        let expected = line.comment.trim().parse::<u16>().ok();
        let answers_well = |status: u16| match expected {
            Some(expected) => status == expected,
            None => (200..300).contains(&status),
        };
        if said.contains("eventual") {
            // Whatever the nearest replica has: a moment later it has the row.
            until(&said, async || match curl(&cluster, &line.words).await {
                (200, _) => Ok(()),
                (_, text) => Err(text),
            })
            .await;
            continue;
        }
        let (status, text) = curl(&cluster, &line.words).await;
        assert!(answers_well(status), "{said}: {status} {text}");
        if said.contains("partition_key") {
            cluster.whole("users", 3).await;
        }
    }
    assert!(killed, "nothing is asked of the cluster");
}

#[tokio::test]
async fn the_demo_of_the_readme_loses_nothing() {
    let readme = readme();
    let command = blocks(&readme)
        .into_iter()
        .flat_map(commands)
        .find(|line| line.words.iter().any(|word| word == "demo"))
        .unwrap();
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    let arguments = words
        .strip_prefix(&["cargo", "run", "--release", "--"])
        .unwrap();

    // As written, but short, and on a directory that goes with the test.
    let home = tempfile::tempdir().unwrap();
    let mut demo = tablestore();
    demo.args(arguments).args(["--kills", "2", "--json"]);
    demo.arg("--directory").arg(home.path().join("demo"));
    let output = tokio::task::spawn_blocking(move || demo.output().unwrap())
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {told}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["kills"], 2, "{report}");
    for nothing in ["lost", "stale_reads", "unequal"] {
        assert_eq!(report[nothing], 0, "{report}");
    }
    assert!(report["acked"].as_u64().unwrap() > 0, "{report}");
    for gap in report["gaps"].as_array().unwrap() {
        let at = |phase: &str| gap["timeline_ms"][phase].as_f64().unwrap_or(f64::NAN);
        let order = ["noticed", "decided", "promoted", "first_write"].map(at);
        assert!(order.is_sorted(), "{gap}");
    }
}
