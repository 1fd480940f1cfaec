//! The directory of a node before its start is begun: is it the one that the cluster knows?
//!
//! Nothing is written before that is answered. An older copy of the directory becomes a new member
//! by itself, with what it had put aside, where the cluster can do without it; elsewhere the start
//! is refused, every time. Knows nothing of what runs later.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::PathBuf;
use std::time::Duration;

use tablestore_consensus::{
    self as consensus, Consensus, ConsensusError, ConsensusStore, Consulted, Identity,
    OtherCluster, ShownStart, consult,
};
use tablestore_dataplane::{RecoveredPartition, Stored};
use tablestore_placement::identity::{Standing, is_only_copy, may_vote, standing};
use tablestore_placement::{ClusterId, ClusterMap, Incarnation, PartitionId, StorageId};
use tablestore_store::engine::Scan;
use tablestore_store::{DataDirectory, DirectoryError, EngineError, NewIdentity, ReadRows as _};
use tokio::runtime::Runtime;

use super::boot;
use crate::data::{self, Storage, StorageError};
use crate::room;
use crate::settings::NodeSettings;

/// Pause before the other voters are asked again.
const CONFIRM_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Rows and bytes that are read at once.
const PAGE_ROWS: usize = 4_096;
const PAGE_BYTES: usize = 4 << 20;
/// How long the files of a store that was closed may stay in use by its threads.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// Why the directory of a node cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory itself: another process has it, it is of another format, or the system
    /// refuses. Nothing changed. The source says what to do.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It belongs to another cluster than the nodes to join. Nothing was opened. Give the addresses
    /// of its own cluster, or another directory.
    #[error("data-dir: cannot use {}", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Who belongs where.
        source: OtherCluster,
    },
    /// A new cluster is to be founded where the data of another one are. Nothing was opened.
    #[error(
        "new-cluster: {} holds data of cluster {cluster} already. Leave --new-cluster out to go on \
         with them; give another data-dir to begin without them; if most nodes of that cluster \
         are lost for good, `tablestore recover` founds a new one from what is here",
        path.display()
    )]
    HasCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster it belongs to.
        cluster: ClusterId,
    },
    /// Journal or rows. See the source.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Log or snapshot of the cluster map, or the map forbids to go on without what is broken.
    /// Nothing changed. The source names the file and says what to do.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// Rows could not be read by [`inspect`]. Nothing changed. Look at the disk.
    #[error(transparent)]
    Rows(EngineError),
    /// The cluster knows a newer directory of this node, and cannot do without it now. Nothing
    /// changed. Put the newer one back, or start again when more of the cluster is up.
    #[error(
        "data-dir: {} is an older copy of itself ({why}), and it cannot be replaced by a new \
         member now: {because}. Put the newer directory back, or start again when more of the \
         cluster is up",
        path.display()
    )]
    Outdated {
        /// The directory.
        path: PathBuf,
        /// What it misses.
        why: String,
        /// Why it is needed.
        because: String,
    },
}

/// A directory whose start may be begun, with everything in it open.
pub(super) struct Opened {
    pub(super) directory: DataDirectory,
    pub(super) storage: Storage,
    pub(super) consensus_store: ConsensusStore,
    /// What it shows, also when it registers.
    pub(super) shown: ShownStart,
    /// Where the cluster is reached, if an older copy was put aside.
    pub(super) join: Vec<String>,
}

impl Opened {
    /// A start that is refused leaves no directory that was not there.
    pub(super) fn discard_if_new(self) {
        let Self {
            directory,
            storage,
            consensus_store,
            ..
        } = self;
        if !directory.created() {
            return;
        }
        drop((storage, consensus_store));
        if let Err(error) = directory.discard() {
            tracing::warn!(%error, "the new directory is left");
        }
    }
}

