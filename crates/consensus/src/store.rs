//! The files of consensus, opened and held against each other before anything runs.
//!
//! The log and the snapshot of the map prove each other: where the log begins, the snapshot must
//! reach. Knows nothing of raft at work.

use std::path::Path;
use std::sync::Arc;

use tablestore_placement::{ClusterMap, Command};
use tokio::sync::watch;

use super::handle::ConsensusError;
use super::log::{Expected, RaftLog, committed_from};
use super::machine::Machine;
use super::types::LogId;

/// Log and state machine of a node, open.
#[derive(Debug)]
pub struct ConsensusStore {
    pub(super) log: RaftLog,
    pub(super) machine: Machine,
    pub(super) map: watch::Receiver<Arc<ClusterMap>>,
}

impl ConsensusStore {
    /// Opens the files in `directory`, whatever the map says.
    pub(super) fn open(directory: &Path, has_run: bool) -> Result<Self, ConsensusError> {
        Self::open_unless(directory, has_run, |_| None)
    }

    /// Opens the files in `directory`, which is made if it is not there, unless `refused` says why
    /// not when it sees the map. With `has_run` they must be there: a node that ran before does not
    /// begin with nothing.
    ///
    /// # Errors
    /// If a file is missing, cut or damaged: the error names it; and with what `refused` says.
    /// Nothing was changed then.
    pub fn open_unless(
        directory: &Path,
        has_run: bool,
        refused: impl FnOnce(&ClusterMap) -> Option<String>,
    ) -> Result<Self, ConsensusError> {
        std::fs::create_dir_all(directory).map_err(|source| ConsensusError::Directory {
            directory: directory.to_owned(),
            source,
        })?;
        // The snapshot first: a log that is refused for what the snapshot says is not yet made.
        let (machine, map) = Machine::open(directory)?;
        let expected = if has_run || machine.is_stored() {
            Expected::Surely
        } else {
            Expected::Perhaps
        };
        let log = RaftLog::open::<ConsensusError>(directory, expected, |log| {
            machine.check_reach("begins behind entry", log.begins_behind())?;
            machine.check_reach("was committed up to entry", log.committed_beyond())?;
            let commands = committed_from(log, behind(&machine));
            match refused(&applied(&map.borrow(), &commands)) {
                Some(why) => Err(ConsensusError::Refused(why)),
                None => Ok(()),
            }
        })?;
        Ok(Self { log, machine, map })
    }

    /// The map as this node last knew it to be committed: its last snapshot, and the entries
    /// behind that.
    #[must_use]
    pub fn map(&self) -> Arc<ClusterMap> {
        let commands = self.log.committed_from(behind(&self.machine));
        Arc::new(applied(&self.map.borrow(), &commands))
    }

    /// The end of the log.
    #[must_use]
    pub fn last_log(&self) -> Option<LogId> {
        self.log.last()
    }
}

/// The first entry that the snapshot has not.
fn behind(machine: &Machine) -> u64 {
    machine.reached().map_or(0, |reached| reached + 1)
}

