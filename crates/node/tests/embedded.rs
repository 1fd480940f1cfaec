//! A node inside another program: it starts, serves, stops, and starts again; and what plans is the
//! strategy that it was given.
#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tablestore_node::start::End;
use tablestore_node::{NodeBuilder, NodeSettings, RunningNode};
use tablestore_placement::testing::definition;
use tablestore_placement::{
    ClusterMap, DataPath, Happening, NewTable, NextAssignment, PRIMARY_BACKUP, PrimaryBackup,
    Reaction, Strategy, Table,
};

/// The built-in strategy, counted.
#[derive(Debug, Default)]
struct Counted {
    assigned: AtomicUsize,
}

impl Strategy for Counted {
    fn data_path(&self) -> DataPath {
        PrimaryBackup.data_path()
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        self.assigned.fetch_add(1, Ordering::Relaxed);
        PrimaryBackup.assign(map, table)
    }

    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        PrimaryBackup.react(map, table, happening)
    }
}

fn settings(directory: &std::path::Path) -> NodeSettings {
    let any = "127.0.0.1:0".parse().unwrap();
    NodeSettings::new("n1", directory.to_owned(), any, any)
}

fn create(running: &RunningNode, name: &str) -> bool {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(async {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let table = definition(4, 1, 1);
        let changed = running.node().create_table(name, table, deadline).await;
        changed.unwrap().created
    })
}

#[test]
fn a_node_in_another_program_starts_serves_stops_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let counted = Arc::new(Counted::default());
    let running = NodeBuilder::new(settings(directory.path()))
        .strategy(PRIMARY_BACKUP, counted.clone())
        .start()
        .unwrap();
    assert!(create(&running, "orders"));
    assert_eq!(counted.assigned.load(Ordering::Relaxed), 1);
    assert!(!running.has_ended());
    let me = running.node().me();
    assert_eq!(running.stop().unwrap(), End::Asked);

    let again = NodeBuilder::new(settings(directory.path()))
        .start()
        .unwrap();
    assert_eq!(again.node().me(), me);
    assert!(!create(&again, "orders"), "it is there already");
    assert_eq!(again.stop().unwrap(), End::Asked);
}

#[test]
fn a_node_starts_and_stops_inside_an_async_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let end = runtime.block_on(async {
        let running = NodeBuilder::new(settings(directory.path())).start();
        running.unwrap().stop()
    });
    assert_eq!(end.unwrap(), End::Asked);
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.name = "not a name".to_owned();
    let error = NodeBuilder::new(settings).start().unwrap_err();
    assert!(error.to_string().contains("name: expected"), "{error}");
}
