//! When a node refuses to start: it says which file or field is wrong, ends with a status of its
//! own, and leaves its directory exactly as it was.

use std::fs;
use std::path::{Path, PathBuf};

use tablestore_client::{Client, Row, RowKey};
use tablestore_store::{LsmEngine, LsmSettings};

use crate::harness::{Cluster, row_files, tree, until};

const TABLE: &str = "large";
/// Rows that together outgrow the journal, so that the node writes files of rows.
const ROWS: usize = 200;
const ROW_BYTES: usize = 100 << 10;
/// A row that is still in the journal, with others behind it.
const LATE_ROW: usize = 190;

fn value(number: usize) -> String {
    // Nothing that compresses well, or the files would be tiny.
    let mut state = number as u64 + 1;
    let letters = (0..ROW_BYTES).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 58) & 63).unwrap())
    });
    let text: String = letters.collect();
    text.replace(['"', '\\'], "_")
}

/// Fills a table until rows lie in files.
async fn fill(cluster: &Cluster) {
    let client = cluster.client();
    for number in 0..ROWS {
        let mut row = Row::new();
        row.insert("v".to_owned(), value(number).into());
        let key = RowKey::new(format!("k{number}"));
        client.put(TABLE, &key, &row).await.unwrap();
    }
    until("rows are flushed to files", async || {
        let first = row_files(&cluster.nodes[0].directory).into_iter().next();
        first.ok_or_else(|| "no file".to_owned())
    })
    .await;
}

async fn verify(client: &Client) {
    for number in 0..ROWS {
        let key = RowKey::new(format!("k{number}"));
        let found = client.get(TABLE, &key).await.unwrap().unwrap();
        assert!(found.row["v"] == value(number).into(), "k{number}");
    }
}

/// Starts the node, which must refuse, name all of `said`, and change nothing.
#[track_caller]
fn refused(outcome: (std::process::ExitStatus, String), said: &[&str]) {
    let (status, log) = outcome;
    assert_eq!(status.code(), Some(1), "{log}");
    for words in said {
        assert!(log.contains(words), "not `{words}` in: {log}");
    }
}