fn applied(map: &ClusterMap, commands: &[(u64, Command)]) -> ClusterMap {
    let mut map = map.clone();
    for (term, command) in commands {
        // What the map refused when it was applied it refuses again, a stale decision as well.
        let _ = map.apply_in_term(*term, command);
    }
    map
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failure is the test's result")]
    use std::fs;

    use openraft::RaftSnapshotBuilder;
    use openraft::storage::{RaftLogStorage, RaftStateMachine};
    use openraft::vote::RaftLeaderId;
    use tempfile::TempDir;

    use super::super::types::{LogId, SnapshotMeta};
    use super::*;

    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;

    fn id(index: u64) -> LogId {
        LogId::new(LeaderId::new(1, 1), index)
    }

    /// Opens when the thread of the log before has let go of the file.
    fn reopen(directory: &TempDir) -> Result<ConsensusStore, String> {
        loop {
            match ConsensusStore::open(directory.path(), true) {
                Err(ConsensusError::Log(error)) if error.to_string().ends_with("in use") => {
                    std::thread::yield_now();
                }
                Err(ConsensusError::Snapshot(error)) => return Err(error.to_string()),
                Err(error) => return Err(format!("{error}: {:?}", error)),
                Ok(store) => return Ok(store),
            }
        }
    }

    /// A snapshot up to entry 5, and a log that begins behind it.
    async fn purged() -> TempDir {
        let directory = TempDir::new().unwrap();
        let mut store = ConsensusStore::open(directory.path(), false).unwrap();
        let map = rmp_snapshot(&mut store.machine).await;
        let meta = SnapshotMeta {
            last_log_id: Some(id(5)),
            ..SnapshotMeta::default()
        };
        store.machine.install_snapshot(&meta, map).await.unwrap();
        let mut builder = store.machine.get_snapshot_builder().await;
        builder.build_snapshot().await.unwrap();
        store.log.purge(id(5)).await.unwrap();
        store.log.finish().await.unwrap();
        directory
    }

    async fn rmp_snapshot(machine: &mut Machine) -> Vec<u8> {
        let mut builder = machine.get_snapshot_builder().await;
        builder.build_snapshot().await.unwrap().snapshot
    }

    #[tokio::test]
    async fn a_lost_file_is_missed_by_the_other_one() {
        let directory = purged().await;
        drop(reopen(&directory).unwrap());
        for (name, size) in [
            ("map.snapshot", None),
            ("map.snapshot", Some(0)),
            ("raft.log", None),
        ] {
            let file = directory.path().join(name);
            let whole = fs::read(&file).unwrap();
            match size {
                None => fs::remove_file(&file).unwrap(),
                Some(size) => fs::write(&file, &whole[..size]).unwrap(),
            }
            let before = fs::read_dir(directory.path()).unwrap().count();
            let refused = reopen(&directory).unwrap_err();
            assert!(refused.contains(name), "{refused}");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), before);
            fs::write(&file, whole).unwrap();
        }
        drop(reopen(&directory).unwrap());
    }

    #[tokio::test]
    async fn an_older_snapshot_does_not_replace_a_newer_one() {
        let directory = TempDir::new().unwrap();
        let mut store = ConsensusStore::open(directory.path(), false).unwrap();
        let mut late = store.machine.get_snapshot_builder().await;
        let map = rmp_snapshot(&mut store.machine).await;
        let meta = SnapshotMeta {
            last_log_id: Some(id(5)),
            ..SnapshotMeta::default()
        };
        store.machine.install_snapshot(&meta, map).await.unwrap();
        let newer = rmp_snapshot(&mut store.machine).await;
        late.build_snapshot().await.unwrap();
        assert_eq!(
            fs::read(directory.path().join("map.snapshot")).unwrap(),
            newer
        );
    }

    #[test]
    fn a_decision_that_was_stale_when_it_was_applied_is_stale_for_the_next_start() {
        let cluster = tablestore_placement::ClusterId(1);
        let found = Command::Found { cluster, at_ms: 1 };
        let registration = tablestore_placement::testing::registration(7, "", 1);
        let mut map = ClusterMap::empty();
        map.apply_in_term(1, &found).unwrap();
        map.apply_in_term(1, &Command::Register(registration.clone()))
            .unwrap();
        let kind = tablestore_placement::DecisionKind::Failover;
        let change = tablestore_placement::Change {
            decision: tablestore_placement::Decision::new(kind, 1),
            made_under: Some(tablestore_placement::MadeUnder {
                term: 1,
                map_version: map.version,
            }),
            members: vec![(
                registration.storage,
                registration.incarnation,
                tablestore_placement::MemberState::Down,
            )],
            assignments: Vec::new(),
        };
        // It came into the log when another one led.
        let commands = [
            (1, found),
            (1, Command::Register(registration)),
            (2, Command::Change(change)),
        ];
        assert_eq!(applied(&ClusterMap::empty(), &commands), map);
    }
}
