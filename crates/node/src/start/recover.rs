//! Founding a new cluster from the directory of a stopped node, when most voters are lost for good:
//! what it holds, what may be missing, and the founding itself by a token that says both were read.
//!
//! Knows nothing of how a node starts afterwards.

use std::collections::BTreeMap;

use tablestore_consensus::{ConsensusError, ConsensusStore};
use tablestore_placement::recover::{Kept, TableSalvage, recovered, salvage};
use tablestore_placement::{ClusterId, ClusterMap, PartitionId, StorageId};

use super::directory::{self, Opened};
use super::{OpenError, StartError, runtime};
use crate::node::wall_ms;
use crate::settings::NodeSettings;

/// What the directory of a stopped node holds.
#[derive(Debug, Clone)]
pub struct Recoverable {
    /// The cluster map as it last knew it.
    pub map: ClusterMap,
    /// Its storage id.
    pub me: StorageId,
    /// What it has of each partition.
    pub kept: BTreeMap<PartitionId, Kept>,
    /// What would become of each table.
    pub tables: Vec<TableSalvage>,
    /// Whoever gives this to [`recover`] has seen all this.
    pub token: String,
}

/// Why no cluster was founded from a directory. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The directory cannot be opened. See the source.
    #[error(transparent)]
    Open(#[from] StartError),
    /// There is no directory, or none of a node that was a member.
    #[error("data-dir: {0} is no directory of a node that was a member of a cluster")]
    NoMember(String),
    /// The directory has changed since the token was printed, or it is of another one.
    #[error("confirm: {given} is not the token of this directory as it is now, {expected}")]
    OtherToken {
        /// What was given.
        given: String,
        /// What the directory has now.
        expected: String,
    },
}

impl<T: Into<OpenError>> From<T> for RecoverError {
    fn from(error: T) -> Self {
        Self::Open(StartError::Open(error.into()))
    }
}

/// Shows what a cluster would have that is founded from the directory. Repairs what a start repairs
/// and changes nothing else.
///
/// # Errors
/// If it cannot be opened, or is not of a member.
pub fn recoverable(settings: &NodeSettings) -> Result<Recoverable, RecoverError> {
    let runtime = runtime().map_err(StartError::from)?;
    Ok(look(&open(settings, &runtime)?))
}

/// Founds a cluster of this node alone from its directory: the others are left out and can come
/// back only as new members. What is lost is what [`recoverable`] said.
///
/// # Errors
/// If the token is not the one that [`recoverable`] gives now, or something cannot be written:
/// then the next start is of the former cluster, or of the new one.
pub fn recover(settings: &NodeSettings, token: &str) -> Result<Recoverable, RecoverError> {
    let runtime = runtime().map_err(StartError::from)?;
    let mut opened = open(settings, &runtime)?;
    let found = look(&opened);
    if token != found.token {
        let (given, expected) = (token.to_owned(), found.token);
        return Err(RecoverError::OtherToken { given, expected });
    }
    let cluster = ClusterId(rand::random());
    let no_member = || RecoverError::NoMember(settings.data_dir.display().to_string());
    let map = recovered(&found.map, found.me, cluster, &found.kept, wall_ms());
    let map = map.ok_or_else(no_member)?;
    let behind = runtime.block_on(opened.consensus_store.behind());
    let behind = behind.map_err(|error| ConsensusError::Raft(error.to_string()))?;
    let staged = opened.directory.staged()?;
    runtime.block_on(ConsensusStore::refound(&staged, found.me, map, behind))?;
    let Opened { mut directory, .. } = opened;
    directory.refound(cluster.0)?;
    Ok(found)
}

fn open(
    settings: &NodeSettings,
    runtime: &tokio::runtime::Runtime,
) -> Result<Opened, RecoverError> {
    // Opening would make a directory that is not there.
    let no_member = || RecoverError::NoMember(settings.data_dir.display().to_string());
    if !settings.data_dir.is_dir() {
        return Err(no_member());
    }
    let opened = directory::open(settings, runtime)?;
    let me = StorageId(opened.directory.storage());
    let is_member = opened.consensus_store.map().members.contains_key(&me);
    match opened.directory.cluster().is_some() && is_member {
        true => Ok(opened),
        false => Err(no_member()),
    }
}

fn look(opened: &Opened) -> Recoverable {
    let map = ClusterMap::clone(&opened.consensus_store.map());
    let me = StorageId(opened.directory.storage());
    let stored = opened.storage.stored.partitions();
    let kept: BTreeMap<PartitionId, Kept> = stored
        .iter()
        .map(|(number, found)| {
            let meta = found.meta();
            let kept = Kept {
                adopted: meta.adopted,
                end: meta.end,
                usable: found.unusable().is_none(),
            };
            (PartitionId::from_u64(*number), kept)
        })
        .collect();
    let last_log = opened.consensus_store.last_log();
    let seen = format!("{} {me} {} {last_log:?} {kept:?}", map.cluster, map.version);
    Recoverable {
        tables: salvage(&map, me, &kept),
        token: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(seen.as_bytes())),
        map,
        me,
        kept,
    }
}