/// Opens the directory and everything in it, as it is.
pub(super) fn open(settings: &NodeSettings, runtime: &Runtime) -> Result<Opened, OpenError> {
    // First, so that a start that is refused leaves no directory behind.
    let shared = runtime.block_on(data::open_shared(settings))?;
    let directory = DataDirectory::open(
        &settings.data_dir,
        NewIdentity {
            storage: rand::random(),
        },
    )?;
    if let (true, Some(cluster)) = (settings.new_cluster, directory.cluster()) {
        let (path, cluster) = (directory.path().to_owned(), ClusterId(cluster));
        return Err(OpenError::HasCluster { path, cluster });
    }
    check_cluster(&directory, settings, runtime)?;
    room::make_room(directory.path(), settings.segment_bytes);
    let storage = data::open_storage(&directory, settings, shared)?;
    // An incarnation is begun only when the log is there: from then on it must be.
    let has_run = directory.incarnation() > 0 || directory.cluster().is_some();
    let me = StorageId(directory.storage());
    let alone = |map: &ClusterMap| broken_alone(map, me, &storage);
    let consensus_store = ConsensusStore::open_unless(&directory.consensus(), has_run, alone)?;
    let shown = ShownStart {
        storage: me,
        begun: directory.starts()?,
        last_log: consensus_store.last_log(),
        ends: ends(&storage.stored),
    };
    Ok(Opened {
        directory,
        storage,
        consensus_store,
        shown,
        join: Vec::new(),
    })
}

/// What a stopped node's directory has of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The partition.
    pub partition: u64,
    /// The end of its log.
    pub end: u64,
    /// The encoded rows that are applied, in order of key.
    pub rows: Vec<(bytes::Bytes, bytes::Bytes)>,
    /// Why it is not to be used; then nothing of it was read.
    pub unusable: Option<String>,
}

/// Opens everything in the directory of a stopped node as a start does before it begins, and reads
/// every row: whether the start would be refused, and what it would find. Repairs what a start
/// repairs (a write that a crash tore) and changes nothing else.
///
/// # Errors
/// As a start of the node.
pub fn inspect(settings: &NodeSettings) -> Result<Vec<Inspected>, super::StartError> {
    let opened = open(settings, &super::runtime()?)?;
    let engine = opened.storage.engine.as_ref();
    let mut found = Vec::new();
    for (partition, recovered) in opened.storage.stored.partitions() {
        let unusable = recovered.unusable().map(str::to_owned);
        let mut rows = Vec::new();
        let mut scan = Scan::all(PAGE_ROWS, PAGE_BYTES);
        while unusable.is_none() {
            let page = engine.scan(*partition, &scan).map_err(OpenError::Rows)?;
            rows.extend(page.rows);
            match rows.last() {
                Some((last, _)) if page.more => scan.from = Bound::Excluded(last.clone()),
                _ => break,
            }
        }
        found.push(Inspected {
            partition: *partition,
            end: recovered.meta().end,
            rows,
            unusable,
        });
    }
    Ok(found)
}

/// Asks the cluster whether this is the directory that it knows. An older copy is put aside, once.
pub(super) fn checked(
    opened: Opened,
    settings: &NodeSettings,
    runtime: &Runtime,
) -> Result<Opened, OpenError> {
    let Some(consulted) = runtime.block_on(ask(&opened, settings)) else {
        return Ok(opened);
    };
    let why = match standing(&consulted.seen) {
        Standing::Current => return Ok(opened),
        Standing::Needed { why, because } => {
            let path = opened.directory.path().to_owned();
            return Err(OpenError::Outdated { path, why, because });
        }
        Standing::Replaceable { why } => why,
    };
    let path = opened.directory.path().to_owned();
    let Opened {
        directory,
        storage,
        consensus_store,
        ..
    } = opened;
    drop((storage, consensus_store));
    let aside = directory.put_aside()?;
    tracing::warn!(
        data_dir = %path.display(), aside = %aside.display(), %why,
        "the directory is an older copy of itself; put aside, and this node begins as a new member"
    );
    let fresh = open_when_closed(settings, runtime)?;
    Ok(Opened {
        join: consulted.addresses,
        ..fresh
    })
}

