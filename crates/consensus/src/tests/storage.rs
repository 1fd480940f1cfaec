//! The raft library's own suite for logs and state machines, on ours.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::log::{Expected, LogOpenError, RaftLog};
use crate::machine::Machine;
use crate::types::TypeConfig;

struct Builder;

impl StoreBuilder<TypeConfig, RaftLog, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, RaftLog, Machine), StorageError<TypeConfig>> {
        let directory = TempDir::new().unwrap();
        let log = RaftLog::open(directory.path(), Expected::Perhaps, |_| {
            Ok::<_, LogOpenError>(())
        })
        .unwrap();
        let (machine, _) = Machine::open(directory.path()).unwrap();
        Ok((directory, log, machine))
    }
}

#[tokio::test]
async fn log_and_state_machine_pass_the_suite_of_the_raft_library() {
    Suite::test_all(Builder).await.unwrap();
}
