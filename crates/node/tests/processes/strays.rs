//! Rows on a disk of which the cluster map knows nothing: kept aside and told, never deleted.

use std::fs;
use std::path::Path;

use tablestore_client::{Row, RowKey};

use crate::harness::{Cluster, copy, until};

/// Puts a copy of a folder's files in the place of another's.
fn copy_files(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    copy(from, to);
}

fn holds(folder: &Path, text: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let content = fs::read(path).unwrap();
        content.windows(text.len()).any(|found| found == text)
    })
}

#[tokio::test]
async fn a_table_that_an_old_map_does_not_know_is_put_aside() {
    let mut cluster = Cluster::started(1).await;
    let directory = cluster.nodes[0].directory.clone();
    let old = cluster.home.path().join("control-before");
    cluster.nodes[0].kill();
    copy_files(&directory.join("control"), &old);
    cluster.nodes[0].start();
    cluster.ready(0).await;

    cluster.create_table("kept", 1, 1).await;
    let mut row = Row::new();
    row.insert("v".to_owned(), "a-value-to-be-found".into());
    let client = cluster.client();
    client.put("kept", &RowKey::new("k"), &row).await.unwrap();
    cluster.nodes[0].kill();
    copy_files(&old, &directory.join("control"));
    cluster.nodes[0].start();
    cluster.ready(0).await;

    let aside = directory.join("rows-aside");
    until("the rows are put aside", async || {
        let found = fs::read_dir(&aside).ok().into_iter().flatten().count();
        (found == 1)
            .then_some(())
            .ok_or_else(|| format!("{found} folders"))
    })
    .await;
    assert!(holds(&aside, b"a-value-to-be-found"));
}