/// The threads of a store that was closed let go of its files a moment later.
fn open_when_closed(settings: &NodeSettings, runtime: &Runtime) -> Result<Opened, OpenError> {
    let deadline = std::time::Instant::now() + CLOSES_WITHIN;
    loop {
        match open(settings, runtime) {
            Err(error) if std::time::Instant::now() < deadline => {
                tracing::debug!(%error, "not closed yet");
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// A broken replica is built anew from the others; of a partition that no other node has in sync
/// that cannot be, and to go on without it would be to lose it.
fn broken_alone(map: &ClusterMap, me: StorageId, storage: &Storage) -> Option<String> {
    let stored = storage.stored.partitions();
    stored.iter().find_map(|(number, found)| {
        let why = found.broken_because()?;
        let partition = PartitionId::from_u64(*number);
        is_only_copy(map, partition, me).then(|| {
            format!(
                "{why}; no other node has partition {partition} in sync, so it cannot be built \
                 anew: restore the whole data directory as it was when the node last ended",
            )
        })
    })
}

/// A replica that has stopped shows nothing, because it is not to be used.
fn ends(stored: &Stored) -> Vec<(PartitionId, Option<u64>)> {
    let end = |found: &RecoveredPartition| {
        let usable = found.unusable().is_none();
        usable.then_some(found.meta().end)
    };
    stored
        .partitions()
        .iter()
        .map(|(number, found)| (PartitionId::from_u64(*number), end(found)))
        .collect()
}

/// Asks whoever may know this directory; nothing if it belongs to no cluster yet.
async fn ask(opened: &Opened, settings: &NodeSettings) -> Option<Consulted> {
    let (ours, identity) = belonging(&opened.directory, settings)?;
    let map = opened.consensus_store.map();
    let others = map.members.values();
    let others = others.filter(|member| member.storage != identity.storage);
    let others = others.map(|member| &member.peer_address);
    let addresses: BTreeSet<String> = settings.join.iter().chain(others).cloned().collect();
    let addresses: Vec<String> = addresses.into_iter().collect();
    Some(consult(&addresses, ours, &identity, &opened.shown).await)
}

/// Refuses to start with the directory of one cluster and the address of another; before anything
/// in the directory is opened.
fn check_cluster(
    directory: &DataDirectory,
    settings: &NodeSettings,
    runtime: &Runtime,
) -> Result<(), OpenError> {
    let Some((ours, identity)) = belonging(directory, settings) else {
        return Ok(());
    };
    let checked = consensus::check_cluster(&settings.join, ours, &identity);
    let path = directory.path().to_owned();
    let checked = runtime.block_on(checked);
    checked.map_err(|source| OpenError::OtherCluster { path, source })
}

/// Holds votes back until a majority of the voters, this node included, has seen what its directory
/// had and misses nothing in it: a vote that an older disk has forgotten is not given again. Ends
/// when it is so; a node that is registered or alone waits for nobody.
pub(super) async fn confirm_votes(
    consensus: Consensus,
    ours: ClusterId,
    identity: Identity,
    shown: ShownStart,
) {
    // Only what was promised counts here, and replicas go on meanwhile.
    let ends = shown.ends.iter().map(|(partition, _)| (*partition, None));
    let shown = ShownStart {
        ends: ends.collect(),
        ..shown
    };
    while consensus.holds_votes() {
        let (voters, map) = (consensus.voters(), consensus.map());
        let others: Vec<String> = voters
            .iter()
            .filter(|voter| **voter != identity.storage)
            .filter_map(|voter| {
                let listed = || Some(map.members.get(voter)?.peer_address.clone());
                consensus.peers().address(*voter).or_else(listed)
            })
            .collect();
        let seen = consult(&others, ours, &identity, &shown).await.seen;
        if may_vote(&seen, voters.len()) {
            return consensus.release_votes();
        }
        if let Standing::Replaceable { why } | Standing::Needed { why, .. } = standing(&seen) {
            tracing::debug!(%why, "votes are held back");
        }
        tokio::time::sleep(CONFIRM_AGAIN_AFTER).await;
    }
}

/// The cluster that a directory belongs to, and who its node is.
fn belonging(directory: &DataDirectory, settings: &NodeSettings) -> Option<(ClusterId, Identity)> {
    let identity = Identity {
        storage: StorageId(directory.storage()),
        incarnation: Incarnation(directory.incarnation()),
        boot: boot(),
        name: settings.name.clone(),
        http_address: settings.listen.to_string(),
        peer_address: settings.peer_listen.to_string(),
    };
    Some((ClusterId(directory.cluster()?), identity))
}