/// The segment of the journal that holds a text, its content, and where the text is.
fn segment_of(directory: &Path, text: &str) -> (PathBuf, Vec<u8>, usize) {
    for (path, _) in tree(&directory.join("journal")) {
        let content = fs::read(&path).unwrap();
        let at = content
            .windows(text.len())
            .position(|found| found == text.as_bytes());
        if let Some(at) = at {
            return (path, content, at);
        }
    }
    panic!("the row is not in the journal");
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[tokio::test]
async fn damaged_directories_are_refused_by_the_name_of_the_file_and_left_alone() {
    let mut cluster = Cluster::prepare(1);
    let short = ["--journal-segment-mib", "2", "--journal-segments", "3"];
    cluster.nodes[0].arguments = short.map(str::to_owned).to_vec();
    cluster.start_all().await;
    cluster.create_table(TABLE, 1, 1).await;
    fill(&cluster).await;
    cluster.nodes[0].kill();

    let directory = cluster.nodes[0].directory.clone();
    // A kill may leave files that a flush or a merge had just replaced or not yet taken up.
    // Opening removes those, so that what is damaged below is in use.
    let rows = directory.join("rows");
    drop(LsmEngine::open(rows, &LsmSettings::default()).unwrap());
    let rows_file = row_files(&directory).into_iter().next().unwrap();
    let format = directory.join("FORMAT");
    let newer = br#"{"format": 3}"#.to_vec();
    let (segment, content, at) = segment_of(&directory, &value(LATE_ROW)[..64]);
    let mut flipped = content.clone();
    flipped[at] ^= 1;
    let partition = rows_file.parent().unwrap().parent().unwrap();
    let current = partition.join("current");
    let table = fs::read(&rows_file).unwrap();
    let mut garbage = table.clone();
    let from = garbage.len() - 64;
    garbage[from..].fill(0x5a);

    let log = directory.join("control/raft.log");
    let raft = fs::read(&log).unwrap();
    let used = raft.iter().rposition(|byte| *byte != 0).unwrap();
    let mut raft_flipped = raft.clone();
    raft_flipped[used / 2] ^= 4;

    let damages: [(&Path, Vec<u8>, &[&str]); 12] = [
        (&log, raft[..used / 2].to_vec(), &["raft.log", "at byte"]),
        (&log, raft[..=used].to_vec(), &["raft.log", "the file ends"]),
        (&log, raft_flipped, &["raft.log", "damaged at byte"]),
        (&log, Vec::new(), &["raft.log", "damaged at byte 0"]),
        (&format, Vec::new(), &["FORMAT", "damaged"]),
        (&format, newer, &["format 3", "supports up to 2"]),
        (&format, b"{".to_vec(), &["FORMAT", "damaged"]),
        (
            &segment,
            content[..content.len() / 2].to_vec(),
            &[name(&segment), "bytes"],
        ),
        (&segment, flipped, &[name(&segment), "damaged"]),
        (
            &rows_file,
            table[..table.len() / 2].to_vec(),
            &[name(partition)],
        ),
        (&rows_file, garbage, &[name(partition)]),
        (&current, vec![0xff; 24], &[name(partition)]),
    ];
    for (path, damaged, said) in damages {
        let whole = fs::read(path).unwrap();
        fs::write(path, damaged).unwrap();
        let before = tree(&directory);
        refused(cluster.nodes[0].start_in_vain().await, said);
        assert_eq!(tree(&directory), before, "{} was damaged", path.display());
        fs::write(path, whole).unwrap();
    }
    for missing in [
        &segment,
        &directory.join("journal/JOURNAL"),
        &rows_file,
        &format,
        &log,
        &directory.join("LOCK"),
        &current,
    ] {
        let aside = cluster.home.path().join("aside");
        fs::rename(missing, &aside).unwrap();
        let before = tree(&directory);
        let shown = match missing {
            missing if missing == &rows_file => name(partition),
            // The one before it may name a first segment that is freed since.
            missing if missing == &segment => "segment-",
            missing => name(missing),
        };
        refused(cluster.nodes[0].start_in_vain().await, &[shown]);
        assert_eq!(
            tree(&directory),
            before,
            "{} was missing",
            missing.display()
        );
        fs::rename(&aside, missing).unwrap();
    }
    // Whole again, it starts with everything.
    cluster.nodes[0].start();
    cluster.ready(0).await;
    verify(&cluster.client()).await;
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let mut cluster = Cluster::prepare(2);
    cluster.nodes[0].start();
    cluster.ready(0).await;
    cluster.nodes[1].directory = cluster.nodes[0].directory.clone();
    let shown = cluster.nodes[1].directory.display().to_string();
    refused(
        cluster.nodes[1].start_in_vain().await,
        &[&shown, "in use by another process"],
    );
    cluster.ready(0).await;
}

#[tokio::test]
async fn an_address_in_use_is_refused_by_the_name_of_the_setting() {
    let mut cluster = Cluster::prepare(2);
    cluster.nodes[0].start();
    cluster.ready(0).await;
    let (http, peer) = (cluster.nodes[0].http, cluster.nodes[0].peer);
    let other = std::mem::replace(&mut cluster.nodes[1].http, http);
    let outcome = cluster.nodes[1].start_in_vain().await;
    refused(outcome, &[&format!("listen {http}"), "in use"]);
    cluster.nodes[1].http = other;
    cluster.nodes[1].peer = peer;
    let outcome = cluster.nodes[1].start_in_vain().await;
    refused(outcome, &[&format!("peer-listen {peer}"), "in use"]);
}

#[tokio::test]
async fn a_directory_of_another_cluster_does_not_join() {
    let mut one = Cluster::started(1).await;
    let other = Cluster::started(1).await;
    one.nodes[0].kill();
    let directory = one.nodes[0].directory.clone();
    let before = tree(&directory);
    let there = other.nodes[0].peer.to_string();
    one.nodes[0].arguments = vec!["--join".to_owned(), there.clone()];
    let shown = directory.display().to_string();
    refused(
        one.nodes[0].start_in_vain().await,
        &[&shown, "join", &there, "belongs to cluster"],
    );
    assert_eq!(tree(&directory), before);
    // The directory is as good as before.
    one.nodes[0].arguments.clear();
    one.nodes[0].start();
    one.ready(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_refused_leaves_no_directory_that_was_not_there() {
    let mut cluster = Cluster::prepare(1);
    let taken = std::net::TcpListener::bind(cluster.nodes[0].peer).unwrap();
    refused(cluster.nodes[0].start_in_vain().await, &["peer-listen"]);
    assert!(!cluster.nodes[0].directory.exists());
    drop(taken);
    cluster.start_all().await;
    assert!(cluster.nodes[0].terminate().await.success());
    let taken = std::net::TcpListener::bind(cluster.nodes[0].peer).unwrap();
    refused(cluster.nodes[0].start_in_vain().await, &["peer-listen"]);
    drop(taken);
    cluster.start_all().await;
}
