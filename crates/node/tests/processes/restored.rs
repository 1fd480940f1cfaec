//! Directories that are older copies of themselves: restored from a backup, or from a snapshot of
//! the machine. Such a node becomes a new member or is refused; it never counts as what it was.

use std::fs;
use std::path::Path;

use tablestore_client::{Row, RowKey};

use crate::harness::{Cluster, copy, tree, until};

const TABLE: &str = "restored";
const ROWS: usize = 30;

/// Puts the copy in the place of the directory.
fn restore(copy_of: &Path, directory: &Path) {
    fs::remove_dir_all(directory).unwrap();
    copy(copy_of, directory);
}

async fn write(cluster: &Cluster, round: &str) {
    let client = cluster.client();
    for number in 0..ROWS {
        let mut row = Row::new();
        row.insert("round".to_owned(), round.into());
        let key = RowKey::new(format!("k{number}"));
        client.put(TABLE, &key, &row).await.unwrap();
    }
}

async fn read(cluster: &Cluster, round: &str) {
    let client = cluster.client();
    for number in 0..ROWS {
        let key = RowKey::new(format!("k{number}"));
        let found = client.get(TABLE, &key).await.unwrap().unwrap();
        assert_eq!(found.row["round"], round.into(), "k{number}");
    }
}

/// Waits until a name belongs to one member that is up and in sync everywhere.
async fn back(cluster: &Cluster, name: &str, copies: usize) {
    until("the node is a member again", async || {
        let seen = cluster.get(0, "/v1/cluster").await?;
        let nodes = seen["nodes"].as_array().ok_or("no nodes")?;
        let of_name: Vec<_> = nodes.iter().filter(|n| n["name"] == name).collect();
        let fine = of_name.len() == 1 && of_name[0]["state"] == "up";
        fine.then_some(()).ok_or_else(|| seen.to_string())
    })
    .await;
    cluster.whole(TABLE, copies).await;
}

async fn cluster() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.arguments
            .extend(["--rereplicate-after".to_owned(), "1".to_owned()]);
    }
    cluster.start_all().await;
    cluster.create_table(TABLE, 3, 4).await;
    cluster
}

#[tokio::test]
async fn l29_an_older_copy_of_a_directory_becomes_a_new_member_with_the_old_one_kept_aside() {
    let mut cluster = cluster().await;
    let directory = cluster.nodes[2].directory.clone();
    let old = cluster.home.path().join("older");
    write(&cluster, "old").await;
    cluster.nodes[2].terminate().await;
    copy(&directory, &old);
    cluster.nodes[2].start();
    cluster.ready(2).await;
    cluster.whole(TABLE, 3).await;
    write(&cluster, "new").await;
    cluster.nodes[2].kill();
    restore(&old, &directory);
    cluster.nodes[2].start();
    cluster.ready(2).await;
    back(&cluster, "n3", 3).await;
    read(&cluster, "new").await;
    cluster.copies_equal(TABLE, 3).await;
    assert!(directory.join("aside-1/FORMAT").is_file());
    assert!(cluster.nodes[2].log().contains("older copy of itself"));
}

#[tokio::test]
async fn l29_a_copy_of_a_running_node_that_lacks_acknowledged_entries_becomes_a_new_member() {
    let mut cluster = cluster().await;
    let directory = cluster.nodes[2].directory.clone();
    let old = cluster.home.path().join("older");
    write(&cluster, "old").await;
    // As a snapshot of the machine takes it; the start that the cluster knows is in it.
    copy(&directory, &old);
    write(&cluster, "new").await;
    cluster.nodes[2].kill();
    restore(&old, &directory);
    cluster.nodes[2].start();
    cluster.ready(2).await;
    back(&cluster, "n3", 3).await;
    read(&cluster, "new").await;
    cluster.copies_equal(TABLE, 3).await;
    assert!(directory.join("aside-1/FORMAT").is_file());
}

#[tokio::test]
async fn l29_an_older_copy_that_the_cluster_needs_is_refused_every_time_and_left_as_it_is() {
    let mut cluster = cluster().await;
    let directory = cluster.nodes[2].directory.clone();
    let old = cluster.home.path().join("older");
    cluster.nodes[2].terminate().await;
    copy(&directory, &old);
    cluster.nodes[2].start();
    cluster.ready(2).await;
    cluster.whole(TABLE, 3).await;
    write(&cluster, "new").await;
    cluster.nodes[2].kill();
    restore(&old, &directory);
    // Without this voter and the next the last one is no majority.
    cluster.nodes[1].kill();
    let before = tree(&old);
    for _ in 0..3 {
        let (status, said) = cluster.nodes[2].start_in_vain().await;
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("older copy of itself"), "{said}");
        assert!(said.contains("cannot be replaced"), "{said}");
    }
    let inside = |found: Vec<(std::path::PathBuf, u64)>, root: &Path| -> Vec<_> {
        let inside = |(path, hash): (std::path::PathBuf, u64)| {
            (path.strip_prefix(root).unwrap().to_owned(), hash)
        };
        found.into_iter().map(inside).collect()
    };
    let format = |found: Vec<(std::path::PathBuf, u64)>| -> Vec<_> {
        let is_format = |(path, _): &(std::path::PathBuf, u64)| path.ends_with("FORMAT");
        found.into_iter().filter(is_format).collect()
    };
    let after = tree(&directory);
    assert_eq!(
        format(inside(before, &old)),
        format(inside(after, &directory))
    );
    // With a majority without it, it is replaced.
    cluster.nodes[1].start();
    cluster.ready(1).await;
    cluster.nodes[2].start();
    cluster.ready(2).await;
    back(&cluster, "n3", 3).await;
    read(&cluster, "new").await;
}
